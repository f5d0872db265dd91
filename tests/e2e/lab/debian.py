"""File systems of Debian packages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from commands import LabError, run

RELEASE = "bookworm"


@contextmanager
def file_system(root: Path, packages: Sequence[str]) -> Iterator[Path]:
    """A new file system with Debian's essential packages and some more; it is removed afterwards.

    Args:
        root: where it is made.
        packages: names of Debian packages.

    Raises:
        LabError: it cannot be made; the message has the end of debootstrap's log.
    """
    remove(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        _debootstrap(root, packages)
        for pattern in ("var/cache/apt/*", "var/lib/apt/lists/*"):
            for unneeded in root.glob(pattern):
                shutil.rmtree(unneeded) if unneeded.is_dir() else unneeded.unlink()
        _unmount(root)
        yield root
    finally:
        remove(root)


def remove(root: Path) -> None:
    """Remove a file system that debootstrap made; what it mounted there goes first."""
    _unmount(root)
    shutil.rmtree(root, ignore_errors=True)


def _unmount(root: Path) -> None:
    for mount in ("proc", "sys"):
        while (root / mount).is_mount():
            run(["umount", root / mount])


def _debootstrap(root: Path, packages: Sequence[str]) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}"]
    mirror = _mirror()
    try:
        run([*command, RELEASE, root, *([mirror] if mirror else [])])
    except LabError as error:
        log = root / "debootstrap" / "debootstrap.log"
        told = log.read_text(errors="replace")[-1500:] if log.exists() else ""
        raise LabError(f"{error}\n{told}") from error


def _mirror() -> str | None:
    """The Debian mirror that this machine's own apt uses."""
    apt = Path("/etc/apt")
    for file in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        if file.is_file():
            found = re.search(r"https?://[^\s]+/debian/?(?=\s|$)", file.read_text())
            if found:
                return found[0]
    return None

"""What a release consists of beside its images: wheels, source distributions and the chart."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from headway_cluster import binaries
from headway_cluster.home import Home

CHECKSUMS = "SHA256SUMS"
_SUFFIXES = (".whl", ".gz", ".tgz")


class PackageError(Exception):
    """A package cannot be built; the message is for a person."""


def build(root: Path, to: Path) -> list[Path]:
    """Build the packages of every member, and the chart's.

    Each wheel is built from its source distribution, so that neither can lack what the other has.

    Args:
        root: the project's folder.
        to: the folder that they are written to; what an earlier build left in it is removed.

    Returns:
        The files, the checksums last.

    Raises:
        PackageError: a tool is missing or has failed, or the folder holds something else.
    """
    _check_that_it_may_go(to)
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    _run(root, uv(root), "build", "--quiet", "--all-packages", "--out-dir", str(to))
    helm = binaries.ensure(Home.find(), ("helm",), lambda text: sys.stderr.write(f"{text}\n"))
    _run(root, str(helm["helm"]), "package", "helm/headway", "--destination", str(to))
    (to / ".gitignore").unlink(missing_ok=True)
    made = sorted(to.iterdir())
    checksums = to / CHECKSUMS
    checksums.write_text(
        "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in made),
        encoding="utf-8",
    )
    return [*made, checksums]


def _check_that_it_may_go(folder: Path) -> None:
    for file in folder.iterdir() if folder.exists() else ():
        made = file.suffix in _SUFFIXES or file.name in (CHECKSUMS, ".gitignore")
        if not made or not file.is_file():
            raise PackageError(f"{folder} holds {file.name}, which is no package: it stays")


def uv(root: Path) -> str:
    """The uv to use: the one on PATH, or the one that make has brought.

    Raises:
        PackageError: there is none.
    """
    brought = root / ".venv-tools" / "bin" / "uv"
    found = shutil.which("uv") or (str(brought) if brought.is_file() else None)
    if found is None:
        raise PackageError("uv was not found on PATH or in .venv-tools: run `make sync`")
    return found


def _run(root: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}".rstrip())

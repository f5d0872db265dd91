"""Files that a run leaves behind: written whole or not at all, and described for the report."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Replace a file as one step: readers see the old one or the new one, never a part.

    Args:
        path: the file; its folder is made where it is missing.
        write: writes the content to the path that it is given, which lies beside ``path``.

    Raises:
        OSError: where the folder cannot be written; the old file is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as draft:
        write(draft)
        _flush(draft)
        draft.replace(path)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    draft.chmod(0o644)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def described(name: str, path: Path, workspace: Path) -> dict[str, Any]:
    """An artifact as it stands in a report: name, path in the workspace, bytes, sha256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": name,
        "path": path.relative_to(workspace).as_posix(),
        "bytes": path.stat().st_size,
        "sha256": digest,
    }


def replace_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Replace a folder with all its files: what stands at ``path`` is never half of each.

    Of two that replace it at the same time, the later one's stays.

    Args:
        path: the folder; what is above it is made where it is missing.
        fill: writes the files into the folder that it is given, which lies beside ``path``.

    Raises:
        OSError: where the folder cannot be written; the old one is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    draft.chmod(0o755)
    try:
        fill(draft)
        for file in draft.iterdir():
            _flush(file)
        while not _put_in_place(draft, path):
            pass
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put_in_place(draft: Path, path: Path) -> bool:
    """Rename a folder over another; False where somebody else's came between."""
    former = draft.with_suffix(".old")
    with contextlib.suppress(FileNotFoundError):
        path.rename(former)
    try:
        draft.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            shutil.rmtree(former, ignore_errors=True)
            return False
        with contextlib.suppress(OSError):
            former.rename(path)
        raise
    shutil.rmtree(former, ignore_errors=True)
    return True

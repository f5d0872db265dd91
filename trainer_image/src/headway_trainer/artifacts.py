"""Files that a run leaves behind: written whole or not at all, and described for the report."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
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
        if path.exists():
            former = draft.with_suffix(".old")
            path.rename(former)
            draft.rename(path)
            shutil.rmtree(former)
        else:
            draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)

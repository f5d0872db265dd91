"""Deleting what runs have written, whatever they have made of its permissions."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def discard(folder: Path) -> None:
    """Delete what can be deleted of a folder."""
    with contextlib.suppress(OSError):
        remove(folder)


def remove(folder: Path) -> None:
    """Delete a folder with all that is in it, if it is there.

    Folders that may not be written, as package caches have them, are no obstacle where they are
    one's own. What a link leads to is not touched.

    Raises:
        OSError: something in it cannot be deleted.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        return
    folder.chmod(0o700)
    for where, below, _ in os.walk(folder):
        for inner in (Path(where, name) for name in below):
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder)

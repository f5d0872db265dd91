"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

PRIVATE = 0o600


def write_whole(file: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Write a file, or leave what was there: nobody ever finds half of it.

    Args:
        file: the file; its folder exists.
        content: all of it.
        mode: its permissions, less the process' umask.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=mode)
    if isinstance(content, str):
        new.write_text(content)
    else:
        new.write_bytes(content)
    new.replace(file)

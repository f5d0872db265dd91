"""A lock between commands: one at a time changes a thing, the others say so and wait."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def one_at_a_time(file: Path, say: Callable[[str], None], waiting: str) -> Iterator[None]:
    """Hold a lock; it goes with this process, and its file with the lock.

    Args:
        file: stands for what is locked.
        say: told once if somebody else holds it.
        waiting: what is said then.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(waiting)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is(lock, file):
                continue  # whoever held it has removed it: the next one makes another
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return
        finally:
            os.close(lock)


def _is(lock: int, file: Path) -> bool:
    """Whether the file still has its name."""
    try:
        return os.path.samestat(os.fstat(lock), file.stat())
    except FileNotFoundError:
        return False

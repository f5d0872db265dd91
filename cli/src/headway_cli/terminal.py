"""What the terminal can do, decided in one place."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def is_dumb(env: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal cannot move its cursor."""
    env = os.environ if env is None else env
    return env.get("TERM", "").lower() in ("dumb", "unknown")


def has_colours(stream: TextIO, env: Mapping[str, str] | None = None) -> bool:
    """Whether to colour what goes to this stream: never in a pipe, nor where NO_COLOR is set.

    Source: https://no-color.org
    """
    env = os.environ if env is None else env
    return stream.isatty() and not env.get("NO_COLOR") and not is_dumb(env)


def is_live(stream: TextIO) -> bool:
    """Whether something may be redrawn in place."""
    return stream.isatty() and not is_dumb()


def width(stream: TextIO) -> int | None:
    """Columns of the terminal; None for a pipe, which has none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def console() -> Console:
    """Standard output for Rich; what is piped stays plain whatever FORCE_COLOR says."""
    from rich.console import Console

    return Console(force_terminal=is_live(sys.stdout), highlight=False, emoji=False)


def say(*lines: str) -> None:
    """Tell the person something that is no part of the command's output."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the program's voice


def show(*lines: str) -> None:
    """Print the command's output."""
    for line in lines:
        print(line, flush=True)  # noqa: T201 - the program's voice


def let_go() -> None:
    """Write no more to standard output: Python must not complain when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Steps:
    """Tells the steps of long work, a line each; those that count go on in one line.

    Steps count together where they begin with the same words before a colon. On a terminal the
    newest takes the place of the one before; in a pipe one of them is told now and then.
    """

    _EVERY = 15.0

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = is_live(self._stream)
        self._stem = ""
        self._told = 0.0

    def __call__(self, text: str) -> None:
        """Tell a step."""
        stem, colon, _ = text.partition(": ")
        again = bool(colon) and stem == self._stem
        self._stem = stem
        if again and self._live:
            columns = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\x1b[A\r{f'  {text}'[:columns]}\x1b[K\n")
        elif again and time.monotonic() - self._told < self._EVERY:
            return
        else:
            self._stream.write(f"  {text}\n")
        self._told = time.monotonic()
        self._stream.flush()

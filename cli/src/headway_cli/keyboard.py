"""Single keys from the terminal while a run is followed, and the terminal as it was afterwards."""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType


class _Handlers:
    """Handlers of signals for a while; the previous ones are put back at the end."""

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._previous[number] = signal.signal(number, handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class Interrupts(_Handlers):
    """Counts SIGINT instead of raising KeyboardInterrupt, so that a view can ask first.

    SIGTERM and SIGHUP leave by SystemExit, so that the terminal is put right and a child is ended.
    Use as a context manager; the previous handlers are put back at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pending = 0

    def __enter__(self) -> Self:
        self._handle(signal.SIGINT, self._note)
        for number in _ENDS:
            self._handle(number, _leave)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal asks
        self._pending += 1

    def take(self) -> int:
        """How many arrived since the last call."""
        pending, self._pending = self._pending, 0
        return pending


_ENDS = (signal.SIGTERM, signal.SIGHUP)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal asks
    raise SystemExit(128 + number)


class HeldEnds(_Handlers):
    """Holds SIGTERM and SIGHUP back until :meth:`release`; after that they leave at once.

    For the moment in which a child has been started, but nobody is there yet who would end it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._came: int | None = None
        self._held = True

    def __enter__(self) -> Self:
        for number in _ENDS:
            self._handle(number, self._note)
        return self

    def release(self) -> None:
        """Leave if a signal came; from now on, leave when one comes.

        Raises:
            SystemExit: a signal came.
        """
        self._held = False
        if self._came is not None:
            _leave(self._came, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._held:
            _leave(number, frame)
        self._came = number


class Keyboard:
    """Reads keys one by one, without Enter and without echo, where there is a terminal to read.

    Ctrl-C stays a signal. Use as a context manager.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self._saved: list[Any] | None = None

    def __enter__(self) -> Self:
        try:
            fd = sys.stdin.fileno()
        except (OSError, ValueError):
            return self
        if not os.isatty(fd) or not _in_foreground(fd):
            return self
        try:
            import termios
            import tty
        except ImportError:  # no terminals of this kind on Windows
            return self
        self._saved = termios.tcgetattr(fd)
        tty.setcbreak(fd, termios.TCSANOW)
        self._fd = fd
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd is not None and self._saved is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
        self._fd = None

    @property
    def present(self) -> bool:
        """Whether there is somebody who could press a key."""
        return self._fd is not None

    def pressed(self) -> str:
        """The keys that were pressed since the last call; never waits."""
        keys = ""
        while self._fd is not None and select.select([self._fd], [], [], 0)[0]:
            data = os.read(self._fd, 64)
            if not data:  # the terminal is gone
                self._fd = None
                break
            keys += data.decode(errors="replace")
        # An arrow or function key is a sequence that begins with Escape; it answers nothing.
        return "" if len(keys) > 1 and keys.startswith("\x1b") else keys


def _in_foreground(fd: int) -> bool:
    """Whether this process may change the terminal's settings without being stopped for it."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False

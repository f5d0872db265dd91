"""What holds for a command on several operations: none is spared because another failed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self, TypeVar

import typer

from headway_cli.exits import ExitCode
from headway_cli.problems import Problem, show, wants_debug
from headway_cli.terminal import has_colours

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")


class Failures:
    """Tells the problem of one operation and lets the command go on with the next.

    As a context manager it goes around what is done with one of them. A cluster that does not
    answer ends it all: it would not answer for the others either.
    """

    def __init__(self) -> None:
        self._first: ExitCode | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Problem) or error.code is ExitCode.UNREACHABLE or wants_debug():
            return False
        show(error, sys.stderr, colour=has_colours(sys.stderr))
        self._first = self._first or error.code
        return True

    def leave(self) -> None:
        """End the command with the code of the first problem, if there was one.

        Raises:
            typer.Exit: there was one.
        """
        if self._first is not None:
            raise typer.Exit(self._first)


class Patience:
    """The time that a command waits in all, for however many operations.

    Args:
        seconds: how long; None for as long as it takes.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds if seconds is not None else None

    def wait(self, name: str, for_it: Callable[[float | None], T]) -> T:
        """What ``for_it`` answers, called with the seconds that are left.

        Raises:
            TimedOut: they did not suffice.
        """
        from headway.client_errors import TimedOut

        left = max(0.0, self._until - time.monotonic()) if self._until is not None else None
        try:
            return for_it(left)
        except TimedOut as error:
            raise TimedOut(
                f"Operation {name}: what was waited for did not happen in {self._seconds:g} s."
            ) from error

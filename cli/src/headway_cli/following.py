"""Following one run to its end: the loop between what arrives, what is shown, what is pressed."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from headway_api.vocabulary import Phase

from headway_cli import terminal
from headway_cli.dialog import Dialog, Wish
from headway_cli.exits import ExitCode, outcome
from headway_cli.keyboard import Interrupts, Keyboard
from headway_cli.problems import Problem
from headway_cli.view.plain import PlainLines
from headway_cli.view.result import hint_lines, next_commands, panel, result_of
from headway_cli.view.tracking import Tracker

if TYPE_CHECKING:
    from headway_api.models import TrainingOperation
    from rich.console import Console

    from headway_cli.view.painter import Painter

_FRAME = 0.2
"""Seconds between two looks at the clock, the keyboard and the run: what counts seconds must move
every second, and a key must feel immediate."""

_AT_ONCE = 200
"""Events that are taken in between two frames at most."""


@dataclass(frozen=True)
class Seen:
    """The run as it is now."""

    operation: TrainingOperation


@dataclass(frozen=True)
class Gone:
    """The operation was deleted."""


@dataclass(frozen=True)
class Trouble:
    """The cluster cannot be heard; it is tried again.

    Attributes:
        text: what is wrong; empty once it is well again.
    """

    text: str


@dataclass(frozen=True)
class Said:
    """The run printed a line (only a child of this process is heard)."""

    line: str


Event = Seen | Gone | Trouble | Said


class Feed(Protocol):
    """Where the states of a run come from, and where a cancel goes to."""

    local: bool
    """Whether the run is a child of this process, and ends with it."""

    def next(self, timeout: float) -> Event | None:
        """The next event, waited for at most ``timeout`` seconds.

        Raises:
            Problem: the run cannot be followed any more, and trying again would not help.
        """

    def cancel(self, *, now: bool) -> None:
        """Ask the run to stop; ``now`` leaves it no grace period."""


@dataclass(frozen=True)
class Ending:
    """How following ended.

    Attributes:
        code: what the program leaves with.
        operation: the run as it was last seen; None if it never was.
    """

    code: ExitCode
    operation: TrainingOperation | None


def follow(
    feed: Feed, *, console: Console, flags: str = "", name: str = "", hints: bool = True
) -> Ending:
    """Show a run until it is over, or until the person leaves.

    On a terminal it shows bars and asks on Ctrl-C; elsewhere it prints a line per change, and
    Ctrl-C leaves. Either way the result is the last thing that is printed.

    Args:
        feed: the run.
        console: where to show it.
        flags: what next commands need to find the same operation.
        name: the operation's name, for what is said before it was seen.
        hints: whether to end with what to type next.

    Returns:
        how it ended.
    """
    screen = _Screen(console) if console.is_terminal else _Pipe(console)
    try:
        return _Following(feed, screen, flags, name, hints=hints).run()
    except BrokenPipeError:
        # Whoever read the lines has seen enough: that is leaving, and no outcome of the run.
        terminal.let_go()
        return Ending(ExitCode.INTERRUPTED, None)


class _Show(Protocol):
    interactive: bool

    def show(self, tracker: Tracker, dialog: Dialog, trouble: str) -> None: ...
    def end(self, tracker: Tracker, dialog: Dialog) -> None: ...
    def result(self, operation: TrainingOperation, flags: str, *, hints: bool) -> None: ...
    def say(self, *lines: str) -> None: ...
    def said(self, line: str) -> None: ...


class _Screen:
    """A terminal: bars that stay in place."""

    interactive = True

    def __init__(self, console: Console) -> None:
        from headway_cli.view.painter import Painter

        self._console = console
        self._painter: Painter = Painter(console)

    def show(self, tracker: Tracker, dialog: Dialog, trouble: str) -> None:
        from headway_cli.view.live import Footer, LiveView

        view = tracker.view(time.monotonic(), datetime.now(UTC))
        if view is not None:
            footer = Footer(dialog.hint, dialog.question, trouble)
            self._painter.paint(LiveView(view, footer))

    def end(self, tracker: Tracker, dialog: Dialog) -> None:  # noqa: ARG002 - as the pipe's
        self._painter.clear()

    def result(self, operation: TrainingOperation, flags: str, *, hints: bool) -> None:
        view = result_of(operation, flags=flags)
        self._console.print(panel(view, ascii_only=self._console.options.ascii_only))
        if hints:
            self.say(*hint_lines(view.next_commands))

    def said(self, line: str) -> None:
        # Above the bars, which the next frame draws again.
        self._painter.clear()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def say(self, *lines: str) -> None:
        for line in lines:
            self._console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


class _Pipe:
    """Anything else: a line per change."""

    interactive = False

    def __init__(self, console: Console) -> None:
        self._stream = console.file
        self._lines = PlainLines()
        self._trouble = ""

    def show(self, tracker: Tracker, dialog: Dialog, trouble: str) -> None:  # noqa: ARG002
        wall = datetime.now(UTC)
        view = tracker.view(time.monotonic(), wall)
        if trouble != self._trouble:
            self._trouble = trouble
            self._print(trouble or "connected again")
        line = self._lines.line(view, wall.astimezone()) if view is not None else None
        if line is not None:
            self._print(line)

    def end(self, tracker: Tracker, dialog: Dialog) -> None:
        self.show(tracker, dialog, self._trouble)

    def said(self, line: str) -> None:
        self._print(line)

    def result(self, operation: TrainingOperation, flags: str, *, hints: bool) -> None:  # noqa: ARG002
        for line in result_of(operation, flags=flags).lines():
            self._print(line)

    def say(self, *lines: str) -> None:
        # Hints are no part of what a pipe reads.
        if sys.stderr.isatty():
            print(*lines, sep="\n", file=sys.stderr)  # noqa: T201 - the program's voice

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class _Following:
    def __init__(self, feed: Feed, screen: _Show, flags: str, name: str, *, hints: bool) -> None:
        self._feed = feed
        self._screen = screen
        self._flags = flags
        self._name = name
        # A child of this process is over with it: no command will ever find it again.
        self._hints = hints and not feed.local
        self._tracker = Tracker(time.monotonic())
        self._dialog = Dialog(local=feed.local)
        self._trouble = self._refused = ""

    def run(self) -> Ending:
        with Interrupts() as interrupts, Keyboard() as keyboard:
            # Where nobody can answer, there is nothing to ask.
            asks = self._screen.interactive and keyboard.present
            try:
                ending = self._loop(interrupts, keyboard, asks=asks)
            finally:
                self._screen.end(self._tracker, self._dialog)
        self._tell(ending)
        return ending

    def _loop(self, interrupts: Interrupts, keyboard: Keyboard, *, asks: bool) -> Ending:
        while True:
            event = self._feed.next(_FRAME)
            # A terminal that was held up shows what is, not one after the other what was; a pipe
            # gets every change.
            for left in range(_AT_ONCE if self._screen.interactive else 1, 0, -1):
                if event is None:
                    break
                if (ending := self._take(event)) is not None:
                    return ending
                event = self._feed.next(0) if left > 1 else None
            for wish in self._wishes(interrupts, keyboard, asks=asks):
                if wish is Wish.DETACH:
                    return Ending(ExitCode.INTERRUPTED, self._tracker.operation)
                if wish in (Wish.CANCEL, Wish.CANCEL_NOW):
                    self._cancel(now=wish is Wish.CANCEL_NOW)
            self._screen.show(self._tracker, self._dialog, self._trouble or self._refused)

    def _take(self, event: Event) -> Ending | None:
        """Take an event in; how following ends, where it ends with it."""
        if isinstance(event, Seen):
            self._tracker.see(event.operation, time.monotonic())
            self._trouble = ""
            if event.operation.phase is Phase.CANCELLING or event.operation.spec.cancel:
                self._dialog.cancelling()
            if event.operation.is_final:
                return Ending(outcome(event.operation.phase), event.operation)
        elif isinstance(event, Gone):
            return Ending(ExitCode.NOT_FOUND, self._tracker.operation)
        elif isinstance(event, Trouble):
            self._trouble = event.text
        else:
            self._screen.said(event.line)
        return None

    def _wishes(self, interrupts: Interrupts, keyboard: Keyboard, *, asks: bool) -> list[Wish]:
        wishes = []
        for _ in range(interrupts.take()):
            if asks:
                wishes.append(self._dialog.interrupt())
            elif self._feed.local:
                # A child run ends with its parent: Ctrl-C stops it, as it would without us.
                self._dialog.interrupt()
                wishes.append(self._dialog.interrupt())
            else:
                wishes.append(Wish.DETACH)
        if asks:
            wishes += [self._dialog.key(key) for key in keyboard.pressed()]
        return wishes

    def _cancel(self, *, now: bool) -> None:
        try:
            self._feed.cancel(now=now)
        except Problem as problem:
            # The run is still there and still watched: a cancel that failed is told, not fatal.
            self._dialog.cancel_failed()
            self._refused = f"The cancel failed: {problem.what} {problem.why}".strip()
        else:
            self._refused = ""

    def _tell(self, ending: Ending) -> None:
        operation = ending.operation
        if ending.code is ExitCode.NOT_FOUND:
            name = operation.metadata.name if operation is not None else self._name
            raise Problem(
                f"{name} was deleted while it was followed; its run is being stopped.",
                todo=[f"headway list {self._flags}".rstrip()],
                code=ExitCode.NOT_FOUND,
            )
        if operation is None:
            if ending.code is ExitCode.INTERRUPTED and self._name and not self._feed.local:
                watch = f"  headway watch {self._name} {self._flags}".rstrip()
                self._screen.say(f"Detached from {self._name}.", "Next:", watch)
            return
        if operation.is_final:
            self._screen.result(operation, self._flags, hints=self._hints)
        elif ending.code is ExitCode.INTERRUPTED:
            name = operation.metadata.name
            self._screen.say(
                f"Detached: {name} goes on ({operation.phase.value}).",
                *hint_lines(next_commands(operation, flags=self._flags)),
            )

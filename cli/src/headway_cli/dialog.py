"""What Ctrl-C means while a run is followed: a small state machine, without a terminal.

The first Ctrl-C asks. A second one detaches, whatever was asked: who presses it twice wants their
shell back. Enter takes the harmless way out, too; nothing but ``c`` (and ``n`` once a cancel is
under way) ever touches the run.
"""

from __future__ import annotations

from enum import Enum, auto

_INTERRUPT = "\x03"


class Wish(Enum):
    """What the person at the keyboard wants now."""

    NOTHING = auto()
    DETACH = auto()
    CANCEL = auto()
    CANCEL_NOW = auto()


class Dialog:
    """Turns interrupts and keys into wishes, and words the question that is open.

    Args:
        local: whether the run is a child of this process, which ends with it: there is no detaching
            then, and the question says so.
    """

    def __init__(self, *, local: bool = False) -> None:
        self._local = local
        self._cancelling = self._seen = False
        self._asking = False

    @property
    def asking(self) -> bool:
        """Whether a question is open and keys are wanted."""
        return self._asking

    @property
    def question(self) -> str:
        """The open question; empty while there is none."""
        if not self._asking:
            return ""
        if self._local:
            if self._cancelling:
                return "It is stopping.  [n] end it now   [k] keep watching"
            return "Stop this run?  [c]ancel   [k]eep watching   (Ctrl-C again cancels)"
        if self._cancelling:
            return "It is stopping.  [d]etach (Enter)   [n] end it now   [k]eep watching"
        return "Leave it running?  [d]etach (Enter)   [c]ancel it   [k]eep watching"

    @property
    def hint(self) -> str:
        """What the keyboard does while nothing is asked."""
        if self._local:
            return "Ctrl-C: end it now" if self._cancelling else "Ctrl-C: cancel"
        return "Ctrl-C: detach" if self._cancelling else "Ctrl-C: detach or cancel"

    def interrupt(self) -> Wish:
        """Ctrl-C was pressed (or SIGINT arrived)."""
        if not self._asking:
            self._asking = True
            return Wish.NOTHING
        self._asking = False
        if not self._local:
            return Wish.DETACH
        return self._cancel()

    def key(self, key: str) -> Wish:
        """A key was pressed; without an open question it means nothing."""
        if key == _INTERRUPT:
            return self.interrupt()
        if not self._asking:
            return Wish.NOTHING
        match key.lower():
            case "c" if not self._cancelling:
                return self._cancel()
            case "n" if self._cancelling:
                return self._cancel()
            case "d" | "q" | "\r" | "\n" if not self._local:
                self._asking = False
                return Wish.DETACH
            case "k" | "\x1b":
                self._asking = False
        return Wish.NOTHING

    def cancelling(self) -> None:
        """The run is seen to be stopping, whoever asked for it."""
        self._cancelling = self._seen = True

    def cancel_failed(self) -> None:
        """The cancel that was wished for did not reach the run: it can be asked for again."""
        self._cancelling = self._seen

    def _cancel(self) -> Wish:
        self._asking = False
        wish = Wish.CANCEL_NOW if self._cancelling else Wish.CANCEL
        self._cancelling = True
        return wish

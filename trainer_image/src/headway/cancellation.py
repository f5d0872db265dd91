"""The cancellation token: how code that runs learns that it should stop."""

from __future__ import annotations

import threading
import time
from enum import StrEnum


class StopReason(StrEnum):
    """Why an operation is asked to stop."""

    CANCELLED = "cancelled"
    """Somebody set ``spec.cancel``, or pressed Ctrl-C."""
    SUSPENDED = "suspended"
    """Somebody set ``spec.suspend``: the run goes on later, from its checkpoint."""
    DEADLINE = "deadline"
    """The run took longer than its ``activeDeadlineSeconds``."""
    STALLED = "stalled"
    """No step came within its ``progressDeadlineSeconds``."""
    INTERRUPTED = "interrupted"
    """SIGTERM that nobody announced: an eviction, a drain, a node that goes down."""
    DELETED = "deleted"
    """The TrainingOperation is gone."""
    FENCED = "fenced"
    """Another attempt has taken over, or the run is over; this process must not go on."""


class CancellationToken:
    """Says whether to stop. Checking costs an attribute read; safe from any thread.

    A program that was told so by :meth:`is_cancelled` or :meth:`wait` counts as acting on it: where
    it then ends without an error and without another word, it was stopped, and is not done.

    Attributes:
        asked: whether a stop was asked for, for who only looks: it does not count as acting on it.
        noticed: when it was first told, in seconds since the epoch; None before.
    """

    __slots__ = ("_latch", "_message", "_once", "_reason", "asked", "noticed")

    def __init__(self) -> None:
        self.asked = False
        self.noticed: float | None = None
        self._reason: StopReason | None = None
        self._message = ""
        # No Event: a signal handler that sets one and interrupts a wait for it waits for ever.
        self._latch = threading.Lock()
        self._latch.acquire()
        self._once = threading.Lock()

    def is_cancelled(self) -> bool:
        """Whether to stop: a local memory read, cheap enough for every batch."""
        if not self.asked:
            return False
        self._notice()
        return True

    @property
    def reason(self) -> StopReason | None:
        """Why to stop; None while there is no need to."""
        return self._reason

    @property
    def message(self) -> str:
        """Why to stop, in somebody's own words, such as ``spec.cancelReason``; mostly empty."""
        return self._message

    def cancel(self, reason: StopReason = StopReason.CANCELLED, message: str = "") -> bool:
        """Ask for a stop. The first reason stays; returns whether this call was the first."""
        if not self._once.acquire(blocking=False):
            return False
        self._reason = reason
        self._message = message
        self.asked = True
        self._latch.release()
        return True

    def wait(self, timeout: float) -> bool:
        """Sleep for up to ``timeout`` seconds, less if a stop comes; returns whether it came."""
        if not self._latch.acquire(timeout=max(0.0, timeout)):
            return False
        self._latch.release()
        self._notice()
        return True

    def _notice(self) -> None:
        if self.noticed is None:
            self.noticed = time.time()


class Stopped(BaseException):
    """Raised by the iterators of an operation on a stop; its ``with`` statement swallows it.

    A BaseException, so that ``except Exception`` around a validation or a final save does not run
    them on half an epoch.
    """

    def __init__(self, reason: StopReason = StopReason.CANCELLED) -> None:
        super().__init__(f"the operation was asked to stop: {reason}")
        self.reason = reason

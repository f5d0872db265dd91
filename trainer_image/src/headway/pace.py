"""When to write: pure arithmetic on a clock that is given.

At most one write a second, ever. In the first minute progress may go out at that pace; later every
five seconds. Epoch ends, reports and a heartbeat every 30 s come on top of the slow pace, but share
the one write a second.
"""

from __future__ import annotations

from dataclasses import dataclass

from headway_api import limits


@dataclass
class Pace:
    """The pace of one operation's writes. Times are seconds on one monotonic clock.

    Attributes:
        started: when the operation began.
        last: when the last write was begun; None before the first.
    """

    started: float
    last: float | None = None

    def due(self, *, progress: bool, urgent: bool) -> float:
        """The earliest time of the next write.

        Args:
            progress: new progress is waiting.
            urgent: an epoch's end or another thing that must not wait for the slow pace is waiting.
        """
        if self.last is None:
            return self.started if progress or urgent else self.started + limits.HEARTBEAT_INTERVAL
        soonest = self.last + limits.FAST_WRITE_INTERVAL
        if urgent:
            return soonest
        if not progress:
            return self.last + limits.HEARTBEAT_INTERVAL
        if soonest <= self.started + limits.FAST_PERIOD:
            return soonest
        return self.last + limits.SLOW_WRITE_INTERVAL

    def wrote(self, now: float) -> None:
        """A write was begun."""
        self.last = now

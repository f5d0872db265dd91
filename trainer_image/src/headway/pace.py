"""When to write: pure arithmetic on a clock that is given.

At most one write a second, ever. In the first minute progress may go out at that pace; later every
five seconds. Epoch ends and a heartbeat every 30 s come on top of the slow pace, but share the one
write a second. Only the final report does not wait: nothing comes after it.
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
        fast: least seconds between two writes, and the pace in the first minute.
        slow: the pace after that.
        heartbeat: seconds of silence after which a write is due anyway.
    """

    started: float
    last: float | None = None
    fast: float = limits.FAST_WRITE_INTERVAL
    slow: float = limits.SLOW_WRITE_INTERVAL
    heartbeat: float = limits.HEARTBEAT_INTERVAL

    def due(self, *, progress: bool, urgent: bool, final: bool = False) -> float:
        """The earliest time of the next write.

        Args:
            progress: new progress is waiting.
            urgent: an epoch's end or another thing that must not wait for the slow pace is waiting.
            final: the last report is waiting.
        """
        if final:
            return self.started
        if self.last is None:
            return self.started if progress or urgent else self.started + self.heartbeat
        soonest = self.last + self.fast
        if urgent:
            return soonest
        if not progress:
            return self.last + self.heartbeat
        if soonest <= self.started + limits.FAST_PERIOD:
            return soonest
        return self.last + self.slow

    def wrote(self, now: float) -> None:
        """A write was begun."""
        self.last = now

"""Following one run over time: pace, time to go, and how long the trainer has been silent.

Two clocks, never mixed. How long ago something arrived is measured on this machine's monotonic
clock. A pace is measured on the trainer's clock alone, between two of its own updates, so that
neither the network's delay nor a wrong clock in a pod can distort it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway_api import limits
from headway_api.vocabulary import Phase

from headway_cli.view import attempts, run_view, wording
from headway_cli.view.run_view import RunView

if TYPE_CHECKING:
    from datetime import datetime

    from headway_api.models import Progress, TrainingOperation

STALE_AFTER = limits.HEARTBEAT_INTERVAL + limits.SLOW_WRITE_INTERVAL
"""Seconds of silence that a healthy trainer never reaches: it shows itself at every heartbeat."""

PACE_WINDOW = 60.0
"""Seconds of the trainer's time that the pace is measured over."""


@dataclass(frozen=True)
class _Sample:
    time: float
    done: float


class Tracker:
    """Remembers what it needs of a run's past to show its present.

    Args:
        opened: when the view was opened, on the monotonic clock that every later ``now`` uses.
    """

    def __init__(self, opened: float) -> None:
        self._opened = opened
        self._operation: TrainingOperation | None = None
        self._pulse: tuple[int, datetime] | None = None
        self._heard_at: float | None = None
        self._arrived_at = opened
        self._unit: tuple[int, str] | None = None
        self._samples: deque[_Sample] = deque()

    @property
    def operation(self) -> TrainingOperation | None:
        """The run as it was last seen."""
        return self._operation

    def see(self, operation: TrainingOperation, now: float) -> None:
        """Take in a new state of the run, received at ``now``."""
        first = self._operation is None
        self._operation = operation
        progress = operation.status.progress
        if progress is None:
            return
        pulse = (progress.sequence, progress.heartbeat)
        if pulse != self._pulse:
            self._pulse = pulse
            self._arrived_at = now
            # What was already there when the view opened may be of any age: it tells of the past,
            # not of now.
            if not first:
                self._heard_at = now
        self._sample(operation, progress)

    def _sample(self, operation: TrainingOperation, progress: Progress) -> None:
        units = run_view.units_done(operation)
        if units is None:
            return
        unit, done, _ = units
        time = progress.time.timestamp()
        key = (progress.attempt, unit)
        last = self._samples[-1] if self._samples else None
        if key != self._unit or (last is not None and done < last.done):
            self._unit = key
            self._samples.clear()
            last = None
        if last is not None and time <= last.time:
            return
        self._samples.append(_Sample(time, done))
        while len(self._samples) > 2 and time - self._samples[0].time > PACE_WINDOW:
            self._samples.popleft()

    def view(self, now: float, wall: datetime) -> RunView | None:
        """What to show at ``now`` (monotonic) and ``wall`` (date and time); None before any."""
        operation = self._operation
        if operation is None:
            return None
        status = operation.status
        progress = status.progress
        quiet = self._quiet(operation, now)
        stale = quiet is not None and quiet > STALE_AFTER
        # An attempt that has said nothing yet is not told in the words of the one before it.
        mute = operation.phase in run_view.TALKING and run_view.is_left_over(operation)
        talks = operation.phase in run_view.TALKING and not stale and not mute
        pace = self._pace() if talks else None
        unit = self._unit[1] if self._unit is not None else ""
        return RunView(
            name=operation.metadata.name,
            namespace=operation.metadata.namespace,
            type=operation.spec.type,
            subject=run_view.subject(operation),
            phase=operation.phase,
            reason=status.reason or "",
            detail=status.message or "",
            activity=(progress.message or "") if progress is not None and not mute else "",
            bars=run_view.bars(operation),
            rate=wording.rate(pace, unit) if pace else None,
            eta_seconds=(
                self._eta(now, pace) if operation.phase is Phase.RUNNING and not mute else None
            ),
            elapsed_seconds=elapsed(operation, wall),
            metrics=run_view.metrics(operation),
            quiet_seconds=quiet,
            heard=self._heard_at is not None,
            stale=stale,
            before=attempts.before(operation),
        )

    def _quiet(self, operation: TrainingOperation, now: float) -> float | None:
        if operation.phase not in run_view.TALKING or operation.status.progress is None:
            return None
        if run_view.is_left_over(operation):
            return None
        return now - (self._heard_at if self._heard_at is not None else self._opened)

    def _pace(self) -> float | None:
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        span = last.time - first.time
        if span <= 0 or last.done <= first.done:
            return None
        return (last.done - first.done) / span

    def _eta(self, now: float, pace: float | None) -> float | None:
        operation = self._operation
        if operation is None or operation.status.progress is None:
            return None
        since = now - self._arrived_at
        reported = operation.status.progress.eta_seconds
        if reported is not None:
            # Counted down between two updates, but never shown as overdue.
            return max(0.0, reported - since) if pace or since < STALE_AFTER else None
        units = run_view.units_done(operation)
        if pace is None or units is None or units[2] is None:
            return None
        return max(0.0, (units[2] - units[1]) / pace - since)


def elapsed(operation: TrainingOperation, wall: datetime) -> float:
    """Seconds since the run began (or was created, before that), until now or its end."""
    status = operation.status
    began = status.start_time or operation.metadata.creation_timestamp
    if began is None:
        return 0.0
    ended = status.completion_time or wall
    return max(0.0, (ended - began).total_seconds())

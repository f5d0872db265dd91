"""What the program last said: plain attributes, written by its threads, read by the reporter.

Writing is the hot path of all training code that uses Headway: no lock, no signal, no allocation
but one tuple. The latest value wins; only an epoch's end is kept for certain, in the history.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headway_api import limits

from headway import wire
from headway.history import History


@dataclass(frozen=True, slots=True)
class Update:
    """One progress, as the program gave it. ``time`` is seconds since the epoch."""

    time: float
    step: int | None = None
    total: int | None = None
    message: str | None = None
    context: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] | None = None


Batch = tuple[int | None, int | None, int, int | None]
"""Where a loop is: the epoch, from 1, if there is one; how many; the batch, from 1; how many."""

_NOTHING = Update(0.0)
_SPECIAL = ("metrics", "epoch_end", "total_steps")


class ProgressState:
    """The mailbox between a program and its reporter.

    Attributes:
        changes: counts updates; the reporter compares it with what it has sent.
        checkpoint: the newest checkpoint, as it goes on the wire.
        checkpoint_changes: counts checkpoints.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self.changes = 0
        self._latest: tuple[float, int | None, int | None, str | None, Any, Any] | None = None
        self._history: History[dict[str, Any]] = History()
        self._lock = threading.Lock()
        self._wake = wake
        self.history_changes = 0
        self._goes_on = False
        self.checkpoint: dict[str, Any] | None = None
        self.checkpoint_changes = 0

    def on_wake(self, wake: Callable[[], None]) -> None:
        """Name the function that wakes the reporter: on the first update and on epoch ends."""
        self._wake = wake

    def put(
        self,
        step: int | None = None,
        total: int | None = None,
        message: str | None = None,
        context: Mapping[str, Any] | Batch | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace the latest progress. Non-blocking; costs well under a microsecond.

        The mappings are read later by another thread: give fresh ones, or ones left unchanged. A
        loop gives its batch as a tuple, and the context is made of it when it is read.
        """
        self._latest = (time.time(), step, total, message, context, metrics)
        self.changes += 1
        if self.changes == 1:
            self._wake()

    def end_epoch(self, step: int, metrics: Mapping[str, Any] | None) -> None:
        """Keep the metrics of a finished epoch for certain, and have them sent soon."""
        finite, odd = wire.split_metrics(metrics)
        point: dict[str, Any] = {"step": max(0, step), "time": wire.timestamp(time.time())}
        if finite:
            point["metrics"] = finite
        if odd:
            point["nonFinite"] = odd
        with self._lock:
            if self._goes_on:
                self._goes_on = False
                self._refill(_before(self._history.points(), point))
            self._history.add(point)
            self.history_changes += 1
        self._wake()

    def note_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Have the newest checkpoint told with the next progress.

        Args:
            checkpoint: as it goes on the wire; None has the report begun anew without one.
        """
        self.checkpoint = checkpoint
        self.checkpoint_changes += 1

    def resume_history(self, points: list[dict[str, Any]]) -> None:
        """Begin with the points that earlier attempts left on the server.

        What comes next decides which of them stay: an epoch that is done again is told once.
        """
        with self._lock:
            later = self._history.points()
            self._goes_on = not later
            self._refill([*(_before(points, later[0]) if later else points), *later])

    def _refill(self, points: list[dict[str, Any]]) -> None:
        self._history = History()
        for point in points:
            self._history.add(point)

    def history(self, room: int = limits.HISTORY_BYTES) -> list[dict[str, Any]]:
        """The history as it goes on the wire, thinned to so many bytes."""
        with self._lock:
            points = self._history.points()
        while len(points) > 2 and len(json.dumps(points)) > room:
            points = [*points[:-1:2], points[-1]]
        return points

    def read(self) -> Update:
        """The latest progress; an empty one before the first."""
        latest = self._latest
        if latest is None:
            return _NOTHING
        when, step, total, message, context, metrics = latest
        copied = _of_a_batch(context) if isinstance(context, tuple) else _copied(context)
        found = {**_copied(copied.get("metrics")), **_copied(metrics)}
        total = copied.get("total_steps") if total is None else total
        for key in _SPECIAL:
            copied.pop(key, None)
        return Update(when, step, total, message, copied, found)


def _of_a_batch(at: Batch) -> dict[str, Any]:
    epoch, epochs, batch, batches = at
    where = {"current_epoch": epoch, "total_epochs": epochs} if epoch else {}
    return {**where, "current_batch": batch, "total_batches": batches}


def _copied(value: object) -> dict[str, Any]:
    """A copy of a mapping that another thread may be changing."""
    if not isinstance(value, Mapping):
        return {}
    for _ in range(3):
        with contextlib.suppress(Exception):  # it changed while we read it, or cannot be read
            return dict(value)
    return {}


def _before(points: list[dict[str, Any]], next_one: dict[str, Any]) -> list[dict[str, Any]]:
    """The points without those at the end that are of this epoch or of later ones."""
    kept = len(points)
    while kept and points[kept - 1]["step"] >= next_one["step"]:
        kept -= 1
    return points[:kept]

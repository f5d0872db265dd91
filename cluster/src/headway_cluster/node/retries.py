"""What did not work, and when it is tried again: later after each failure.

Pauses are kept on a clock that is never set: a wrong time of day must not hold up a pod.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from headway_cluster.node.api import pause_after


@dataclass(frozen=True)
class _Retry:
    at: float
    failures: int


class Retries:
    """The things of one pod that failed, by a name."""

    def __init__(self) -> None:
        """Nothing has failed yet."""
        self._failed: dict[str, _Retry] = {}

    def __contains__(self, what: str) -> bool:
        """Whether it failed the last time."""
        return what in self._failed

    def failed(self, what: str, longest: float) -> None:
        """It failed: try again after a while, at most so many seconds."""
        before = self._failed.get(what)
        failures = before.failures + 1 if before is not None else 1
        self._failed[what] = _Retry(time.monotonic() + pause_after(failures, longest), failures)

    def never(self, what: str) -> None:
        """It is not tried again."""
        self._failed[what] = _Retry(float("inf"), 1)

    def worked(self, what: str) -> None:
        """It worked."""
        self._failed.pop(what, None)

    def is_due(self, what: str) -> bool:
        """Whether it may be tried."""
        retry = self._failed.get(what)
        return retry is None or retry.at <= time.monotonic()

    def next_of(self, wanted: Collection[str]) -> float | None:
        """Seconds until the first of these is tried again; None where none is waited for."""
        times = (retry.at for what, retry in self._failed.items() if what in wanted)
        at = min((at for at in times if at != float("inf")), default=None)
        return None if at is None else max(at - time.monotonic(), 0.0)

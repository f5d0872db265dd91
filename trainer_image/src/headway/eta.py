"""How long it still takes: the rate of the last stretch of work, once it can be trusted."""

from __future__ import annotations

from collections import deque

_WINDOW = 60.0
_LEAST_SECONDS = 3.0
_LEAST_STEPS = 2


class Eta:
    """Estimates the seconds to the end from steps and their times (on one monotonic clock)."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._total: int | None = None

    def update(self, now: float, step: int | None, total: int | None) -> float | None:
        """Note where the work stands; returns the estimate, or None until there is one."""
        if step is None or total is None or total < step:
            return None
        if self._seen and (step < self._seen[-1][1] or total != self._total):
            self._seen.clear()
        self._total = total
        if not self._seen or step != self._seen[-1][1]:
            self._seen.append((now, step))
        while len(self._seen) > _LEAST_STEPS and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        then, first = self._seen[0]
        done, took = step - first, now - then
        if step == total:
            return 0.0
        if done < _LEAST_STEPS or took < _LEAST_SECONDS:
            return None
        return round((total - step) * took / done, 1)

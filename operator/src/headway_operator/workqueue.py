"""A coalescing work queue: many reasons to look at a key become one look.

A key is handed to at most one worker at a time. What is added while it is being worked on is handed
out once more afterwards. Keys can be added for later; the earliest moment counts.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0


class WorkQueue:
    """Keys to look at, each at most once at a time. For one event loop."""

    def __init__(self) -> None:
        self._ready: deque[str] = deque()
        self._queued: set[str] = set()
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._later: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._failures: dict[str, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Keys that could be worked on right now."""
        return len(self._ready) + len(self._again)

    @property
    def scheduled(self) -> int:
        """Keys that wait for their time."""
        return len(self._later)

    def add(self, key: str) -> None:
        """Look at a key as soon as possible."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_later(self, key: str, seconds: float) -> None:
        """Look at a key in a while; an earlier moment that is already set stays."""
        due = asyncio.get_running_loop().time() + max(0.0, seconds)
        known = self._later.get(key)
        if known is None or due < known:
            self._later[key] = due
            heapq.heappush(self._heap, (due, key))
            self._wake.set()

    def failed(self, key: str) -> float:
        """Look at a key again after a failure, later with each one; returns in how many seconds."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(count, 20))
        delay *= random.uniform(0.5, 1.0)  # so that many failures do not come back as one wave
        self.add_later(key, delay)
        return delay

    def succeeded(self, key: str) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    async def take(self) -> str:
        """The next key; call :meth:`done` when it was worked on."""
        loop = asyncio.get_running_loop()
        while True:
            self._promote(loop.time())
            if self._ready:
                key = self._ready.popleft()
                self._queued.discard(key)
                self._busy.add(key)
                # Whatever was planned for later is looked at now; the plan may ask for it again.
                self._later.pop(key, None)
                return key
            self._wake.clear()
            timeout = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: str) -> None:
        """A key was worked on."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _promote(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._later.get(key) == due:
                del self._later[key]
                self.add(key)

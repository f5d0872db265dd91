"""The history of a run in a bounded number of points, thinned evenly as it grows."""

from __future__ import annotations

from typing import Generic, TypeVar

from headway_api import limits

P = TypeVar("P")


class History(Generic[P]):
    """Keeps every ``stride``-th point and the latest; the stride doubles when the room is full."""

    def __init__(self, room: int = limits.HISTORY_POINTS) -> None:
        if room < 2:
            raise ValueError(f"a history needs room for at least 2 points, not {room}")
        self._room = room
        self._stride = 1
        self._count = 0
        self._kept: list[P] = []
        self._latest: P | None = None

    def add(self, point: P) -> None:
        """Add the next point."""
        if self._count % self._stride == 0:
            if len(self._kept) == self._room - 1:
                self._kept = self._kept[::2]
                self._stride *= 2
            if self._count % self._stride == 0:
                self._kept.append(point)
        self._count += 1
        self._latest = point

    def points(self) -> list[P]:
        """The points kept, oldest first; the latest is always among them."""
        if self._latest is None:
            return []
        if (self._count - 1) % self._stride == 0:
            return list(self._kept)
        return [*self._kept, self._latest]

    def __len__(self) -> int:
        """How many points were ever added."""
        return self._count

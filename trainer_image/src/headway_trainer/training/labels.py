"""Labels: the direction of the zigzag leg that a bar begins or belongs to.

A zigzag joins the turning points of the close that are at least ``threshold`` apart. A turning
point is known only once the close has moved back from it by ``threshold``: the label of bar t is
the direction that the zigzag of the closes up to t + horizon gives its leg, so it depends on
nothing after t + horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DOWN, UP = 0, 1
CLASSES = ("down", "up")
UNKNOWN = -1
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Zigzag:
    """The legs of a zigzag, oldest first.

    Attributes:
        begins: bar at which each leg begins.
        known: bar at which that is first known, later than ``begins``.
        direction: UP or DOWN.
    """

    begins: Ints
    known: Ints
    direction: Ints


def zigzag(closes: Floats, threshold: float) -> Zigzag:
    """The legs of the closes; one pass, oldest to newest, that never looks ahead."""
    legs: list[tuple[int, int, int]] = []
    low = high = 0
    direction: int | None = None
    for now in range(1, len(closes)):
        close = closes[now]
        if close > closes[high]:
            high = now
        if close < closes[low]:
            low = now
        if direction != UP and close >= closes[low] * (1 + threshold):
            legs.append((low, now, UP))
            direction, high = UP, now
        elif direction != DOWN and close <= closes[high] * (1 - threshold):
            legs.append((high, now, DOWN))
            direction, low = DOWN, now
    columns = np.array(legs, dtype=np.int64).reshape(-1, 3)
    return Zigzag(columns[:, 0], columns[:, 1], columns[:, 2])


def zigzag_labels(closes: Any, threshold: float, horizon: int) -> Ints:
    """The label of every bar: UP, DOWN, or UNKNOWN.

    Args:
        closes: closing prices, oldest first, shape (bars,).
        threshold: relative move that turns the zigzag, such as 0.03.
        horizon: bars after each that its label may look at; 0 gives the direction as it is known
            at the bar itself.

    Returns:
        Shape (bars,). UNKNOWN are the last ``horizon`` bars and those before the first leg.
    """
    closes = np.asarray(closes, dtype=np.float64)
    legs = zigzag(closes, threshold)
    count = len(closes)
    bars = np.arange(count, dtype=np.int64)
    # Legs are sorted by both: the leg of t is the last that has begun by t and is known by t + h.
    begun = np.searchsorted(legs.begins, bars, side="right")
    known = np.searchsorted(legs.known, bars + horizon, side="right")
    leg = np.minimum(begun, known) - 1
    labels = np.full(count, UNKNOWN, dtype=np.int64)
    found = (leg >= 0) & (bars + horizon < count)
    labels[found] = legs.direction[leg[found]]
    return labels

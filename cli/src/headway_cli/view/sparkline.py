"""A row of small bars: how a metric moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"
_LOST = {BLOCKS: "×", ASCII: "x"}  # noqa: RUF001 - the sign for a lost value


def sparkline(values: Sequence[float | None], width: int, levels: str = BLOCKS) -> str:
    """Draw values as one line, newest at the right.

    Args:
        values: the series, oldest first; None marks a value that was not a finite number.
        width: the most characters to draw; a longer series is thinned by averaging neighbours.
        levels: the characters to draw with, lowest first (:data:`BLOCKS` or :data:`ASCII`).

    Returns:
        At most ``width`` characters; an empty string for fewer than two values, which show no
        movement.
    """
    if len(values) < 2 or width < 2:
        return ""
    points = _thinned(values, width)
    finite = [point for point in points if point is not None]
    lost = _LOST.get(levels, "?")
    if not finite:
        return lost * len(points)
    low, high = min(finite), max(finite)
    span = high - low
    top = len(levels) - 1

    def level(point: float | None) -> str:
        if point is None:
            return lost
        # A flat line is drawn in the middle: at the bottom it would look like zero.
        share = (point - low) / span if span > 0 else 0.5
        return levels[min(top, int(share * len(levels)))]

    return "".join(level(point) for point in points)


def _thinned(values: Sequence[float | None], width: int) -> list[float | None]:
    if len(values) <= width:
        return list(values)
    points: list[float | None] = []
    for index in range(width):
        bucket = values[index * len(values) // width : (index + 1) * len(values) // width]
        finite = [value for value in bucket if value is not None]
        # One lost value spoils its bucket: a NaN is what people look for.
        points.append(sum(finite) / len(finite) if len(finite) == len(bucket) else None)
    return points

"""Which stretches to fetch: pure, and the same for every provider."""

from __future__ import annotations

from datetime import timedelta

from headway_api.models import DataMode

from headway_trainer.data.spans import Span, merged, missing
from headway_trainer.data.timeframes import Timeframe

SEGMENT_BARS = 1000
"""The most bars that one segment spans."""


def segments(
    mode: DataMode, wanted: Span, covered: tuple[Span, ...], timeframe: Timeframe
) -> list[Span]:
    """The segments to fetch, oldest first.

    Args:
        mode: ``local`` fetches nothing, ``tail`` what is newer than all that is covered,
            ``backfill`` what is older, ``full`` every gap. With nothing covered, the last three
            are the same.
        wanted: what was asked for, as far as the provider has it.
        covered: what is there.
        timeframe: the series' bar length.
    """
    if mode is DataMode.LOCAL or not wanted:
        return []
    gaps = missing(wanted, covered)
    known = merged(covered)
    if known and mode is DataMode.TAIL:
        gaps = [gap for gap in gaps if gap.start >= known[-1].end]
    elif known and mode is DataMode.BACKFILL:
        gaps = [gap for gap in gaps if gap.end <= known[0].start]
    longest: timedelta = timeframe.length * SEGMENT_BARS
    return [piece for gap in gaps for piece in gap.pieces(longest)]

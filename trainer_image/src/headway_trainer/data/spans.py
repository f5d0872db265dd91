"""Arithmetic on stretches of time: what is covered, what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True, order=True)
class Span:
    """From ``start`` up to but not including ``end``, both with a time zone."""

    start: datetime
    end: datetime

    def __bool__(self) -> bool:
        return self.start < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d} to {self.end - timedelta(microseconds=1):%Y-%m-%d}"

    def within(self, other: Span) -> Span:
        """The part of this that lies in the other; false where there is none."""
        return Span(max(self.start, other.start), min(self.end, other.end))

    def pieces(self, longest: timedelta) -> list[Span]:
        """This, cut into pieces of equal length that are no longer than ``longest``."""
        if not self:
            return []
        count = math.ceil((self.end - self.start) / longest)
        step = (self.end - self.start) / count
        edges = [self.start + i * step for i in range(count)] + [self.end]
        return [Span(a, b) for a, b in pairwise(edges)]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as possible, sorted."""
    out: list[Span] = []
    for span in sorted(s for s in spans if s):
        if out and span.start <= out[-1].end:
            out[-1] = Span(out[-1].start, max(out[-1].end, span.end))
        else:
            out.append(span)
    return out


def missing(wanted: Span, covered: Iterable[Span]) -> list[Span]:
    """The parts of what is wanted that no span covers."""
    out, start = [], wanted.start
    for span in merged(covered):
        if span.end <= wanted.start or span.start >= wanted.end:
            continue
        if span.start > start:
            out.append(Span(start, span.start))
        start = max(start, span.end)
    out.append(Span(start, wanted.end))
    return [span for span in out if span]

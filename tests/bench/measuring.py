"""Figures: medians, intervals and how they are printed."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Figure:
    """One measured thing.

    Attributes:
        what: in words.
        value: the figure as printed, with its unit.
        beside: what it is measured against, in the same run.
        aim: what the project aims at; empty where there is no aim.
        met: whether it does; None where there is no aim.
        data: the numbers, for machines.
    """

    what: str
    value: str
    beside: str = ""
    aim: str = ""
    met: bool | None = None
    data: dict[str, Any] = field(default_factory=dict)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of the values do not exceed, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def median_interval(values: Sequence[float], rounds: int = 4000) -> tuple[float, float]:
    """A 95 % bootstrap interval of the median (percentile method, fixed seed)."""
    draw = random.Random(7)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(rounds))
    return medians[int(0.025 * rounds)], medians[int(0.975 * rounds)]


def table(figures: Sequence[Figure]) -> str:
    """The figures as a table for people."""
    head = ("what", "measured", "beside, in the same run", "aim", "")
    marks = {True: "met", False: "NOT met", None: ""}
    rows = [head, *((f.what, f.value, f.beside, f.aim, marks[f.met]) for f in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def save(figures: Sequence[Figure], file: Path) -> None:
    """The figures as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(f) for f in figures], indent=2) + "\n")

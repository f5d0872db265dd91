"""Bar lengths such as ``5m``, ``1h``, ``1d``, ``1w`` and ``1M``, and the grid their bars lie on.

A bar is known by the time it opens, in UTC, and closes where the next one on the grid opens. Grid:
minutes, hours and days count from midnight UTC of 1970-01-01, weeks from a Monday, months from
January of year 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headway_trainer.errors import InputError

_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_MONTH = timedelta(days=365.25 / 12)
_TEXT = re.compile(r"([1-9][0-9]*)([mhdwMHDW])")
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Timeframe:
    """A bar length: a count of minutes, hours, days, weeks or months (``m h d w M``)."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Read a bar length. Case matters for one letter only: ``m`` is minutes, ``M`` months.

        Raises:
            InputError: where it is none.
        """
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise InputError(f"{text!r} is no bar length; write one such as 5m, 1h, 1d, 1w or 1M")
        unit = found[2] if found[2] == "M" else found[2].lower()
        return cls(int(found[1]), unit)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    @property
    def stem(self) -> str:
        """A name for files: ``1mo`` for months, so that it never differs by case alone."""
        return f"{self.count}mo" if self.unit == "M" else str(self)

    @property
    def is_monthly(self) -> bool:
        """Whether its bars differ in length."""
        return self.unit == "M"

    @property
    def length(self) -> timedelta:
        """How long a bar is; for months, on average."""
        return self.count * (_MONTH if self.is_monthly else _UNITS[self.unit])

    @property
    def origin(self) -> datetime:
        """Where the grid begins; for bars of one length."""
        return MONDAY if self.unit == "w" else EPOCH

    def divides(self, coarser: Timeframe) -> bool:
        """Whether whole bars of this length make up whole bars of the other."""
        if self.is_monthly:
            return coarser.is_monthly and coarser.count % self.count == 0
        if coarser.is_monthly:
            return _UNITS["d"] % self.length == timedelta(0)
        return coarser.length % self.length == timedelta(0) and (
            self.unit != "w" or coarser.unit == "w"
        )

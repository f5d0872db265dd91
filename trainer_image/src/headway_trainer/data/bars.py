"""Bars as a data frame, and the rules that make any OHLCV data one.

A frame of bars has a unique, rising index named ``time`` (when the bar opens, UTC) and the float
columns ``open, high, low, close, volume``.

The rules, in this order:

1. Times without a zone are UTC. A row without a time is dropped; of several rows with one time,
   the last stays.
2. A row is dropped whose prices are missing, infinite, zero or negative, or whose high is below
   its low.
3. Where open or close lies outside of low to high by at most 2 percent, low or high is moved to
   it: feeds disagree in such small ways. Beyond that the row is dropped.
4. A missing or negative volume becomes 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from headway_trainer.data.spans import Span
from headway_trainer.data.timeframes import Timeframe

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]
_REPAIRABLE = 0.02
_AHEAD = pd.Timedelta(hours=14)
"""The most that a zone is ahead of UTC: its months begin while the one before goes on there."""
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Cleaned:
    """Bars that keep the rules, and what it took.

    Attributes:
        dropped: rows that were left out.
        repaired: rows whose high, low or volume was changed.
    """

    bars: pd.DataFrame
    dropped: int = 0
    repaired: int = 0


def empty() -> pd.DataFrame:
    """No bars."""
    index = pd.DatetimeIndex([], dtype="datetime64[ns, UTC]", name="time")
    return pd.DataFrame({c: pd.Series(dtype="float64") for c in COLUMNS}, index=index)


def clean(frame: pd.DataFrame) -> Cleaned:
    """Apply the rules to a frame with a time index and the columns of bars."""
    rows = len(frame)
    bars = frame.loc[:, list(COLUMNS)].astype("float64")
    bars.index = in_utc(pd.DatetimeIndex(frame.index))
    bars = bars[bars.index.notna()]
    bars = bars[~bars.index.duplicated(keep="last")].sort_index()

    prices = bars[list(PRICES)].to_numpy()
    sound = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1)
    sound &= bars["high"].to_numpy() >= bars["low"].to_numpy()
    bars = bars[sound]

    top, bottom = bars[["open", "close"]].max(axis=1), bars[["open", "close"]].min(axis=1)
    near = (top <= bars["high"] * (1 + _REPAIRABLE)) & (bottom >= bars["low"] * (1 - _REPAIRABLE))
    odd = (top > bars["high"]) | (bottom < bars["low"])
    bars, top, bottom, odd = bars[near], top[near], bottom[near], odd[near]
    no_volume = ~(np.isfinite(bars["volume"]) & (bars["volume"] >= 0))
    bars = bars.assign(
        high=np.maximum(bars["high"], top),
        low=np.minimum(bars["low"], bottom),
        volume=bars["volume"].where(~no_volume, 0.0),
    )
    return Cleaned(bars, dropped=rows - len(bars), repaired=int((odd | no_volume).sum()))


def in_utc(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The times as an index of bars; those without a zone are UTC."""
    index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    return index.as_unit("ns").rename("time")


def merge(older: pd.DataFrame, newer: pd.DataFrame) -> pd.DataFrame:
    """Both, sorted; where both have a bar, the newer one."""
    parts = [part for part in (older, newer) if len(part)]
    if not parts:
        return empty()
    together = pd.concat(parts)
    return together[~together.index.duplicated(keep="last")].sort_index()


def within(bars: pd.DataFrame, span: Span) -> pd.DataFrame:
    """The bars that open in a span."""
    return bars[(bars.index >= span.start) & (bars.index < span.end)]


def opens(index: pd.DatetimeIndex, timeframe: Timeframe) -> pd.DatetimeIndex:
    """When the bar on a timeframe's grid opens that holds each time."""
    if timeframe.is_monthly:
        return _month_starts(_months(index) // timeframe.count * timeframe.count)
    origin = pd.Timestamp(timeframe.origin)
    bars = (index - origin) // pd.Timedelta(timeframe.length)
    return in_utc(origin + bars * pd.Timedelta(timeframe.length))


def closes(index: pd.DatetimeIndex, timeframe: Timeframe) -> pd.DatetimeIndex:
    """When each bar closes that opens at these times: from then on it may be used.

    A month that begins at midnight of another zone ends at midnight there.
    """
    if timeframe.is_monthly:
        begun = _months(index + _AHEAD) // timeframe.count * timeframe.count
        zone = index - _month_starts(begun)
        zone = zone.where(zone < _DAY, pd.Timedelta(0))
        return in_utc(_month_starts(begun + timeframe.count) + zone)
    return in_utc(index + pd.Timedelta(timeframe.length))


def _months(index: pd.DatetimeIndex) -> Any:
    return (index.year.to_numpy() - 1) * 12 + index.month.to_numpy() - 1


def _month_starts(months: Any) -> pd.DatetimeIndex:
    frame = pd.DataFrame({"year": months // 12 + 1, "month": months % 12 + 1, "day": 1})
    return in_utc(pd.DatetimeIndex(pd.to_datetime(frame)))


def resampled(bars: pd.DataFrame, finer: Timeframe, coarser: Timeframe) -> pd.DataFrame:
    """Coarser bars from finer ones: whole bars only.

    The first and the last are left out where the finer bars do not reach their edges: a bar that
    may still change is no bar yet.
    """
    if finer == coarser or not len(bars):
        return bars
    grouped = bars.groupby(opens(bars.index, coarser))
    out = grouped.agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    out.index = in_utc(pd.DatetimeIndex(out.index))
    whole = (out.index >= bars.index[0]) & (closes(out.index, coarser) <= reach(bars, finer).end)
    return out[whole]


def reach(bars: pd.DataFrame, timeframe: Timeframe) -> Span:
    """From the first bar's open to the last bar's close; there must be one."""
    last = closes(bars.index[-1:], timeframe)[0]
    return Span(bars.index[0].to_pydatetime(), last.to_pydatetime())


def runs(bars: pd.DataFrame, timeframe: Timeframe) -> list[Span]:
    """The stretches without a hole.

    Markets close at night, on week-ends and on holidays, so only more than a week between one
    bar's close and the next one's open is a hole (or two bars, where bars are longer than that).
    """
    if not len(bars):
        return []
    allowed = pd.Timedelta(max(timedelta(days=7), 2 * timeframe.length))
    ends = closes(bars.index, timeframe)
    breaks = np.flatnonzero((bars.index[1:] - ends[:-1]) > allowed)
    firsts = [0, *(breaks + 1)]
    lasts = [*breaks, len(bars) - 1]
    return [
        Span(bars.index[a].to_pydatetime(), ends[b].to_pydatetime())
        for a, b in zip(firsts, lasts, strict=True)
    ]

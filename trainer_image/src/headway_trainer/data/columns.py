"""Tables of bars that others made: which of their columns are times, prices and volume.

Case and spaces around a name do not matter. Times are a column ``time``, ``date``, ``datetime`` or
``timestamp``, or an index of times; prices are ``open``, ``high``, ``low`` and ``close``; a
``volume`` may be missing. Times are ISO 8601 (``20240131`` is, too) or numbers since 1970: seconds,
milli-, micro- or nanoseconds, told apart by their size.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from headway_trainer.data import bars as bars_
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError

_TIMES = ("time", "date", "datetime", "timestamp")
_UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))
"""Below which size a number is in which unit: all of them lie before the year 5139."""
_FIRST_DAY, _LAST_DAY = 19000101, 22001231
_MOST_PER_BAR = 1.5


def rows_of(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows of a table, with a time index and the columns of bars; not yet cleaned.

    Args:
        table: as it was read.
        where: what the table is, for the error's message, such as ``the file prices/AAPL_1d.csv``.

    Raises:
        DataError: where a column is missing or there twice, or the times cannot be read.
    """
    table = table.rename(columns=lambda name: str(name).strip().lower())
    wanted = (*_TIMES, *bars_.COLUMNS)
    if twice := [c for c in wanted if list(table.columns).count(c) > 1]:
        raise DataError(f"{where} has more than one column {', '.join(twice)}")
    column = next((c for c in _TIMES if c in table.columns), None)
    if column is not None:
        index = _times(table[column], where)
    elif isinstance(table.index, pd.DatetimeIndex):
        index = table.index
    else:
        raise DataError(f"{where} has no column {', '.join(_TIMES[:-1])} or {_TIMES[-1]}")
    if absent := [c for c in bars_.PRICES if c not in table.columns]:
        raise DataError(f"{where} has no column {', '.join(absent)}")
    found = {
        c: pd.to_numeric(table[c], errors="coerce").to_numpy("float64", na_value=np.nan)
        for c in bars_.COLUMNS
        if c in table.columns
    }
    return pd.DataFrame({"volume": 0.0, **found}, index=bars_.in_utc(index))


def see_that_they_are_of(timeframe: Timeframe, bars: pd.DataFrame, where: str) -> None:
    """See that clean bars are not of a finer timeframe than they should be.

    Raises:
        DataError: where many bars open within one bar of the timeframe.
    """
    room = bars_.opens(bars.index, timeframe).nunique()
    if len(bars) > _MOST_PER_BAR * room:
        raise DataError(
            f"{where} is not of {timeframe}: {len(bars)} bars lie where {room} bars of {timeframe} "
            "have room"
        )


def _times(values: pd.Series, where: str) -> pd.DatetimeIndex:
    try:
        if pd.api.types.is_numeric_dtype(values):
            return bars_.in_utc(pd.DatetimeIndex(_from_numbers(values)))
        return bars_.in_utc(pd.DatetimeIndex(pd.to_datetime(values, utc=True, format="ISO8601")))
    except (ValueError, TypeError, OverflowError):
        read = pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
        odd = [str(v) for v, time in zip(values, read, strict=True) if pd.isna(time)]
        first = f"; the first that is not: {odd[0]}" if odd else ""
        raise DataError(
            f"{where} has times that are neither ISO 8601, such as 2024-01-31 16:00, nor numbers "
            f"since 1970{first}"
        ) from None


def _from_numbers(values: pd.Series) -> pd.Series:
    known = values.dropna()
    if len(known) and known.between(_FIRST_DAY, _LAST_DAY).all():
        days = values.astype("Int64").astype("string")
        return pd.to_datetime(days, format="%Y%m%d", utc=True)
    largest = known.abs().max() if len(known) else 0.0
    unit = next(unit for bound, unit in _UNITS if largest < bound)
    return pd.to_datetime(values, unit=unit, utc=True)

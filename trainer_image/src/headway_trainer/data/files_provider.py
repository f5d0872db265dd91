"""Bars from a folder of CSV or Parquet files.

The file of AAPL in daily bars is the first that exists of ``AAPL_1d``, ``AAPL-1d``, ``AAPL.1d``
and ``AAPL/1d`` with the ending ``.parquet``, ``.csv`` or ``.csv.gz``; case does not matter, and a
slash in a symbol may be missing or written as ``_`` or ``-``. It has a column ``time``, ``date``,
``datetime`` or ``timestamp`` (or, in Parquet, a time index), the columns ``open``, ``high``,
``low``, ``close``, and, if there is one, ``volume``. Numbers as times are seconds or milliseconds
since 1970. Prices are taken as they are.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from headway_trainer.data import bars as bars_
from headway_trainer.data.spans import Span
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError, InputError

_ENDINGS = (".parquet", ".csv", ".csv.gz")
_TIMES = ("time", "date", "datetime", "timestamp")
_MILLISECONDS = 1e11
"""Numbers from here on are milliseconds: as seconds they lie past the year 5000."""


class FilesProvider:
    """Reads the files of a folder; each is read once.

    Raises:
        InputError: where there is no such folder.
    """

    name = "files"

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder} for the provider files")
        self._folder = folder
        self._series: dict[tuple[str, Timeframe], tuple[pd.DataFrame, Span]] = {}

    def span(self, symbol: str, timeframe: Timeframe) -> Span:
        """What the file of a series holds, from its first valid bar to its last."""
        return self._held(symbol, timeframe)[1]

    def fetch(self, symbol: str, timeframe: Timeframe, span: Span) -> pd.DataFrame:
        """The rows of a span, as they stand in the file."""
        return bars_.within(self._held(symbol, timeframe)[0], span)

    def _held(self, symbol: str, timeframe: Timeframe) -> tuple[pd.DataFrame, Span]:
        key = (symbol, timeframe)
        if key not in self._series:
            path = self._find(symbol, timeframe)
            rows = _read(path)
            bars = bars_.clean(rows).bars
            if not len(bars):
                raise DataError(f"the file {path} holds no valid bar")
            rows.index = bars_.in_utc(pd.DatetimeIndex(rows.index))
            self._series[key] = rows, bars_.reach(bars, timeframe)
        return self._series[key]

    def _find(self, symbol: str, timeframe: Timeframe) -> Path:
        names = [
            f"{written}{between}{timeframe.stem}{ending}".lower()
            for ending in _ENDINGS
            for written in dict.fromkeys(symbol.replace("/", c) for c in ("", "_", "-"))
            for between in ("_", "-", ".", "/")
        ]
        there = {
            p.relative_to(self._folder).as_posix().lower(): p
            for pattern in ("*", "*/*")
            for p in sorted(self._folder.glob(pattern))
            if p.is_file()
        }
        for name in names:
            if name in there:
                return there[name]
        near = [p.name for name, p in there.items() if name.startswith(symbol.lower()[:3])][:3]
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise DataError(
            f"the folder {self._folder} has no file for {symbol} [{timeframe}], such as "
            f"{symbol.replace('/', '')}_{timeframe.stem}.csv{hint}"
        )


def _read(path: Path) -> pd.DataFrame:
    try:
        raw = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"the file {path} cannot be read: {error}") from error
    raw.columns = [str(c).strip().lower() for c in raw.columns]
    column = next((c for c in _TIMES if c in raw.columns), None)
    if column is not None:
        raw.index = _times(raw[column], path)
    elif not isinstance(raw.index, pd.DatetimeIndex):
        raise DataError(f"the file {path} has no column {', '.join(_TIMES[:-1])} or {_TIMES[-1]}")
    if absent := [c for c in bars_.PRICES if c not in raw.columns]:
        raise DataError(f"the file {path} has no column {', '.join(absent)}")
    columns = {c: pd.to_numeric(raw[c], errors="coerce") for c in bars_.PRICES}
    if "volume" in raw.columns:
        columns["volume"] = pd.to_numeric(raw["volume"], errors="coerce")
    else:
        columns["volume"] = pd.Series(0.0, index=raw.index)
    return pd.DataFrame(columns)


def _times(values: pd.Series, path: Path) -> pd.DatetimeIndex:
    try:
        if pd.api.types.is_numeric_dtype(values):
            unit = "ms" if values.abs().max() >= _MILLISECONDS else "s"
            return pd.DatetimeIndex(pd.to_datetime(values, unit=unit, utc=True))
        return pd.DatetimeIndex(pd.to_datetime(values, utc=True, format="ISO8601"))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"the file {path} has times that are not ISO 8601, such as 2024-01-31 16:00: {error}"
        ) from error

"""Bars from a folder of CSV or Parquet files.

The file of AAPL in daily bars is the first that exists of ``AAPL_1d``, ``AAPL-1d``, ``AAPL.1d``
and ``AAPL/1d`` with the ending ``.parquet``, ``.csv`` or ``.csv.gz``; case does not matter, and a
slash in a symbol may be missing or written as ``_`` or ``-``. What its columns may be says
:mod:`headway_trainer.data.columns`. Prices are taken as they are.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from headway_trainer.data import bars as bars_
from headway_trainer.data.columns import rows_of, see_that_they_are_of
from headway_trainer.data.spans import Span
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError, InputError

_ENDINGS = (".parquet", ".csv", ".csv.gz")


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
                raise DataError(
                    f"the file {path} holds no valid bar in its {len(rows)} rows: their prices are "
                    "missing, no numbers, or contradict each other"
                )
            see_that_they_are_of(timeframe, bars, f"the file {path}")
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
    where = f"the file {path}"
    try:
        read = pd.read_parquet if path.suffix.lower() == ".parquet" else pd.read_csv
        table = read(path)
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    return rows_of(table, where)

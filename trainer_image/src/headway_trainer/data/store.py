"""Where bars lie in a workspace: ``data/<symbol>/<timeframe>.parquet``.

A file also says, in its metadata, which stretches of time its providers were asked for: a holiday
is then no gap, and a second load of the same fetches nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from headway_trainer.artifacts import write_whole
from headway_trainer.data import bars as bars_
from headway_trainer.data.columns import rows_of, see_that_they_are_of
from headway_trainer.data.spans import Span, merged
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError

_KEY = b"headway"


@dataclass(frozen=True)
class Series:
    """Bars of one symbol and timeframe.

    Attributes:
        covered: the stretches that providers were asked for.
        providers: their names, in the order of first use.
    """

    bars: pd.DataFrame = field(default_factory=bars_.empty)
    covered: tuple[Span, ...] = ()
    providers: tuple[str, ...] = ()

    def with_more(self, bars: pd.DataFrame, span: Span, provider: str) -> Series:
        """This and what a provider gave for a span."""
        return Series(
            bars_.merge(self.bars, bars),
            tuple(merged([*self.covered, span])),
            tuple(dict.fromkeys([*self.providers, provider])),
        )


class BarStore:
    """The bars in a workspace folder."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace

    def path(self, symbol: str, timeframe: Timeframe) -> Path:
        """The file of a series. What is unsafe in a file name is written as %XX: EUR%2FUSD."""
        return self.workspace / "data" / quote(symbol, safe="") / f"{timeframe.stem}.parquet"

    def read(self, symbol: str, timeframe: Timeframe) -> Series:
        """A series; empty where there is none.

        A Parquet file that somebody else put there works, too
        (:mod:`headway_trainer.data.columns`): what it covers is then read off its bars.

        Raises:
            DataError: where the file is damaged or holds other bars.
        """
        path = self.path(symbol, timeframe)
        if not path.exists():
            return Series()
        try:
            table = pq.read_table(path, partitioning=None)
            about = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
            covered = tuple(Span(_time(a), _time(b)) for a, b in about.get("covered", []))
            providers = tuple(about.get("providers", []))
            rows = table.to_pandas()
        except (OSError, pa.ArrowException, ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"the data file {path} cannot be read; delete it and load it again ({error})"
            ) from error
        bars = bars_.clean(rows_of(rows, f"the data file {path}")).bars
        if covered:
            return Series(bars, covered, providers)
        see_that_they_are_of(timeframe, bars, f"the data file {path}")
        return Series(bars, tuple(bars_.runs(bars, timeframe)), providers)

    def write(self, symbol: str, timeframe: Timeframe, series: Series) -> Path:
        """Replace a series as one step; returns its file."""
        table = pa.Table.from_pandas(series.bars)
        about = {
            "covered": [[s.start.isoformat(), s.end.isoformat()] for s in series.covered],
            "providers": list(series.providers),
        }
        metadata = {**(table.schema.metadata or {}), _KEY: json.dumps(about).encode()}
        table = table.replace_schema_metadata(metadata)
        path = self.path(symbol, timeframe)
        write_whole(path, lambda draft: pq.write_table(table, draft))
        return path


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

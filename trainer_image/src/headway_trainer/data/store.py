"""Where bars lie in a workspace: ``data/<symbol>/<timeframe>.parquet``.

A file also says, in its metadata, which stretches of time its providers were asked for: a holiday
is then no gap, and a second load of the same fetches nothing.

Several runs may load into one workspace at once: what one adds is added to what the file holds by
then, one after the other.
"""

from __future__ import annotations

import fcntl
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO
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
_LOCK_SECONDS = 30.0
_LOCK_LOOK = 0.05
_log = logging.getLogger(__name__)


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

    def with_more(self, other: Series) -> Series:
        """This and another part of it; where both have a bar, the other's."""
        return Series(
            bars_.merge(self.bars, other.bars),
            tuple(merged([*self.covered, *other.covered])),
            tuple(dict.fromkeys([*self.providers, *other.providers])),
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

    def add(self, symbol: str, timeframe: Timeframe, part: Series) -> Series:
        """Add a part to what the file of a series holds by now; returns the whole.

        Raises:
            DataError: where the file is damaged.
            OSError: where it cannot be written; what is there is whole then.
        """
        with _alone(self.path(symbol, timeframe)):
            whole = self.read(symbol, timeframe).with_more(part)
            self.write(symbol, timeframe, whole)
        return whole

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


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no other process is here for the same file.

    Not every file system can lock, and on a network a lock may outlive its owner for a while: then
    it goes on without, and two that save at the same instant may lose one's part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            lock = held.enter_context(path.with_name(f".{path.stem}.lock").open("a"))
            _lock(lock)
        except OSError as error:
            _log.debug("%s cannot be locked: %s", path, error)
        yield


def _lock(file: IO[str]) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOCK_LOOK)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

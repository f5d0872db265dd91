"""Loading: plan the segments of every series, fetch them, keep what was fetched."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from headway import CancellationToken
from headway_api.models import DataMode

from headway_trainer.artifacts import described
from headway_trainer.data import bars as bars_
from headway_trainer.data.planning import segments
from headway_trainer.data.providers import Provider, provider_named
from headway_trainer.data.spans import Span
from headway_trainer.data.store import BarStore, Series
from headway_trainer.data.timeframes import EPOCH, Timeframe
from headway_trainer.errors import DataError, DataLoadError
from headway_trainer.inputs import day_after, day_of
from headway_trainer.progress import ProgressCallback, is_stopped, unheard

_log = logging.getLogger(__name__)
_REASON = 300
_FAR = EPOCH.replace(year=9999)
_SUMMER_TIME = timedelta(hours=1)


@dataclass
class _Item:
    """One series on its way: what is planned, what was fetched, why it failed.

    Attributes:
        shown: the timeframe as it was given, for people.
        series: what the workspace holds.
        new: what was fetched and is not in the workspace yet.
    """

    symbol: str
    timeframe: Timeframe
    shown: str
    series: Series = field(default_factory=Series)
    new: Series = field(default_factory=Series)
    segments: list[Span] = field(default_factory=list)
    fetched: int = 0
    dropped: int = 0
    repaired: int = 0
    failure: str | None = None
    path: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.symbol} [{self.timeframe}]"

    def fail(self, error: Exception) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, (DataError, ValueError)):
            text = f"{type(error).__name__}: {text}"
        self.failure = text[:_REASON]
        _log.warning("%s failed: %s", self.name, text, exc_info=not isinstance(error, DataError))


class DataAdapter:
    """Loads bars into a workspace.

    Args:
        workspace: the workspace folder.
        provider: a source of bars to use in place of the named ones.
    """

    def __init__(self, workspace: Path, provider: Provider | None = None) -> None:
        self.store = BarStore(workspace)
        self._workspace = workspace
        self._provider = provider

    def load(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str | None = None,
        end_date: str | None = None,
        mode: DataMode | str = DataMode.TAIL,
        provider: str = "sample",
        path: str | None = None,
        *,
        cancellation_token: CancellationToken | None = None,
        progress_callback: ProgressCallback = unheard,
    ) -> dict[str, Any]:
        """Load series; one that fails does not end the others.

        Args:
            symbols: such as AAPL.
            timeframes: bar lengths, such as 1d.
            start_date: first day, YYYY-MM-DD; None is the provider's first.
            end_date: last day, YYYY-MM-DD; None is the provider's last.
            mode: which missing parts to fetch; see :func:`headway_trainer.data.planning.segments`.
            provider: name of the source.
            path: folder of the provider files.
            cancellation_token: checked before each segment; what was fetched by then is kept.
            progress_callback: told at each segment's start.

        Returns:
            ``status`` (success or cancelled), ``segments_fetched``, ``bars_fetched``, ``loaded``
            and ``failed`` (by series), and ``artifacts``.

        Raises:
            InputError: where the provider or a timeframe is none.
            DataLoadError: where every series failed.
        """
        mode = DataMode(mode)
        asked = _asked(start_date, end_date)
        source: Provider | None = None
        if mode is not DataMode.LOCAL:
            source = self._provider or provider_named(provider, path, self._workspace)
        given = {Timeframe.parse(t): t for t in timeframes}
        items = [_Item(s, t, text) for s in dict.fromkeys(symbols) for t, text in given.items()]
        for item in items:
            self._plan(item, mode, asked, source)
        done, stopped = self._fetch(items, source, cancellation_token, progress_callback, symbols)
        for item in items:
            self._finish(item, asked, stopped=stopped)
        failed = {item.name: item.failure for item in items if item.failure is not None}
        if len(failed) == len(items) and not stopped:
            raise DataLoadError(_total_failure(failed, mode, provider))
        return {
            "status": "cancelled" if stopped else "success",
            "segments_fetched": done,
            "bars_fetched": sum(item.fetched for item in items),
            **({"failed": failed} if failed else {}),
            "loaded": {i.name: _told(i) for i in items if not i.failure and len(i.series.bars)},
            "artifacts": [
                described(i.name, i.path, self._workspace) for i in items if i.path is not None
            ],
        }

    def bars(self, symbol: str, timeframe: str, start: str | None, end: str | None) -> pd.DataFrame:
        """The bars that the workspace holds between two days, both included.

        Raises:
            DataError: where there are none.
        """
        series, asked = self.store.read(symbol, Timeframe.parse(timeframe)), _asked(start, end)
        bars = bars_.within(series.bars, asked)
        if not len(bars):
            raise DataError(_nothing_there(symbol, Timeframe.parse(timeframe), series, asked))
        return bars

    def _plan(self, item: _Item, mode: DataMode, asked: Span, source: Provider | None) -> None:
        try:
            item.series = self.store.read(item.symbol, item.timeframe)
            if source is not None:
                offered = source.span(item.symbol, item.timeframe)
                item.segments = segments(
                    mode, offered.within(asked), item.series.covered, item.timeframe
                )
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            item.fail(error)

    def _fetch(
        self,
        items: list[_Item],
        source: Provider | None,
        token: CancellationToken | None,
        tell: ProgressCallback,
        symbols: Sequence[str],
    ) -> tuple[int, bool]:
        """Fetch all segments; returns how many came, and whether a stop ended it."""
        total, position, fetched = sum(len(item.segments) for item in items), 0, 0
        timeframes = list(dict.fromkeys(item.shown for item in items))
        if not total:
            about = {"symbols": list(symbols), "timeframes": timeframes, "total_segments": 0}
            tell(None, None, about)
        for item in items:
            for index, segment in enumerate(item.segments):
                if is_stopped(token):
                    self._keep(item)
                    return fetched, True
                tell(
                    position,
                    None,
                    {
                        "symbols": list(symbols),
                        "timeframes": [item.shown],
                        "current_item": item.symbol,
                        "current_segment": position + 1,
                        "total_segments": total,
                        "total_steps": total,
                    },
                )
                if source is None or not _fetch_segment(item, segment, source):
                    position += len(item.segments) - index
                    break
                position, fetched = position + 1, fetched + 1
            self._keep(item)
        if total:
            tell(total, None, {"symbols": list(symbols), "timeframes": timeframes,
                               "current_segment": total, "total_segments": total,
                               "total_steps": total})  # fmt: skip
        return fetched, False

    def _keep(self, item: _Item) -> None:
        if not item.new.covered:
            return
        try:
            item.series = self.store.add(item.symbol, item.timeframe, item.new)
        except (OSError, DataError) as error:
            item.fail(error)

    def _finish(self, item: _Item, asked: Span, *, stopped: bool) -> None:
        path = self.store.path(item.symbol, item.timeframe)
        if path.exists():
            item.path = path
        if item.failure or stopped or len(bars_.within(item.series.bars, asked)):
            return
        item.failure = _nothing_there(item.symbol, item.timeframe, item.series, asked)


def _fetch_segment(item: _Item, segment: Span, source: Provider) -> bool:
    known = item.series
    span = segment
    if item.timeframe.length > _SUMMER_TIME and segment.start in {s.end for s in known.covered}:
        # The day on which some zone's clocks go forward ends an hour before it was taken to end.
        span = Span(segment.start - _SUMMER_TIME, segment.end)
    try:
        raw = source.fetch(item.symbol, item.timeframe, span)
        cleaned = bars_.clean(raw)
    except Exception as error:  # noqa: BLE001 - a provider may raise anything
        item.fail(error)
        return False
    bars = bars_.within(cleaned.bars, span)
    bars = bars[~bars.index.isin(known.bars.index)]
    item.new = item.new.with_more(Series(bars, (segment,), (source.name,)))
    item.fetched += len(bars)
    item.dropped += cleaned.dropped
    item.repaired += cleaned.repaired
    return True


def _asked(start_date: str | None, end_date: str | None) -> Span:
    start = day_of(start_date, "start_date") if start_date else EPOCH.replace(year=1)
    return Span(start, day_after(end_date, "end_date") if end_date else _FAR)


def _told(item: _Item) -> dict[str, Any]:
    bars = item.series.bars
    told: dict[str, Any] = {
        "bars": len(bars),
        "fetched": item.fetched,
        "first": f"{bars.index[0]:%Y-%m-%d}",
        "last": f"{bars.index[-1]:%Y-%m-%d}",
    }
    holes = len(bars_.runs(bars, item.timeframe)) - 1
    odd = {"holes": holes, "dropped": item.dropped, "repaired": item.repaired}
    return {**told, **{name: count for name, count in odd.items() if count}}


def _nothing_there(symbol: str, timeframe: Timeframe, series: Series, asked: Span) -> str:
    name = f"{symbol} [{timeframe}]"
    if not len(series.bars):
        return f"the workspace holds no {name}; load it with mode full"
    held = bars_.reach(series.bars, timeframe)
    since = "" if asked.start.year == 1 else f" from {asked.start:%Y-%m-%d}"
    until = "" if asked.end == _FAR else f" before {asked.end:%Y-%m-%d}"
    return (
        f"there is no bar of {name}{since}{until}: the workspace holds {held}; ask for other days, "
        "or load them with mode full"
    )


def _total_failure(failed: dict[str, str], mode: DataMode, provider: str) -> str:
    source = "the workspace" if mode is DataMode.LOCAL else f"the provider {provider}"
    shown = "; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return f"nothing could be loaded from {source}: {shown}{more}"

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from headway import CancellationToken, DataProgressRenderer
from headway_trainer.data import bars as bars_
from headway_trainer.data.adapter import DataAdapter
from headway_trainer.data.sample_provider import SampleProvider
from headway_trainer.data.spans import Span
from headway_trainer.data.store import BarStore
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError, DataLoadError, InputError

DAY = Timeframe(1, "d")


@pytest.fixture
def load(workspace):
    """Loads daily AAPL from the folder prices; keyword arguments replace that."""

    def run(**arguments):
        asked = {"symbols": ["AAPL"], "timeframes": ["1d"], "provider": "files", "path": "prices"}
        return DataAdapter(workspace).load(**{**asked, **arguments})

    return run


def stored(workspace, symbol="AAPL", timeframe=DAY):
    return BarStore(workspace).read(symbol, timeframe).bars


def test_a_load_keeps_exactly_the_bars_of_the_file(load, files, workspace, make_bars):
    bars = make_bars(300)
    files("AAPL_1d.csv", bars)
    result = load(mode="full")
    assert result["status"] == "success"
    assert result["bars_fetched"] == 300
    pd.testing.assert_frame_equal(stored(workspace), bars, check_freq=False)
    (artifact,) = result["artifacts"]
    assert artifact["path"] == "data/AAPL/1d.parquet"
    assert artifact["bytes"] == (workspace / artifact["path"]).stat().st_size


@pytest.mark.parametrize("mode", ["tail", "backfill", "full"])
def test_a_second_load_of_the_same_fetches_nothing(load, files, make_bars, mode):
    files("AAPL_1d.csv", make_bars(300))
    load(mode="full")
    again = load(mode=mode)
    assert (again["segments_fetched"], again["bars_fetched"]) == (0, 0)
    assert again["loaded"]["AAPL [1d]"]["bars"] == 300


def test_each_mode_adds_its_part(load, files, workspace, make_bars):
    bars = make_bars(300)
    files("AAPL_1d.parquet", bars)
    day = [f"{t:%Y-%m-%d}" for t in bars.index]
    load(mode="full", start_date=day[100], end_date=day[149])
    load(mode="full", start_date=day[200], end_date=day[219])
    assert len(stored(workspace)) == 70
    assert load(mode="tail")["bars_fetched"] == 80
    assert load(mode="backfill")["bars_fetched"] == 100
    assert load(mode="full")["bars_fetched"] == 50, "the gap between"
    pd.testing.assert_frame_equal(stored(workspace), bars, check_freq=False)


def test_the_first_day_and_the_last_count_also_where_they_are_one(
    load, files, workspace, make_bars
):
    bars = make_bars(30)
    files("AAPL_1d.parquet", bars)
    day = f"{bars.index[10]:%Y-%m-%d}"
    assert load(mode="full", start_date=day, end_date=day)["bars_fetched"] == 1
    assert list(stored(workspace).index) == [bars.index[10]]


@pytest.mark.parametrize(("timeframe", "frequency"), [("1d", "D"), ("1w", "W-MON"), ("1M", "MS")])
@pytest.mark.parametrize("mode", ["tail", "full"])
def test_no_bar_is_lost_where_the_clocks_go_forward(
    load, files, workspace, make_bars, timeframe, frequency, mode
):
    """Bars open at midnight in New York: the first of summer time opens an hour early, in UTC."""
    bars = make_bars(30)
    bars.index = pd.date_range(
        "2024-02-26", periods=30, freq=frequency, tz="America/New_York", name="time"
    )
    length = Timeframe.parse(timeframe)
    winter = bars.index.map(lambda time: not time.dst())
    files(f"AAPL_{length.stem}.csv", bars[winter & (bars.index < "2024-06-01")])
    load(timeframes=[timeframe], mode=mode)
    files(f"AAPL_{length.stem}.csv", bars)
    load(timeframes=[timeframe], mode=mode)
    assert len(stored(workspace, timeframe=length)) == len(bars)
    assert load(timeframes=[timeframe], mode=mode)["segments_fetched"] == 0


def test_tail_brings_what_a_growing_file_has_gained(load, files, workspace, make_bars):
    bars = make_bars(300)
    files("AAPL_1d.csv", bars.iloc[:250])
    load(mode="tail")
    files("AAPL_1d.csv", bars)
    assert load(mode="tail")["bars_fetched"] == 50
    pd.testing.assert_frame_equal(stored(workspace), bars, check_freq=False)


def test_local_fetches_nothing_and_misses_what_is_not_there(load, files, workspace, make_bars):
    with pytest.raises(DataLoadError, match="load it with mode full"):
        load(mode="local")
    files("AAPL_1d.csv", make_bars(300))
    load(mode="full")
    assert load(mode="local")["bars_fetched"] == 0


def test_data_that_somebody_put_there_is_completed_where_it_has_holes(
    load, files, workspace, make_bars
):
    bars = make_bars(300)
    files("AAPL_1d.csv", bars)
    path = workspace / "data" / "AAPL" / "1d.parquet"
    path.parent.mkdir(parents=True)
    pd.concat([bars.iloc[50:100], bars.iloc[150:250]]).to_parquet(path)
    assert load(mode="full")["bars_fetched"] == 150
    pd.testing.assert_frame_equal(stored(workspace), bars, check_freq=False)


def test_a_table_with_its_times_in_a_column_is_data_too(workspace, make_bars):
    bars = make_bars(30)
    path = workspace / "data" / "AAPL" / "1d.parquet"
    path.parent.mkdir(parents=True)
    table = bars.drop(columns="volume").rename(columns=str.title).reset_index()
    table.to_parquet(path, index=False)
    pd.testing.assert_frame_equal(
        stored(workspace), bars.assign(volume=0.0), check_freq=False, check_like=True
    )
    table.drop(columns="time").to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"1d.parquet has no column time, date"):
        stored(workspace)


def test_one_series_that_fails_does_not_end_the_others(load, files, make_bars):
    files("AAPL_1d.csv", make_bars(300))
    files("IBM_1d.csv", make_bars(300).drop(columns="close"))
    result = load(symbols=["IBM", "AAPL", "NOPE"], mode="full")
    assert result["status"] == "success"
    assert list(result["loaded"]) == ["AAPL [1d]"]
    assert "has no column close" in result["failed"]["IBM [1d]"]
    assert "no file for NOPE [1d]" in result["failed"]["NOPE [1d]"]


def test_when_every_series_fails_the_load_fails_and_says_why(load, files, make_bars):
    files("AAPL_1h.csv", make_bars(10))
    with pytest.raises(DataLoadError, match=r"no file for AAPL \[1d\].*near it are AAPL_1h.csv"):
        load(mode="full")


class Failing:
    """Gives the first segments of a walk, then breaks."""

    name = "failing"

    def __init__(self, bars, good: int):
        self.bars, self.good, self.calls = bars, good, 0

    def span(self, symbol, timeframe):
        return bars_.reach(self.bars, timeframe)

    def fetch(self, symbol, timeframe, span):
        self.calls += 1
        if self.calls > self.good:
            raise ConnectionError("the line is dead")
        return bars_.within(self.bars, span)


def test_what_came_before_a_failure_is_kept_and_not_fetched_again(workspace, make_bars):
    bars = make_bars(3000)
    broken = DataAdapter(workspace, Failing(bars, good=2))
    with pytest.raises(DataLoadError, match="ConnectionError: the line is dead"):
        broken.load(["AAPL"], ["1d"], mode="full")
    assert len(stored(workspace)) == 2000
    sound = DataAdapter(workspace, Failing(bars, good=9))
    assert sound.load(["AAPL"], ["1d"], mode="full")["bars_fetched"] == 1000


def test_a_cancel_keeps_the_segments_that_came(workspace, make_bars):
    bars, token = make_bars(3000), CancellationToken()
    provider = Failing(bars, good=9)
    adapter = DataAdapter(workspace, provider)

    def tell(step=None, message=None, context=None):
        if context.get("current_segment") == 2:
            token.cancel()

    result = adapter.load(
        ["AAPL", "MSFT"], ["1d"], mode="full", cancellation_token=token, progress_callback=tell
    )
    assert result["status"] == "cancelled"
    assert result["segments_fetched"] == provider.calls == 2
    assert len(stored(workspace)) == 2000
    assert list(result["loaded"]) == ["AAPL [1d]"]
    assert "failed" not in result, "what was not reached has not failed"


class Waiting:
    """Gives its bars once every load that shares the barrier has planned and asks for its own."""

    name = "waiting"

    def __init__(self, bars, barrier):
        self.bars, self.barrier = bars, barrier

    def span(self, symbol, timeframe):
        return bars_.reach(self.bars, timeframe)

    def fetch(self, symbol, timeframe, span):
        self.barrier.wait(60)
        return bars_.within(self.bars, span)


def test_loads_into_one_workspace_at_once_lose_nothing_of_each_other(workspace, make_bars):
    bars, barrier = make_bars(900), Barrier(3)

    def load(part):
        DataAdapter(workspace, Waiting(part, barrier)).load(["AAPL"], ["1d"], mode="full")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(load, (bars.iloc[:300], bars.iloc[300:600], bars.iloc[600:])))
    pd.testing.assert_frame_equal(stored(workspace), bars, check_freq=False)
    again = DataAdapter(workspace, Waiting(bars, barrier)).load(["AAPL"], ["1d"], mode="full")
    assert again["segments_fetched"] == 0, "what is covered is merged, too"


def test_progress_names_series_and_segment(load, files, make_bars):
    files("AAPL_1d.csv", make_bars(2500))
    files("MSFT_1d.csv", make_bars(1500))
    told = []

    def tell(step=None, message=None, context=None):
        told.append((step, context["total_steps"], message, context))

    asked = {"symbols": ["AAPL", "MSFT"], "timeframes": ["1D"]}
    load(**asked, mode="full", progress_callback=tell)
    assert [(step, total) for step, total, _, _ in told] == [(n, 5) for n in range(6)]
    assert all(message is None for _, _, message, _ in told)
    render = DataProgressRenderer().render_progress_message
    lines = [render(context) for *_, context in told]
    assert lines[1] == "Loading AAPL [1D] (segment 2/5)", "the timeframe as it was given"
    assert lines[3] == "Loading MSFT [1D] (segment 4/5)"


def test_a_symbol_with_a_slash_has_its_own_folder(load, files, workspace, make_bars):
    files("eurusd_1d.csv", make_bars(30))
    assert load(symbols=["EUR/USD"], mode="full")["bars_fetched"] == 30
    assert (workspace / "data" / "EUR%2FUSD" / "1d.parquet").exists()
    store = BarStore(workspace)
    paths = {store.path(s, DAY) for s in ("EUR/USD", "EUR-USD", "EURUSD", "A/../B")}
    assert len(paths) == 4
    assert all(p.parent.parent == workspace / "data" for p in paths)


def test_a_save_that_fails_leaves_the_old_file_whole(
    load, files, workspace, make_bars, monkeypatch
):
    bars = make_bars(300)
    files("AAPL_1d.csv", bars.iloc[:200])
    load(mode="full")

    def full_disk(table, path):
        path.write_bytes(b"half")
        raise OSError("no space left")

    files("AAPL_1d.csv", bars)
    monkeypatch.setattr("headway_trainer.data.store.pq.write_table", full_disk)
    with pytest.raises(DataLoadError, match="no space left"):
        load(mode="full")
    assert len(stored(workspace)) == 200
    names = {p.name for p in (workspace / "data" / "AAPL").iterdir()}
    assert names == {"1d.parquet", ".1d.lock"}


def test_a_damaged_file_fails_its_series_and_says_what_to_do(load, files, workspace, make_bars):
    files("AAPL_1d.csv", make_bars(30))
    load(mode="full")
    (workspace / "data" / "AAPL" / "1d.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataLoadError, match="delete it and load it again"):
        load(mode="full")


def test_bad_rows_of_a_file_are_left_out_and_counted(load, files, make_bars):
    bars = make_bars(30)
    bars.iloc[5, 1] = -1.0
    files("AAPL_1d.csv", bars)
    loaded = load(mode="full")["loaded"]["AAPL [1d]"]
    assert (loaded["bars"], loaded["dropped"]) == (29, 1)


def test_days_that_are_not_there_are_named(load, files, make_bars):
    files("AAPL_1d.csv", make_bars(30, start="2020-01-06"))
    with pytest.raises(DataLoadError, match=r"no bar of AAPL.*from 2030-01-01.*2020-01-06"):
        load(mode="full")
        load(mode="full", start_date="2030-01-01", end_date="2030-02-01")


@pytest.mark.parametrize("name", ["AAPL-1d.csv", "aapl.1D.csv", "AAPL/1d.parquet"])
def test_files_are_found_by_the_usual_names(load, files, make_bars, name):
    files(name, make_bars(10))
    assert load(mode="full")["bars_fetched"] == 10


@pytest.mark.parametrize("digits", [0, 3, 6, 9], ids=["seconds", "milli-", "micro-", "nano-"])
def test_times_may_be_numbers(load, files, workspace, make_bars, digits):
    bars = make_bars(10)
    numbered = bars.assign(timestamp=bars.index.asi8 // 10 ** (9 - digits))
    files("AAPL_1d.csv", numbered.set_index("timestamp"))
    load(mode="full")
    assert list(stored(workspace).index) == list(bars.index)


def test_days_may_be_written_without_dashes(load, files, workspace, make_bars):
    bars = make_bars(10)
    files("AAPL_1d.csv", bars.set_axis(bars.index.strftime("%Y%m%d").rename("date")))
    load(mode="full")
    assert list(stored(workspace).index) == list(bars.index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read: No columns"),
        (b"time,open,high,low,close\n", "no valid bar in its 0 rows"),
        (b"date;open;high;low;close\n2020-01-01;1;1;1;1\n", "no column time, date, datetime or"),
        (b"date,open,high,low\n2020-01-01,1,1,1\n", "no column close"),
        (b"date,open,high,low,close,Close\n2020-01-01,1,1,1,1,2\n", "more than one column close"),
        (b"date,open,high,low,close\n31.01.2020,1,1,1,1\n", "the first that is not: 31.01.2020"),
        (b'date,open,high,low,close\n2020-01-01,"1,0",1,1,1\n', "no valid bar in its 1 rows"),
        (b"time,open\n2020-01-01,\xe4\n", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    load, files, make_bars, content, message
):
    path = files("AAPL_1d.csv", make_bars(1))
    path.write_bytes(content)
    with pytest.raises(DataLoadError, match=f"the file .*AAPL_1d.csv.*{message}"):
        load(mode="full")


def test_a_file_that_was_cut_short_is_named(load, files, make_bars):
    path = files("AAPL_1d.csv.gz", make_bars(30))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataLoadError, match=r"the file .*AAPL_1d.csv.gz cannot be read"):
        load(mode="full")


def test_bars_that_are_finer_than_their_file_says_are_refused(load, files, make_bars):
    files("AAPL_1d.csv", make_bars(2000, frequency="1min"))
    with pytest.raises(DataLoadError, match="is not of 1d: 2000 bars lie where 2 bars of 1d"):
        load(mode="full")


def test_days_of_another_time_zone_are_days(load, files, workspace, make_bars):
    bars = make_bars(300)
    there = bars.index.tz_localize(None).tz_localize("America/New_York").rename("time")
    files("AAPL_1d.csv", bars.set_axis(there))
    assert load(mode="full")["bars_fetched"] == 300
    assert list(stored(workspace).index) == list(there.tz_convert("UTC"))


def test_for_ever_is_a_day_that_may_be_asked_for(load, files, make_bars):
    files("AAPL_1d.csv", make_bars(30))
    assert load(mode="full", start_date="0001-01-01", end_date="9999-12-31")["bars_fetched"] == 30


def test_a_provider_that_does_not_exist_is_refused_with_the_nearest(load):
    with pytest.raises(InputError, match="did you mean files"):
        load(provider="file", mode="full")


def test_a_folder_that_does_not_exist_is_named(load):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        load(path="nowhere", mode="full")


def test_what_is_covered_is_written_beside_the_bars(load, files, workspace, make_bars):
    import pyarrow.parquet as pq

    bars = make_bars(30)
    files("AAPL_1d.csv", bars)
    load(mode="full")
    metadata = pq.read_schema(workspace / "data" / "AAPL" / "1d.parquet").metadata
    about = json.loads(metadata[b"headway"])
    whole = bars_.reach(bars, DAY)
    assert about == {
        "covered": [[whole.start.isoformat(), whole.end.isoformat()]],
        "providers": ["files"],
    }


@pytest.mark.parametrize("symbol", ["AAPL", "MSFT", "IBM"])
def test_sample_stocks_have_no_jump_at_a_split(symbol):
    provider = SampleProvider()
    bars = provider.fetch(symbol, DAY, provider.span(symbol, DAY))
    assert len(bars) == 3270
    moves = np.abs(np.diff(np.log(bars["close"].to_numpy())))
    splits = pd.DatetimeIndex(["2000-06-21", "2003-02-18", "2005-02-28"], tz="UTC")
    at = np.flatnonzero(bars.index[1:].isin(splits))
    assert moves[at].max() < 0.1
    assert bars_.clean(bars).dropped == 0


def test_sample_stocks_keep_the_traded_value():
    from bokeh_sampledata.stocks import AAPL

    provider = SampleProvider()
    bars = provider.fetch("AAPL", DAY, provider.span("AAPL", DAY))
    traded = np.array(AAPL["close"]) * np.array(AAPL["volume"])
    np.testing.assert_allclose(bars["close"] * bars["volume"], traded, rtol=1e-9)


def test_sample_forex_is_hourly_and_resamples():
    provider, hour, four = SampleProvider(), Timeframe(1, "h"), Timeframe(4, "h")
    hourly = provider.fetch("EUR/USD", hour, provider.span("EUR/USD", hour))
    coarser = provider.fetch("EURUSD", four, provider.span("EURUSD", four))
    assert len(hourly) > 6000
    at = coarser.index[100]
    part = bars_.within(hourly, Span(at, at + pd.Timedelta("4h")))
    assert coarser.loc[at, "close"] == part["close"].iloc[-1]
    assert coarser.loc[at, "high"] == part["high"].max()


def test_sample_says_what_it_has():
    with pytest.raises(DataError, match="AAPL, FB, GOOG, IBM, MSFT, EUR/USD"):
        SampleProvider().span("TSLA", DAY)
    with pytest.raises(DataError, match="in bars of 1d"):
        SampleProvider().span("AAPL", Timeframe(1, "h"))

import numpy as np
import pandas as pd
import pytest
from headway_trainer.data import bars as bars_
from headway_trainer.data.timeframes import Timeframe


def frame(rows: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    index = pd.DatetimeIndex(pd.to_datetime(list(rows), format="ISO8601"))
    return pd.DataFrame(list(rows.values()), index=index, columns=list(bars_.COLUMNS))


GOOD = (10.0, 11.0, 9.0, 10.5, 100.0)


def test_bars_are_sorted_unique_and_in_utc():
    mixed = frame({"2020-01-03": GOOD, "2020-01-01": GOOD})
    doubled = pd.concat([mixed, frame({"2020-01-03": (10.0, 12.0, 9.0, 11.0, 5.0)})])
    cleaned = bars_.clean(doubled)
    assert [f"{t:%d}" for t in cleaned.bars.index] == ["01", "03"]
    assert str(cleaned.bars.index.tz) == "UTC"
    assert cleaned.bars["close"].iloc[-1] == 11.0, "the last of two rows with one time stays"
    assert cleaned.dropped == 1


@pytest.mark.parametrize(
    "row",
    [
        (10.0, 11.0, 9.0, np.nan, 1.0),
        (10.0, np.inf, 9.0, 10.0, 1.0),
        (0.0, 11.0, 9.0, 10.0, 1.0),
        (10.0, 11.0, -9.0, 10.0, 1.0),
        (10.0, 9.0, 11.0, 10.0, 1.0),
        (100.0, 11.0, 9.0, 10.0, 1.0),
    ],
    ids=["missing", "infinite", "zero", "negative", "high below low", "open far outside"],
)
def test_a_bar_that_cannot_be_is_dropped(row):
    cleaned = bars_.clean(frame({"2020-01-01": GOOD, "2020-01-02": row}))
    assert len(cleaned.bars) == 1
    assert cleaned.dropped == 1


def test_a_close_just_above_the_high_moves_the_high():
    cleaned = bars_.clean(frame({"2020-01-01": (10.0, 11.0, 9.0, 11.1, 1.0)}))
    assert cleaned.bars["high"].iloc[0] == 11.1
    assert cleaned.repaired == 1


def test_a_missing_volume_is_zero():
    cleaned = bars_.clean(frame({"2020-01-01": (10.0, 11.0, 9.0, 10.0, np.nan)}))
    assert cleaned.bars["volume"].iloc[0] == 0.0


def test_a_weekly_bar_is_its_days_together(make_bars):
    daily = make_bars(21)
    weekly = bars_.resampled(daily, Timeframe.parse("1d"), Timeframe.parse("1w"))
    assert len(weekly) == 3
    first = daily.iloc[:7]
    assert weekly.iloc[0].to_dict() == {
        "open": first["open"].iloc[0],
        "high": first["high"].max(),
        "low": first["low"].min(),
        "close": first["close"].iloc[-1],
        "volume": pytest.approx(first["volume"].sum()),
    }


def test_a_bar_that_may_still_change_is_no_bar(make_bars):
    hourly = make_bars(10, frequency="1h", start="2020-01-06 02:00")
    four = bars_.resampled(hourly, Timeframe.parse("1h"), Timeframe.parse("4h"))
    assert [f"{t:%H}" for t in four.index] == ["04", "08"], "02-04 lacks its start"
    five = bars_.resampled(hourly.iloc[:-1], Timeframe.parse("1h"), Timeframe.parse("4h"))
    assert [f"{t:%H}" for t in five.index] == ["04"], "08-12 lacks its last hour"


def test_a_week_end_is_no_hole_and_a_month_is(make_bars):
    bars = make_bars(100)
    weekdays = bars[bars.index.day_of_week < 5]
    assert len(bars_.runs(weekdays, Timeframe.parse("1d"))) == 1
    holed = pd.concat([weekdays.iloc[:20], weekdays.iloc[45:]])
    runs = bars_.runs(holed, Timeframe.parse("1d"))
    assert len(runs) == 2
    assert runs[0].start == holed.index[0]
    assert runs[1].start == weekdays.index[45]

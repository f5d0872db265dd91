"""No feature or label at time t sees anything after t but the label's own horizon."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from headway_api.models import Strategy
from headway_api.models.strategy import Indicator
from headway_trainer.data import bars as bars_
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import InputError
from headway_trainer.training.indicators import RECIPES, features, parameters_of
from headway_trainer.training.joining import joined_features
from headway_trainer.training.labels import UNKNOWN, zigzag_labels
from headway_trainer.training.samples import Samples, SymbolTable
from headway_trainer.training.scaling import Scaler
from headway_trainer.training.splitting import chronological
from hypothesis import given, settings
from hypothesis import strategies as st

HOUR, DAY, WEEK = (Timeframe.parse(t) for t in ("1h", "1d", "1w"))


def other_future(bars: pd.DataFrame, after: int) -> pd.DataFrame:
    """The same bars up to and with ``after``; wild ones from then on."""
    changed = bars.copy()
    random = np.random.default_rng(99)
    factor = np.exp(np.cumsum(random.normal(0.05, 0.2, len(bars) - after - 1)))
    for column in bars_.PRICES:
        changed.iloc[after + 1 :, changed.columns.get_loc(column)] *= factor
    changed.iloc[after + 1 :, changed.columns.get_loc("volume")] *= factor**2
    return changed


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_an_indicator_sees_only_this_bar_and_earlier_ones(name, make_bars):
    bars, indicator = make_bars(220), Indicator(name=name)
    known = features(bars, [indicator])
    assert known.iloc[-1].notna().all(), "200 bars are enough for any usual parameters"
    for t in (60, 119, 180):
        truncated = features(bars.iloc[: t + 1], [indicator])
        perturbed = features(other_future(bars, t), [indicator]).iloc[: t + 1]
        np.testing.assert_allclose(truncated, known.iloc[: t + 1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(perturbed, known.iloc[: t + 1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("value", [-3.0, 1.0, 5.0])
def test_no_value_of_a_parameter_makes_an_indicator_look_ahead(name, value, make_bars):
    bars = make_bars(150)
    for parameter in parameters_of(name):
        indicator = Indicator(name=name, parameters={parameter: value})
        if value < 0:
            with pytest.raises(InputError, match=f"needs {parameter} to be a .*number above 0"):
                features(bars, [indicator])
            continue
        try:
            known = features(bars, [indicator])
        except InputError:  # a value that it cannot work with
            continue
        truncated = features(bars.iloc[:100], [indicator])
        np.testing.assert_allclose(truncated, known.iloc[:100], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_an_indicator_means_the_same_at_any_price(name, make_bars):
    bars = make_bars(220)
    dearer = bars.assign(**{c: bars[c] * 64.0 for c in bars_.PRICES}, volume=bars["volume"] * 8)
    np.testing.assert_allclose(
        features(dearer, [Indicator(name=name)]),
        features(bars, [Indicator(name=name)]),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_a_month_is_used_only_once_it_is_over_in_whatever_zone_its_bars_open(make_bars, zone):
    def local(count, frequency):
        bars = make_bars(count)
        bars.index = pd.date_range("2020-01-01", periods=count, freq=frequency, tz=zone)
        return bars_.clean(bars).bars

    month, june = Timeframe.parse("1M"), 5
    frames = {DAY: local(400, "D"), month: local(20, "MS")}
    known = joined_features(frames, [Indicator(name="roc", parameters={"length": 1})])
    frames[month] = other_future(frames[month], june - 1)
    other = joined_features(frames, [Indicator(name="roc", parameters={"length": 1})])
    changed = known.index[(known != other).any(axis=1) & other.notna().all(axis=1)]
    assert changed[0].tz_convert(zone).strftime("%m-%d") == "06-30", "closes as June does"


def test_a_coarser_bar_is_used_only_once_it_has_closed(make_bars):
    hourly = make_bars(24 * 60, frequency="1h")
    frames = {
        HOUR: hourly,
        DAY: bars_.resampled(hourly, HOUR, DAY),
        WEEK: bars_.resampled(hourly, HOUR, WEEK),
    }
    joined = joined_features(frames, [Indicator(name="roc", parameters={"length": 1})])
    daily = features(frames[DAY], [Indicator(name="roc", parameters={"length": 1})])
    at = pd.Timestamp("2020-01-20 22:00", tz="UTC")
    column = "1d roc(length=1)"
    value = daily.columns[0]
    assert joined.loc[at, column] == daily.loc["2020-01-19", value].item()
    last_hour = at + pd.Timedelta("1h")
    assert joined.loc[last_hour, column] == daily.loc["2020-01-20", value].item(), (
        "the day closes with its last hour"
    )


@pytest.mark.parametrize("t", [1000, 1007, 1200])
def test_joined_features_do_not_change_with_the_future(make_bars, t):
    hourly = make_bars(24 * 60, frequency="1h")
    changed = other_future(hourly, t)
    indicators = [Indicator(name="rsi", parameters={"length": 5}), Indicator(name="atr")]

    def joined(bars):
        coarser = {c: bars_.resampled(bars, HOUR, c) for c in (DAY,)}
        return joined_features({HOUR: bars, **coarser}, indicators)

    known = joined(hourly).iloc[: t + 1]
    pd.testing.assert_frame_equal(joined(changed).iloc[: t + 1], known)
    pd.testing.assert_frame_equal(joined(hourly.iloc[: t + 1]), known, check_freq=False)
    assert known.iloc[-1].notna().all()


def test_a_coarser_timeframe_that_has_ended_is_not_carried_on_for_ever(make_bars):
    daily = make_bars(400)
    frames = {DAY: daily, WEEK: bars_.resampled(daily.iloc[:200], DAY, WEEK)}
    joined = joined_features(frames, [Indicator(name="roc", parameters={"length": 1})])
    weekly = joined["1w roc(length=1)"]
    assert weekly.iloc[150:190].notna().all()
    assert weekly.iloc[230:].isna().all()


closes = st.lists(st.floats(-0.08, 0.08), min_size=30, max_size=120).map(
    lambda moves: 100 * np.exp(np.cumsum(moves))
)


@settings(max_examples=60, deadline=None)
@given(closes, st.integers(0, 15), st.floats(0.01, 0.2), st.data())
def test_a_label_depends_on_nothing_after_its_horizon(prices, horizon, threshold, data):
    t = data.draw(st.integers(0, len(prices) - 1 - horizon))
    known = zigzag_labels(prices, threshold, horizon)
    other = prices.copy()
    other[t + horizon + 1 :] *= np.linspace(0.3, 3.0, len(prices) - t - horizon - 1)
    assert zigzag_labels(other, threshold, horizon)[t] == known[t]
    assert zigzag_labels(prices[: t + horizon + 1], threshold, horizon)[t] == known[t]


@given(closes, st.integers(1, 15))
def test_the_last_bars_whose_horizon_is_not_over_have_no_label(prices, horizon):
    assert (zigzag_labels(prices, 0.03, horizon)[-horizon:] == UNKNOWN).all()


def test_labels_are_the_directions_of_the_zigzags_legs():
    up, down = np.linspace(100, 120, 11), np.linspace(118, 100, 10)
    prices = np.concatenate([up, down, up[1:]])
    labels = zigzag_labels(prices, 0.05, 8)
    assert (labels[:10] == 1).all()
    assert (labels[10:20] == 0).all(), "the bar at the top begins the way down"
    assert (labels[20:23] == 1).all()


def test_with_no_horizon_a_label_is_what_was_known_then():
    prices = np.concatenate([np.linspace(100, 120, 11), np.linspace(118, 100, 10)])
    labels = zigzag_labels(prices, 0.05, 0)
    assert labels[11] == 1, "a fall of less than the threshold is no new leg yet"
    assert labels[13] == 0


def test_prices_that_hardly_move_have_no_labels():
    assert (zigzag_labels(np.full(50, 100.0), 0.03, 5) == UNKNOWN).all()


def test_no_label_of_one_part_looks_into_the_next(make_bars, strategy):
    tables = {
        name: SymbolTable.build({DAY: make_bars(600, seed=n)}, Strategy.model_validate(strategy()))
        for n, name in enumerate(("A", "B"))
    }
    samples = Samples.gather(tables, 4)
    split = chronological(samples.times, samples.label_ends, 0.2, 0.1)
    parts = [split.train, split.validation, split.test]
    assert all(len(part) for part in parts)
    for earlier, later in pairwise(parts):
        assert samples.label_ends[earlier].max() < samples.times[later].min()
    purged = len(samples.ends) - sum(len(part) for part in parts)
    assert purged == 2 * 2 * 8, "the horizon, at both cuts, for both symbols"


def test_a_sample_is_the_window_that_ends_with_its_bar(make_bars, strategy):
    import torch
    from headway_trainer.training.fitting import Windows

    tables = {
        name: SymbolTable.build({DAY: make_bars(100, seed=n)}, Strategy.model_validate(strategy()))
        for n, name in enumerate(("A", "B"))
    }
    samples = Samples.gather(tables, 4)
    windows = Windows(
        *(torch.from_numpy(a) for a in (samples.rows, samples.ends, samples.labels)), 4
    )
    last = len(samples.ends) - 1
    inputs, labels = windows.batch(np.array([0, last]))
    bar = int(np.flatnonzero(tables["B"].times == samples.times[last])[0])
    np.testing.assert_array_equal(inputs[1].numpy(), tables["B"].rows[bar - 3 : bar + 1])
    assert labels[1] == tables["B"].labels[bar]
    assert np.isfinite(inputs.numpy()).all()
    assert samples.last_label[last] == tables["B"].labels[bar - 8]


def test_the_scaler_knows_only_what_it_was_fitted_on():
    rows = np.array([[1.0, 5.0], [3.0, 5.0]])
    scaler = Scaler.fit(("a", "b"), rows)
    assert scaler.scaled(rows).tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert scaler.scaled(np.array([[1e9, 5.0]]))[0, 0] == 8.0
    again = Scaler.from_json(scaler.to_json())
    assert (again.mean == scaler.mean).all()
    assert (again.deviation == scaler.deviation).all()

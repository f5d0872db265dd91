from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from headway_trainer.data import bars
from headway_trainer.data.spans import Span, merged, missing
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import InputError
from hypothesis import given
from hypothesis import strategies as st


def day(n: int) -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n)


def span(a: int, b: int) -> Span:
    return Span(day(a), day(b))


spans = st.builds(lambda a, n: span(a, a + n), st.integers(0, 40), st.integers(0, 10))


@pytest.mark.parametrize(
    ("text", "shown", "length"),
    [
        ("5m", "5m", timedelta(minutes=5)),
        ("1H", "1h", timedelta(hours=1)),
        ("1d", "1d", timedelta(days=1)),
        ("2W", "2w", timedelta(weeks=2)),
    ],
)
def test_a_bar_length_is_read_whatever_its_case(text, shown, length):
    timeframe = Timeframe.parse(text)
    assert str(timeframe) == shown
    assert timeframe.length == length


def test_minutes_and_months_differ_by_case_and_by_file_name():
    assert Timeframe.parse("1m") != Timeframe.parse("1M")
    assert Timeframe.parse("1m").stem.lower() != Timeframe.parse("1M").stem.lower()


def test_what_is_no_bar_length_is_refused_with_an_example():
    with pytest.raises(InputError, match="1h"):
        Timeframe.parse("hourly")


@pytest.mark.parametrize(
    ("finer", "coarser", "divides"),
    [
        ("1h", "4h", True),
        ("1h", "1d", True),
        ("1d", "1w", True),
        ("1d", "1M", True),
        ("1M", "3M", True),
        ("4h", "6h", False),
        ("1d", "1h", False),
        ("1w", "1M", False),
    ],
)
def test_only_whole_bars_make_up_coarser_ones(finer, coarser, divides):
    assert Timeframe.parse(finer).divides(Timeframe.parse(coarser)) is divides


def test_weeks_open_on_mondays_and_months_on_their_first():
    index = pd.DatetimeIndex(["2020-03-05 14:00"], tz="UTC")
    assert bars.opens(index, Timeframe.parse("1w"))[0] == pd.Timestamp("2020-03-02", tz="UTC")
    assert bars.opens(index, Timeframe.parse("1M"))[0] == pd.Timestamp("2020-03-01", tz="UTC")
    assert bars.opens(index, Timeframe.parse("3M"))[0] == pd.Timestamp("2020-01-01", tz="UTC")
    assert bars.closes(index, Timeframe.parse("3M"))[0] == pd.Timestamp("2020-04-01", tz="UTC")
    assert bars.opens(index, Timeframe.parse("4h"))[0] == pd.Timestamp("2020-03-05 12:00", tz="UTC")


def test_what_is_missing_is_what_no_span_covers():
    assert missing(span(0, 10), [span(2, 4), span(3, 6), span(20, 30)]) == [span(0, 2), span(6, 10)]
    assert missing(span(0, 10), [span(0, 10)]) == []
    assert missing(span(0, 10), []) == [span(0, 10)]


@given(spans, st.lists(spans, max_size=6))
def test_missing_and_covered_together_are_all_that_was_wanted(wanted, covered):
    gaps = missing(wanted, covered)
    for n in range(60):
        at = day(n)
        inside = wanted.start <= at < wanted.end
        held = any(s.start <= at < s.end for s in covered)
        assert any(g.start <= at < g.end for g in gaps) == (inside and not held)
    filled = [s.within(wanted) for s in covered]
    assert merged([*gaps, *filled]) == ([wanted] if wanted else [])


@given(spans, st.integers(1, 5))
def test_pieces_cover_the_whole_and_none_is_too_long(whole, longest):
    pieces = whole.pieces(timedelta(days=longest))
    assert merged(pieces) == ([whole] if whole else [])
    assert all(p.end - p.start <= timedelta(days=longest) for p in pieces)

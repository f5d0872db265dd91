from datetime import UTC, datetime, timedelta

import pytest
from headway_api.models import DataMode
from headway_trainer.data.planning import SEGMENT_BARS, segments
from headway_trainer.data.spans import Span
from headway_trainer.data.timeframes import Timeframe

DAY = Timeframe(1, "d")


def span(a: int, b: int) -> Span:
    start = datetime(2000, 1, 1, tzinfo=UTC)
    return Span(start + timedelta(days=a), start + timedelta(days=b))


@pytest.mark.parametrize(
    ("mode", "planned"),
    [
        (DataMode.LOCAL, []),
        (DataMode.TAIL, [span(60, 100)]),
        (DataMode.BACKFILL, [span(0, 20)]),
        (DataMode.FULL, [span(0, 20), span(30, 50), span(60, 100)]),
    ],
)
def test_each_mode_fetches_its_part_of_what_is_missing(mode, planned):
    assert segments(mode, span(0, 100), (span(20, 30), span(50, 60)), DAY) == planned


@pytest.mark.parametrize("mode", [DataMode.TAIL, DataMode.BACKFILL, DataMode.FULL])
def test_with_nothing_there_every_mode_fetches_everything(mode):
    assert segments(mode, span(0, 100), (), DAY) == [span(0, 100)]


@pytest.mark.parametrize("mode", list(DataMode))
def test_what_is_covered_is_not_fetched_again(mode):
    assert segments(mode, span(10, 90), (span(0, 100),), DAY) == []


def test_a_long_gap_is_fetched_in_segments():
    planned = segments(DataMode.FULL, span(0, SEGMENT_BARS * 2 + 1), (), DAY)
    assert len(planned) == 3
    assert planned[0].start == span(0, 1).start
    assert planned[-1].end == span(0, SEGMENT_BARS * 2 + 1).end

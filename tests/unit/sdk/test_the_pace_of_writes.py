from itertools import pairwise

from headway.pace import Pace
from headway_api import limits
from hypothesis import given
from hypothesis import strategies as st


def test_the_first_progress_goes_out_at_once():
    assert Pace(100.0).due(progress=True, urgent=False) == 100.0


def test_in_the_first_minute_progress_goes_out_every_second():
    pace = Pace(0.0)
    pace.wrote(10.0)
    assert pace.due(progress=True, urgent=False) == 11.0


def test_after_the_first_minute_progress_goes_out_every_five_seconds():
    pace = Pace(0.0)
    pace.wrote(60.0)
    assert pace.due(progress=True, urgent=False) == 65.0


def test_an_epoch_end_waits_for_one_second_only():
    pace = Pace(0.0)
    pace.wrote(1000.0)
    assert pace.due(progress=True, urgent=True) == 1001.0


def test_silence_is_broken_by_a_heartbeat_after_thirty_seconds():
    pace = Pace(0.0)
    pace.wrote(100.0)
    assert pace.due(progress=False, urgent=False) == 130.0


def test_the_final_report_waits_for_nothing():
    pace = Pace(0.0)
    pace.wrote(100.0)
    assert pace.due(progress=True, urgent=True, final=True) <= 100.0


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 5)), max_size=60))
def test_never_more_than_one_write_a_second(steps):
    pace, now, writes = Pace(0.0), 0.0, []
    for progress, urgent, passes in steps:
        now = max(now + passes, 0.0)
        if pace.due(progress=progress, urgent=urgent) <= now:
            pace.wrote(now)
            writes.append(now)
    gaps = [later - earlier for earlier, later in pairwise(writes)]
    assert all(gap >= limits.FAST_WRITE_INTERVAL - 1e-9 for gap in gaps)

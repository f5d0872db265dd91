import json
import math

import pytest
from headway import wire
from headway.document import Writer, report_of, termination_message
from headway.history import History
from headway.progress_state import ProgressState
from headway_api import limits
from headway_api.models import Progress, Report
from headway_api.vocabulary import ReportStatus
from hypothesis import given
from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


def test_metrics_that_json_cannot_say_go_as_text():
    finite, odd = wire.split_metrics({"loss": math.nan, "a": math.inf, "b": -math.inf, "c": 1})
    assert finite == {"c": 1.0}
    assert odd == {"loss": "NaN", "a": "Infinity", "b": "-Infinity"}


def test_unknown_context_keys_survive_unchanged_and_odd_known_ones_are_left_out():
    context = wire.context_on_wire({"fold": {"n": 3}, "current_epoch": "three", "symbols": "AAPL"})
    assert context == {"fold": {"n": 3}, "symbols": ["AAPL"]}


@given(context=st.dictionaries(st.text(max_size=9), ANYTHING), metrics=ANYTHING)
def test_whatever_a_program_says_makes_a_progress_that_the_schema_takes(context, metrics):
    state = ProgressState()
    state.put(3, 10, None, {**context, "metrics": metrics})
    document = Writer(state, lambda c: "message").progress()
    Progress.model_validate(json.loads(json.dumps(document, allow_nan=False)))


def test_special_context_keys_are_taken_out():
    state = ProgressState()
    state.put(5, None, None, {"total_steps": 20, "metrics": {"loss": 1.0}, "epoch_end": True,
                              "current_epoch": 2})  # fmt: skip
    progress = Writer(state, str).progress()
    assert progress["totalSteps"] == 20
    assert progress["percent"] == 25.0
    assert progress["metrics"] == {"loss": 1.0}
    assert progress["context"] == {"current_epoch": 2}


@given(st.integers(0, 2000), st.integers(2, 100))
def test_a_history_stays_in_its_room_and_keeps_its_ends(count, room):
    history: History[int] = History(room)
    for point in range(count):
        history.add(point)
    points = history.points()
    assert len(points) <= room
    assert points == sorted(set(points))
    if count:
        assert points[0] == 0
        assert points[-1] == count - 1


def test_a_history_is_thinned_evenly():
    history: History[int] = History(10)
    for point in range(1000):
        history.add(point)
    gaps = [b - a for a, b in zip(history.points()[:-2], history.points()[1:-1], strict=True)]
    assert len(set(gaps)) == 1


@given(st.dictionaries(st.text(max_size=20), ANYTHING, max_size=20))
def test_any_result_makes_a_report_that_the_schema_takes(result):
    report = report_of(ReportStatus.SUCCESS, attempt=1, result=result)
    Report.model_validate(json.loads(json.dumps(report, allow_nan=False)))


def test_a_report_counts_and_keeps_the_rest_as_its_summary():
    report = report_of(
        ReportStatus.CANCELLED,
        attempt=2,
        result={"status": "cancelled", "epochs_completed": 3, "batches_completed": 150, "f1": 0.5},
        acknowledged=0.0,
    )
    assert report == {
        "attempt": 2,
        "status": "cancelled",
        "epochsCompleted": 3,
        "batchesCompleted": 150,
        "cancelAcknowledgedAt": "1970-01-01T00:00:00.000000Z",
        "summary": {"f1": 0.5},
    }


def test_an_error_is_told_with_the_end_of_its_traceback():
    try:
        raise ValueError("x" * 10_000)
    except ValueError as error:
        report = report_of(ReportStatus.FAILED, attempt=1, error=error)
    assert report["error"]["type"] == "ValueError"
    assert len(report["error"]["message"]) <= limits.ERROR_MESSAGE_LENGTH
    assert len(report["error"]["traceback"]) <= limits.TRACEBACK_LENGTH
    Report.model_validate(report)


@pytest.mark.parametrize("size", [0, 3000, 20_000])
def test_a_termination_message_is_never_so_long_that_it_would_be_cut(size):
    report = {
        "status": "failed",
        "epochsCompleted": 4,
        "summary": {"text": "ü" * size},
        "error": {"type": "E", "message": "m" * (size // 4), "traceback": "t" * size},
    }
    text = termination_message(report)
    assert len(text.encode()) <= limits.TERMINATION_MESSAGE_BYTES
    assert json.loads(text)["report"]["epochsCompleted"] == 4

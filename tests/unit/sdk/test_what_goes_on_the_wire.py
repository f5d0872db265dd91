import json
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from headway import TrainingProgressRenderer, wire
from headway.document import Document, Writer, fitted, report_of, termination_message
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


@pytest.mark.filterwarnings("error")
def test_a_loss_that_gradients_flow_through_is_a_number_without_a_warning():
    import torch

    loss = torch.tensor([1.0], requires_grad=True).sum()
    assert wire.split_metrics({"loss": loss}) == ({"loss": 1.0}, None)


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


@pytest.mark.parametrize(
    ("earlier", "own", "told"),
    [
        pytest.param([1, 2, 3, 4], [3, 4, 5], [1, 2, 3, 4, 5], id="from a checkpoint"),
        pytest.param([1, 2, 3], [1, 2], [1, 2], id="anew"),
        pytest.param([1, 2, 3], [4], [1, 2, 3, 4], id="where the other ended"),
        pytest.param([1, 2, 3, 1, 2], [2, 3], [1, 2, 3, 1, 2, 3], id="in the second of two loops"),
        pytest.param([1, 2], [1, 2, 1, 2], [1, 2, 1, 2], id="anew, with two loops"),
        pytest.param([1, 2], [], [1, 2], id="and says nothing yet"),
    ],
)
@pytest.mark.parametrize("at_first", [0, 1, 2])
def test_an_epoch_that_the_next_attempt_does_again_is_told_once(earlier, own, told, at_first):
    state = ProgressState()
    for step in own[:at_first]:
        state.end_epoch(step, None)
    state.resume_history([{"step": step} for step in earlier])
    for step in own[at_first:]:
        state.end_epoch(step, None)
    assert [point["step"] for point in state.history()] == told


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


class Unreadable(Mapping):
    """A mapping that cannot be read."""

    def __getitem__(self, key):
        raise RuntimeError(key)

    def __iter__(self):
        raise RuntimeError("changed")

    def __len__(self):
        return 1


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.float32(7.9), 7),
        (np.array(7), 7),
        (Decimal(7), 7),
        (7.9, 7),
        (True, None),
        ("7", None),
        (b"7", None),
        (None, None),
        (math.nan, None),
        (math.inf, None),
        (10**400, None),
        (Unreadable(), None),
    ],
)
def test_a_count_is_a_count_whatever_library_it_comes_from(value, number):
    state = ProgressState()
    state.put(value, value, None, {"current_epoch": value})
    progress = Writer(state, TrainingProgressRenderer().render_progress_message).progress()
    assert progress.get("step") == number
    assert progress.get("totalSteps") == number
    assert (progress.get("context") or {}).get("current_epoch") == number
    said = f"Training model [epoch {number}]" if number is not None else "Training model"
    assert progress["message"] == said
    report = report_of(ReportStatus.SUCCESS, attempt=1, result={"epochs_completed": value})
    assert report.get("epochsCompleted") == number
    Progress.model_validate(json.loads(json.dumps(progress, allow_nan=False)))


ODD = [10**5000, -(10**30), Unreadable(), {"a": Unreadable()}, np.zeros(9), b"\xff", object(), {1}]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_whatever_a_program_says_or_returns_can_be_told(value):
    state = ProgressState()
    state.put(1, None, None, {"odd": value, "metrics": {"loss": value}}, {"other": value})
    Progress.model_validate(json.loads(json.dumps(Writer(state, str).progress(), allow_nan=False)))
    report = report_of(ReportStatus.SUCCESS, attempt=1, result={"odd": value, "artifacts": value})
    Report.model_validate(json.loads(json.dumps(report, allow_nan=False)))


def test_what_contains_itself_many_times_over_is_not_followed():
    looped = []
    looped.extend([looped] * 64)
    wide = [1] * 64
    for _ in range(6):
        wide = [wide] * 64
    for value in (looped, wide):
        assert len(json.dumps(wire.jsonable(value))) < 100 * 1024
    assert wire.context_on_wire({"looped": looped, "current_epoch": 3})["current_epoch"] == 3


def test_an_artifact_may_be_a_path():
    result = {"artifacts": ["out/model.pt", Path("scaler.json"), {"path": "x", "bytes": -1}, 5]}
    report = report_of(ReportStatus.SUCCESS, attempt=1, result=result)
    assert report["artifacts"] == [
        {"name": "model.pt", "path": "out/model.pt"},
        {"name": "scaler.json", "path": "scaler.json"},
        {"name": "artifact", "path": "x"},
    ]


def test_of_a_long_table_in_a_result_the_beginning_is_told_and_how_much_is_left_out():
    failed = {f"SYM{n} [1d]": "the provider sample has no such symbol " * 3 for n in range(200)}
    result = {"bars_fetched": 7, "failed": failed, "loaded": {"AAPL [1d]": {"bars": 7}}}
    summary = report_of(ReportStatus.SUCCESS, attempt=1, result=result)["summary"]
    assert summary["bars_fetched"] == 7
    *told, more = summary["failed"].items()
    assert told == list(failed.items())[: len(told)]
    assert len(told) > 20
    assert more == ("…", f"{200 - len(told)} more")
    assert len(json.dumps(summary).encode()) <= limits.SUMMARY_BYTES


def test_a_result_that_only_looks_like_a_known_field_is_kept_in_the_summary():
    result = {"artifacts": {"model": "m.pt"}, "epochs_completed": "all"}
    report = report_of(ReportStatus.SUCCESS, attempt=1, result=result)
    assert report["summary"] == result


def test_the_trainers_part_of_a_status_stays_in_its_room_whatever_it_is_told():
    state = ProgressState()
    metrics = {f"{'m' * 120}{n}": float(n) for n in range(32)}
    for epoch in range(500):
        state.end_epoch(epoch, metrics)
    state.put(1, 2, "x" * 5000, {f"k{n}": "v" * 500 for n in range(50)}, metrics)
    writer = Writer(state, str)
    held = state.history()
    going_on = Document(writer.progress(), held, writer.report())
    assert fitted(going_on, state) is going_on
    try:
        raise ValueError("m" * 9000)
    except ValueError as error:
        report = report_of(
            ReportStatus.FAILED,
            attempt=1,
            error=error,
            result={"s": "s" * 3000, "artifacts": ["p" * 1000] * 32},
        )
    for history in (held, None):
        end = fitted(Document(writer.progress(), history, report), state)
        whole = [end.progress, end.history or held, end.report]
        assert sum(len(json.dumps(part)) for part in whole) <= limits.TRAINER_BYTES
        assert end.report["error"]["traceback"].endswith("m\n")
        assert end.history[-1]["step"] == 499


def test_the_reason_of_a_failure_is_in_its_last_words_in_any_language():
    error = {"type": "E", "message": "значение " * 200, "traceback": "t" * 5000}
    told = json.loads(termination_message({"status": "failed", "error": error}))["report"]
    assert told["error"]["message"].startswith("значение")

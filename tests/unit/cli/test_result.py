"""What is said once a run is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from headway_cli.view.result import next_commands, panel, result_of
from shown import Run, Terminal, progress, stamp


def facts(run: Run, phase: str, **status: Any) -> dict[str, str]:
    view = result_of(run(phase, completionTime=stamp(65), **status))
    return {fact.label: fact.text for fact in view.facts}


def test_a_success_tells_what_was_done_and_left(run: Run) -> None:
    report = {
        "attempt": 1,
        "status": "success",
        "epochsCompleted": 20,
        "artifacts": [{"name": "model", "path": "models/a/model.pt", "bytes": 6042}],
        "summary": {
            "test": {"accuracy": 0.7123456, "f1": 0.7},
            "best_epoch": 4,
            "nested": {"deep": {}},
        },
    }
    result = {"reason": "Completed", "message": "Completed, after 20 epochs.", "exitCode": 0}
    told = facts(run, "Succeeded", report=report, result=result)
    assert told["Reason"] == "Completed, after 20 epochs."
    assert told["Done"] == "20 epochs"
    assert told["Artifacts"] == "models/a/model.pt  (5.9 KiB)"
    assert told["Test"] == "accuracy 0.7123, f1 0.7"
    assert told["Best epoch"] == "4"
    assert "Exit code" not in told


def test_the_whole_report_is_shown_where_the_result_holds_a_shortened_one(run: Run) -> None:
    short = {"attempt": 1, "status": "success"}
    whole = {**short, "summary": {"rows": 3}}
    told = facts(run, "Succeeded", report=whole, result={"reason": "Completed", "report": short})
    assert told["Rows"] == "3"


def test_another_attempts_report_is_not_shown_for_this_one(run: Run) -> None:
    told = facts(
        run,
        "Succeeded",
        report={"attempt": 1, "status": "failed", "summary": {"rows": 3}},
        result={"reason": "Completed", "report": {"attempt": 2, "status": "success"}},
    )
    assert "Rows" not in told


LAST_LOGS = {"pod": "p", "container": "trainer", "text": "one\ntwo\n"}


def test_a_failure_tells_its_error_and_exit_code(run: Run) -> None:
    operation = run(
        "Failed",
        result={
            "reason": "OOMKilled",
            "message": "The trainer used more memory than its limit of 1Gi.",
            "exitCode": 137,
            "signal": "SIGKILL",
            "report": {"status": "failed", "error": {"type": "ValueError", "message": "no data"}},
        },
        lastLogs=LAST_LOGS,
    )
    lines = result_of(operation).lines()
    assert lines[0] == "train-mlp Failed"
    assert any("OOMKilled: The trainer used more memory" in line for line in lines)
    assert any(line.split() == ["Error", "ValueError:", "no", "data"] for line in lines)
    assert any("137 (SIGKILL)" in line for line in lines)
    # The error says it better than the end of its traceback.
    assert "    two" not in lines


def test_a_failure_without_an_error_shows_the_last_lines_of_its_log(run: Run) -> None:
    operation = run("Failed", result={"reason": "Error", "exitCode": 7}, lastLogs=LAST_LOGS)
    assert result_of(operation).lines()[-2:] == ["    one", "    two"]


def test_a_run_that_never_began_has_no_log_to_look_at(run: Run) -> None:
    operation = run("Failed", startTime=None, reason="ImageNotAvailable")
    assert next_commands(operation) == ("headway get train-mlp -o yaml", "headway doctor")


@pytest.mark.parametrize(
    ("outcome", "acknowledged", "words"),
    [
        ("BeforeStart", None, "it never began, 1.5 s after the request"),
        ("Graceful", 11, "the trainer stopped by itself, 1.5 s after the request"),
        ("Graceful", None, "nothing had to be killed, 1.5 s after the request"),
        ("Forced", None, "its pods had to be ended, 1.5 s after the request"),
        ("TooLate", None, "the run was over first"),
    ],
)
def test_a_cancel_says_how_it_went(
    outcome: str, acknowledged: int | None, words: str, run: Run
) -> None:
    told = facts(
        run,
        "Cancelled",
        cancellation={
            "requestedAt": stamp(10),
            "acknowledgedAt": stamp(acknowledged) if acknowledged else None,
            "podsGoneAt": stamp(11.5),
            "outcome": outcome,
            "reason": "lunch",
        },
    )
    assert told["Stop"] == f"{outcome}: {words}"
    assert told["Cancelled for"] == "lunch"


def test_a_cancel_that_was_over_when_it_was_seen_tells_no_time(run: Run) -> None:
    receipt = {"requestedAt": stamp(10), "podsGoneAt": stamp(10), "acknowledgedAt": stamp(9)}
    told = facts(run, "Cancelled", cancellation={**receipt, "outcome": "Graceful"})
    assert told["Stop"] == "Graceful: the trainer stopped by itself"


def test_epochs_that_were_not_finished_are_not_counted(run: Run) -> None:
    report = {"status": "cancelled", "epochsCompleted": 0, "batchesCompleted": 150}
    assert facts(run, "Cancelled", report=report)["Done"] == "150 batches"


def test_next_commands_fit_where_the_run_stands(run: Run) -> None:
    assert next_commands(run("Failed"), flags="-n a")[0] == "headway logs train-mlp -n a"
    assert next_commands(run("Running"))[-1] == "headway cancel train-mlp"
    assert next_commands(run("Succeeded"))[0] == "headway get train-mlp"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_panel_fits_its_terminal(
    columns: int, run: Run, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal(columns)
    operation = run(
        "Succeeded",
        completionTime=stamp(65),
        progress=progress(metrics={"loss": 0.5}),
        result={"reason": "Completed", "message": "Completed, after a very long time. " * 5},
    )
    screen.console.print(panel(result_of(operation)))
    lines = screen.lines()
    assert lines[0].startswith("╭─ ✓ train-mlp Succeeded after 1m4s")
    assert lines[-1].endswith("╯")
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= columns

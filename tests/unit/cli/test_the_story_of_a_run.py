"""A run that was suspended, disrupted, retried and cancelled, as a stranger reads it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from headway_api.models import TrainingOperation
from headway_api.vocabulary import Phase
from headway_cli.commands.retrying import again
from headway_cli.problems import Problem
from headway_cli.view import attempts, palette
from headway_cli.view.details import Details
from headway_cli.view.listing import ran_for
from headway_cli.view.live import LiveView
from headway_cli.view.painter import Painter
from headway_cli.view.result import next_commands, result_of
from headway_cli.view.tracking import Tracker
from shown import NOON, Run, raw_run, stamp, training_progress

ENDS = [
    {"reason": "Suspended", "checkpoint": "u1/a1/000004"},
    {"reason": "Disrupted", "exitCode": 143, "checkpoint": "u1/a2/000007"},
    {"reason": "OOMKilled", "exitCode": 137, "checkpoint": "u1/a2/000007"},
]
SHARED = {"existingClaim": {"claimName": "data"}}


def story(*, goes_on: bool = True) -> dict[str, Any]:
    listed: list[dict[str, Any]] = [
        {
            "number": n,
            "job": f"train-mlp-a{n}",
            "started": stamp(n * 100),
            "ended": stamp(n * 100 + 62),
            **end,
        }
        for n, end in enumerate(ENDS, 1)
    ]
    if goes_on:
        listed.append({"number": 4, "job": "train-mlp-a4", "started": stamp(400)})
    return {"attempt": len(listed), "attempts": listed, "retries": 1, "disruptions": 1}


@pytest.mark.parametrize("columns", [80, 200])
def test_the_live_view_says_which_attempt_this_is_and_how_the_others_ended(columns, run, terminal):
    tracker = Tracker(0.0)
    progress = training_progress(8, 20, sequence=9, at=10.0) | {"attempt": 4}
    tracker.see(run("Running", progress=progress, **story()), 0.0)
    screen = terminal(columns)
    Painter(screen.console).paint(LiveView(tracker.view(1.0, NOON)))
    whole = (
        "attempt 4; ended before: 1 Suspended, 2 Disrupted (exit code 143), 3 OOMKilled (exit "
        "code 137)"
    )
    shown = screen.lines()[2].strip()
    assert shown == whole if columns == 200 else whole.startswith(shown.rstrip("…"))


def test_a_first_attempt_needs_no_such_line(run):
    assert attempts.before(run("Running", attempts=[{"number": 1, "job": "x-a1"}])) == ""


def test_a_suspended_run_offers_to_resume(run: Run):
    assert next_commands(run("Suspended", **story(goes_on=False))) == (
        "headway resume train-mlp",
        "headway cancel train-mlp",
    )


def test_get_lists_every_attempt_with_its_end_and_its_checkpoint(run: Run):
    text = "\n".join(Details(run("Running", **story()), [], [], NOON).lines())
    assert "Attempts   1  Suspended, ran 1m2s, checkpoint a1/000004" in text
    assert "2  Disrupted (exit code 143), ran 1m2s, checkpoint a2/000007" in text
    assert "4  goes on" in text


def test_why_an_attempt_ended_is_told_longer_than_its_events_are_kept(run: Run):
    listed = story(goes_on=False)
    listed["attempts"][0]["message"] = "Suspended: the trainer stopped when asked."
    listed["attempts"][1]["message"] = "Node n1 was drained."
    listed["attempts"][2]["message"] = "The trainer used more than 1Gi."
    for phase, last in (("Retrying", ": The trainer used more than 1Gi."), ("Failed", "")):
        lines = [
            line.partition(", ran ")[2]
            for line in Details(run(phase, **listed), [], [], NOON).lines()
            if ", ran " in line
        ]
        assert lines == [
            "1m2s, checkpoint a1/000004: the trainer stopped when asked.",
            "1m2s, checkpoint a2/000007: Node n1 was drained.",
            f"1m2s, checkpoint a2/000007{last}",
        ]


def test_a_suspended_run_tells_its_only_attempt_and_ran_no_longer_than_that(run: Run):
    first = story(goes_on=False)["attempts"][:1]
    lines = Details(
        run("Suspended", attempt=1, attempts=first), [], [], NOON + timedelta(hours=9)
    ).lines()
    assert "  Attempts   1  Suspended, ran 1m2s, checkpoint a1/000004" in lines
    assert "  Ran        1m2s" in lines


def test_pauses_between_attempts_are_no_running_time(run: Run):
    whole = story()
    told = run("Running", **whole)
    assert ran_for(told, NOON + timedelta(seconds=410)) == 3 * 62 + 10
    # The first is no longer listed.
    told = run("Running", **whole | {"attempts": whole["attempts"][1:]})
    assert ran_for(told, NOON + timedelta(seconds=410)) == 409


def test_the_result_of_a_cancel_names_who_asked_and_what_is_left(run: Run):
    receipt = {
        "requestedAt": stamp(500),
        "requestedBy": "ada",
        "reason": "better idea",
        "outcome": "Graceful",
        "podsGoneAt": stamp(501),
        "checkpoint": "u1/a4/000009",
    }
    lines = result_of(run("Cancelled", cancellation=receipt, **story())).lines()
    for wanted in ("Cancelled by   ada", "Cancelled for  better idea", "u1/a4/000009"):
        assert any(wanted in line for line in lines), lines


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_a_sign_and_a_colour(phase):
    assert palette.sign(phase)
    assert palette.sign(phase, ascii_only=True).isascii()
    assert phase.value in palette.painted(phase.value, phase)


# headway retry


def finished(phase: str = "Failed", **status: Any) -> tuple[dict[str, Any], TrainingOperation]:
    raw = raw_run(phase, **status)
    return raw, TrainingOperation.model_validate(raw)


def with_claim(**more: Any) -> dict[str, Any]:
    return {**raw_run()["spec"], "storage": SHARED, **more}


def test_a_retry_runs_the_same_without_the_old_ones_switches():
    spec = with_claim(cancel=True, cancelReason="no", suspend=False)
    made = again(*finished("Cancelled", spec=spec), None, from_checkpoint=False)
    assert made["spec"] == with_claim()
    assert made["metadata"]["name"].startswith("train-mlp-")
    assert made["metadata"]["labels"]["headway.dev/retry-of"] == "train-mlp"


def test_from_its_checkpoint_it_begins_from_the_newest_that_is_known():
    made = again(*finished(spec=with_claim(), **story(goes_on=False)), "b", from_checkpoint=True)
    assert made["spec"]["checkpoint"] == {"resumeFrom": "u1/a2/000007"}
    report = {"attempt": 4, "checkpoint": {"path": "u1/a4/000011"}}
    old = finished(spec=with_claim(checkpoint={"keep": 2}), report=report)
    made = again(*old, "b", from_checkpoint=True)
    assert made["spec"]["checkpoint"] == {"keep": 2, "resumeFrom": "u1/a4/000011"}
    assert made["metadata"]["name"] == "b"


@pytest.mark.parametrize(
    ("old", "said"),
    [
        (finished("Running"), "only what is over"),
        (finished("Failed"), "went with its own workspace"),
        (
            finished("Failed", spec=with_claim(storage={"claimTemplate": {"size": "1Gi"}})),
            "a volume of its own, which goes when it is deleted",
        ),
        (finished("Failed", spec=with_claim()), "left no checkpoint"),
    ],
)
def test_what_cannot_be_retried_is_refused_with_its_reason(old, said):
    with pytest.raises(Problem, match=said):
        again(*old, None, from_checkpoint=True)

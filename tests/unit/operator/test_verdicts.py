"""How a run ended, told from what happened."""

from __future__ import annotations

import json

import pytest
from headway_operator.policies.case import Case
from headway_operator.policies.verdict import checkpoint_of, verdict
from snapshots import (
    NOW,
    at,
    attempted,
    ended,
    observed,
    progress,
    raw_job,
    raw_operation,
    raw_pod,
    report,
    running,
    text,
    waiting,
)

CANCELLATION = {"requestedAt": "2026-01-02T03:04:00Z"}


def judged(pod=None, *, job=None, spec=None, **status):
    """The verdict on a run whose pod ended so."""
    operation = raw_operation(status=attempted(**{"phase": "Running", **status}), **(spec or {}))
    pods = [pod] if pod else []
    return verdict(Case(observed(operation, job or raw_job(), pods, live=True), NOW))


def cancelled(pod=None, *, forced=False, **status):
    """The same for a run that was being cancelled."""
    receipt = CANCELLATION | ({"outcome": "Forced"} if forced else {})
    more = {"phase": "Cancelling", "cancellation": receipt, "progress": progress(), **status}
    return judged(pod, spec={"cancel": True}, **more)


def over(code, reason="", message="", **pod):
    phase = "Succeeded" if code == 0 else "Failed"
    return raw_pod(phase, ended(code, reason, message), **pod)


def last_words(status, **more):
    return json.dumps({"headway": 1, "report": {"status": status, **more}})


@pytest.mark.parametrize(
    ("pod", "status", "phase", "reason", "told"),
    [
        pytest.param(
            over(0), {}, "Succeeded", "Completed", "Completed.", id="exit code 0 is a success"
        ),
        pytest.param(
            over(0),
            {"report": report("success", epochsCompleted=3)},
            "Succeeded",
            "Completed",
            "after 3 epochs",
            id="a report explains a success",
        ),
        pytest.param(
            over(1),
            {},
            "Failed",
            "Error",
            "exit code 1",
            id="exit code 1 is a failure",
        ),
        pytest.param(
            over(1),
            {"report": report("success")},
            "Failed",
            "Error",
            "exit code 1",
            id="a claim of success with exit code 1 has failed",
        ),
        pytest.param(
            over(1),
            {"report": report("failed", error={"type": "ValueError", "message": "no data"})},
            "Failed",
            "Error",
            "ValueError: no data",
            id="the trainer's own error is told",
        ),
        pytest.param(
            over(1, message="first\nKeyError: 'close'\n"),
            {},
            "Failed",
            "Error",
            "KeyError: 'close'",
            id="without a report the last line of the log is told",
        ),
        pytest.param(
            over(1, message=last_words("failed", error={"type": "OSError", "message": "disk"})),
            {},
            "Failed",
            "Error",
            "OSError: disk",
            id="a termination message stands in for a report that was never delivered",
        ),
        pytest.param(
            over(137, "OOMKilled", memory="2Gi"),
            {},
            "Failed",
            "OOMKilled",
            "its limit of 2Gi",
            id="running out of memory is named, with the limit",
        ),
        pytest.param(
            over(139), {}, "Failed", "Signalled", "SIGSEGV", id="a signal is named by its name"
        ),
        pytest.param(
            over(137), {}, "Failed", "Signalled", "SIGKILL", id="a kill is not called out of memory"
        ),
        pytest.param(
            over(143),
            {"report": report("interrupted", epochsCompleted=2)},
            "Failed",
            "Disrupted",
            "after 2 epochs",
            id="a SIGTERM that nobody sent for a cancel is a disruption",
        ),
        pytest.param(
            over(143), {}, "Failed", "Disrupted", "SIGTERM", id="so it is without a report"
        ),
        pytest.param(
            over(137, deleting=True),
            {},
            "Failed",
            "Disrupted",
            "was deleted while the trainer ran",
            id="a pod deleted by hand is a disruption",
        ),
        pytest.param(
            raw_pod("Failed", ended(137, "ContainerStatusUnknown", ran=False), deleting=True),
            {},
            "Failed",
            "Disrupted",
            "was deleted before the trainer started",
            id="a pod deleted by hand while its image was being pulled never ran",
        ),
        pytest.param(
            over(137, disrupted="PreemptionByScheduler"),
            {},
            "Failed",
            "Disrupted",
            "PreemptionByScheduler",
            id="a preemption is a disruption",
        ),
        pytest.param(
            over(137, "OOMKilled", disrupted="PreemptionByScheduler", memory="2Gi"),
            {},
            "Failed",
            "Disrupted",
            "its limit of 2Gi",
            id="so is one in whose grace the memory ran out",
        ),
        pytest.param(
            raw_pod("Failed", ended(137), reason="Evicted", message="low on memory"),
            {},
            "Failed",
            "Evicted",
            "low on memory",
            id="an eviction is told with the node's words",
        ),
        pytest.param(
            raw_pod("Failed", ended(137), reason="DeadlineExceeded", message="too long"),
            {},
            "Failed",
            "Error",
            "ran into its deadline: too long",
            id="a deadline from the podTemplate is named",
        ),
        pytest.param(
            raw_pod("Failed", waiting(), reason="ImageNotAvailable", message="no environment"),
            {},
            "Failed",
            "ImageNotAvailable",
            "no environment",
            id="a node that has not got the image says so",
        ),
        pytest.param(
            raw_pod("Failed", reason="OutOfcpu", message="Node didn't have enough cpu"),
            {},
            "Failed",
            "CannotStart",
            "enough cpu",
            id="a node that turns the pod away is told",
        ),
        pytest.param(
            over(128, "StartError", "exec: pyhton: not found"),
            {},
            "Failed",
            "CannotStart",
            "pyhton: not found",
            id="a command that does not exist is told",
        ),
        pytest.param(
            raw_pod("Failed", waiting("PodInitializing"), init={"fetch": ended(2, message="404")}),
            {},
            "Failed",
            "Error",
            "Init container fetch exited with code 2: 404",
            id="a failed init container is named",
        ),
        pytest.param(
            raw_pod("Failed", ended(3), sidecars={"proxy": ended(137)}),
            {},
            "Failed",
            "Error",
            "The trainer failed with exit code 3",
            id="a sidecar that its node ended after the trainer is not the cause",
        ),
        pytest.param(
            over(255, "Unknown", message=""),
            {"report": report("success", epochsCompleted=2)},
            "Failed",
            "Disrupted",
            "was rebooted, or lost track of container trainer",
            id="a container that a reboot ended is a disruption",
        ),
        pytest.param(
            over(255), {}, "Failed", "Error", "exit code 255", id="a program's own 255 is an error"
        ),
        pytest.param(
            raw_pod("Failed", ended(0), more_containers={"proxy": ended(3)}),
            {},
            "Failed",
            "Error",
            "proxy exited with code 3",
            id="a failed side container is named",
        ),
        pytest.param(
            over(1),
            {"report": report("failed", attempt=7, error={"type": "OldError", "message": "x"})},
            "Failed",
            "Error",
            "exit code 1",
            id="another attempt's report says nothing about this one",
        ),
    ],
)
def test_the_end_of_a_run_that_nobody_cancelled(pod, status, phase, reason, told):
    end = judged(pod, **status)
    assert (end.phase, end.reason) == (phase, reason)
    assert told in end.message
    assert "OldError" not in end.message


@pytest.mark.parametrize(
    ("pod", "how", "phase", "outcome"),
    [
        pytest.param(
            over(0),
            {"report": report("cancelled")},
            "Cancelled",
            "Graceful",
            id="a trainer that says it was cancelled was",
        ),
        pytest.param(
            over(0, message=last_words("cancelled")),
            {},
            "Cancelled",
            "Graceful",
            id="its termination message is as good as a report",
        ),
        pytest.param(
            over(0),
            {"report": report("success")},
            "Succeeded",
            "TooLate",
            id="a trainer that finished first has succeeded",
        ),
        pytest.param(
            over(0),
            {},
            "Succeeded",
            "TooLate",
            id="one that was never told to end, and says nothing, has finished",
        ),
        pytest.param(
            over(0, deleting=True),
            {"progress": None},
            "Cancelled",
            "Graceful",
            id="one that never reported, and got our SIGTERM, was cancelled",
        ),
        pytest.param(
            over(0, deleting=True),
            {"report": report("success")},
            "Succeeded",
            "TooLate",
            id="one that got our SIGTERM and says it finished has finished",
        ),
        pytest.param(
            over(0, deleting=True),
            {"forced": True},
            "Cancelled",
            "Forced",
            id="past the grace period, code 0 without a word is a forced cancel",
        ),
        pytest.param(
            over(143, deleting=True),
            {"progress": None},
            "Cancelled",
            "Graceful",
            id="ended by our SIGTERM within the grace period",
        ),
        pytest.param(
            over(137, deleting=True),
            {"progress": None},
            "Cancelled",
            "Forced",
            id="killed by the node at the end of the grace period",
        ),
        pytest.param(
            over(143, deleting=True),
            {},
            "Cancelled",
            "Graceful",
            id="a first report that crosses our SIGTERM makes no crash of it",
        ),
        pytest.param(
            over(137, deleting=True),
            {"forced": True},
            "Cancelled",
            "Forced",
            id="killed past the grace period",
        ),
        pytest.param(
            over(1), {}, "Cancelled", "Crashed", id="a crash while it stopped is still a cancel"
        ),
        pytest.param(
            over(137, "OOMKilled"),
            {"progress": None},
            "Cancelled",
            "Crashed",
            id="so is running out of memory",
        ),
        pytest.param(
            raw_pod("Failed", waiting(), deleting=True),
            {"progress": None},
            "Cancelled",
            "BeforeStart",
            id="a pod whose trainer never ran was cancelled before the start",
        ),
    ],
)
def test_the_end_of_a_run_that_is_being_cancelled(pod, how, phase, outcome):
    end = cancelled(pod, **how)
    assert (end.phase, end.outcome) == (phase, outcome)


def test_a_crash_during_a_cancel_keeps_its_exit_code():
    end = cancelled(over(3))
    assert end.exit_code == 3
    assert "exit code 3" in end.message


def test_a_cancel_seen_by_the_trainer_while_no_controller_ran_is_a_cancel():
    seen = report("cancelled", cancelAcknowledgedAt="2026-01-02T03:04:00Z")
    end = judged(over(0), spec={"cancel": True}, report=seen)
    assert (end.phase, end.outcome) == ("Cancelled", "Graceful")


def test_a_cancel_that_nobody_saw_in_time_came_too_late():
    end = judged(over(0), spec={"cancel": True}, report=report("success"))
    assert end.phase == "Succeeded"


@pytest.mark.parametrize(
    ("job", "status", "phase", "reason"),
    [
        pytest.param(raw_job(complete=True), {}, "Succeeded", "Completed", id="the Job completed"),
        pytest.param(
            raw_job(failed="PodFailurePolicy"), {}, "Failed", "Disrupted", id="it was disrupted"
        ),
        pytest.param(
            raw_job(failed="BackoffLimitExceeded"), {}, "Failed", "PodLost", id="it crashed"
        ),
        pytest.param(
            raw_job(failed="BackoffLimitExceeded"),
            {"report": report("interrupted")},
            "Failed",
            "Disrupted",
            id="the trainer said that it was interrupted",
        ),
        pytest.param(
            raw_job(failed="BackoffLimitExceeded"),
            {"report": report("failed", error={"type": "E", "message": "m"})},
            "Failed",
            "Error",
            id="the trainer said why it failed",
        ),
        pytest.param(
            raw_job(failed="BackoffLimitExceeded"),
            {"report": report("success")},
            "Failed",
            "PodLost",
            id="a claim of success does not undo a failed Job",
        ),
    ],
)
def test_where_the_pod_is_gone_the_job_tells(job, status, phase, reason):
    end = judged(None, job=job, **status)
    assert (end.phase, end.reason) == (phase, reason)


@pytest.mark.parametrize(
    "message",
    [
        "[" * 4096,
        '{"headway": 1, "report": []}',
        '{"headway": 1, "report": {"status": "splendid"}}',
        '{"headway": 1, "report": {"status": "failed", "epochsCompleted": 1' + "0" * 30 + "}}",
        last_words("failed", cancelAcknowledgedAt="2026-01-02T03:04:05"),
        last_words("failed", cancelAcknowledgedAt="0000-01-02T03:04:05Z"),
        last_words("failed", checkpoint={"path": "p", "time": "2026-01-02T03:04:05"}),
        "\ufffd\x00\x1b",
    ],
)
def test_last_words_that_nobody_can_store_are_no_claim(message):
    end = judged(over(3, message=message))
    assert (end.phase, end.exit_code, end.report) == ("Failed", 3, None)


@pytest.mark.parametrize("loss", ["NaN", "-Infinity", "1e999", "1" + "0" * 400])
def test_what_is_no_number_in_last_words_is_left_out(loss):
    message = '{"headway": 1, "report": {"status": "failed", "summary": {"loss": LOSS, "n": 1}}}'
    end = judged(over(1, message=message.replace("LOSS", loss)))
    assert end.report.summary == {"loss": None, "n": 1}


def test_last_words_that_the_api_server_never_heard_count_more_than_an_earlier_report():
    earlier = {"attempt": 1, "checkpoint": {"path": "old", "time": text(NOW)}}
    newer = {"path": "new", "time": text(at(1))}
    pod = over(0, message=last_words("cancelled", epochsCompleted=2, checkpoint=newer))
    end = cancelled(pod, report=earlier)
    assert (end.phase, end.outcome) == ("Cancelled", "Graceful")
    assert end.report.epochs_completed == 2
    case = Case(
        observed(
            raw_operation(
                status=attempted("Cancelling", report=earlier),
                storage={"claimTemplate": {"size": "1Gi"}},
            )
        ),
        NOW,
    )
    assert checkpoint_of(case, end.report) == "new"


def test_the_report_counts_where_the_last_words_say_the_same_in_short():
    claim = report("failed", error={"type": "E", "message": "m", "traceback": "long"})
    pod = over(1, message=last_words("failed", error={"type": "E", "message": "m"}))
    assert judged(pod, report=claim).report.error.traceback == "long"


@pytest.mark.parametrize("job", [None, raw_job(deleting=True)])
def test_cancelled_in_the_queue_it_had_stopped_when_it_was_preempted(job):
    end = cancelled(None, job=job, report=report("interrupted"))
    assert (end.phase, end.outcome) == ("Cancelled", "Graceful")


def test_a_running_side_container_does_not_make_the_trainer_run():
    pod = raw_pod("Failed", ended(1), more_containers={"proxy": running()})
    assert judged(pod).exit_code == 1


def test_a_container_that_could_not_be_started_has_no_start():
    state = ended(128, "StartError", "exec: pyhton: not found")
    state["terminated"] |= {"startedAt": "1970-01-01T00:00:00Z"}
    end = judged(raw_pod("Failed", state))
    assert end.reason == "CannotStart"
    assert end.started_at is None


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("[" * 4096, id="a log that ends in brackets"),
        pytest.param("1" * 4096, id="a log that ends in digits"),
        pytest.param(last_words("success", epochsCompleted=2**63), id="more than 64 bits"),
        pytest.param(
            last_words("success", cancelAcknowledgedAt="2026-01-02T03:04:05"),
            id="a time in no zone",
        ),
        pytest.param(
            last_words("success", checkpoint={"path": "a1/000001", "time": "2026-01-02"}),
            id="a date for a time",
        ),
        pytest.param(
            last_words("success", summary={"tree": json.loads("[" * 300 + "]" * 300)}),
            id="nested too deep",
        ),
    ],
)
@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (1, "Failed")])
def test_last_words_that_no_status_could_hold_do_not_keep_a_run_from_ending(words, code, phase):
    end = judged(over(code, message=words))
    assert (end.phase, end.report) == (phase, None)


def test_an_integer_of_a_summary_that_is_too_large_is_kept_as_the_api_server_would():
    end = judged(over(0, message=last_words("success", summary={"seed": 2**64 - 1})))
    assert end.report.summary == {"seed": float(2**64)}

"""Suspends, retries, disruptions, deadlines and stalls: what plan(snapshot, now) makes of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from headway_api.vocabulary import CancelOutcome, Phase, Reason, StopCause
from headway_operator.policies.case import DeleteJob, DeletePod, MakeJob
from headway_operator.policies.chain import plan
from headway_operator.snapshot import LogTail, Question, Signs
from snapshots import (
    NODE,
    NOW,
    at,
    attempted,
    attempted_again,
    ended,
    observed,
    progress,
    raw_job,
    raw_operation,
    raw_pod,
    report,
    running,
    text,
)

NO_LOGS = LogTail("", "", "")
REACHED = {"checkpoint": {"path": f"{'u' * 8}/a1/000007"}}
PATH = REACHED["checkpoint"]["path"]


def run(status, *pods, job=None, now=NOW, more_jobs=(), signs=None, seen=None, **asked):
    """The plan for a run with this status; ``asked`` holds answers, and fields of its spec."""
    answers = {
        k: asked.pop(k) for k in ("unreachable_nodes", "unready_nodes", "fresh") if k in asked
    }
    live = asked.pop("live", True)
    asked.setdefault("storage", {"claimTemplate": {"size": "1Gi"}})
    snapshot = observed(
        raw_operation(status=status, **asked),
        job,
        pods,
        more_jobs=more_jobs,
        signs=signs,
        seen=seen,
        live=live,
        logs=NO_LOGS,
        **answers,
    )
    return plan(snapshot, now)


def was_running(**more):
    """The status of a first attempt whose trainer reports."""
    phase = more.pop("phase", "Running")
    return attempted(phase, startTime=text(NOW), activeSince=text(NOW), **more)


def suspending(**more):
    """The status of a first attempt that is being suspended."""
    stop = {
        "cause": "Suspend",
        "attempt": 1,
        "requestedAt": text(NOW),
        "deadline": text(at(30)),
        **more.pop("stop", {}),
    }
    return was_running(**{"phase": "Suspending", "stop": stop, "progress": progress(), **more})


# Suspend and resume


def test_a_run_that_is_suspended_before_it_starts_makes_no_job():
    decided = run({}, suspend=True)
    assert decided.status.phase is Phase.SUSPENDED
    assert not decided.actions
    assert decided.status.active_since is None


def test_suspended_before_its_pod_has_a_node_the_job_is_taken_back():
    decided = run(attempted(), raw_pod(node=""), job=raw_job(), suspend=True)
    assert decided.status.phase is Phase.SUSPENDING
    assert decided.actions == (DeleteJob("run-a1", "job-1"),)
    assert run(decided.status.to_wire(), suspend=True).status.phase is Phase.SUSPENDED


def test_a_trainer_that_reports_has_its_grace_to_write_a_checkpoint():
    pod = raw_pod("Running", running())
    decided = run(was_running(progress=progress()), pod, job=raw_job(), suspend=True)
    assert decided.status.phase is Phase.SUSPENDING
    assert decided.status.stop.cause is StopCause.SUSPEND
    assert decided.status.stop.deadline == at(30)
    assert not decided.actions


def test_a_trainer_without_an_sdk_is_told_by_sigterm_with_the_whole_grace():
    pod = raw_pod("Running", running())
    decided = run(was_running(), pod, job=raw_job(), suspend=True)
    assert decided.actions == (DeletePod("run-a1-00001", "pod-1-1", 30),)


def test_past_the_grace_of_a_suspend_the_pod_is_killed():
    pod = raw_pod("Running", running())
    none = frozenset()
    decided = run(
        suspending(), pod, job=raw_job(), suspend=True, now=at(31), unreachable_nodes=none
    )
    assert decided.status.stop.forced
    assert decided.actions == (DeletePod("run-a1-00001", "pod-1-1", 5),)


@pytest.mark.parametrize(
    "status", [suspending(), suspending(progress=None)], ids=["past its grace", "without an SDK"]
)
def test_a_trainer_is_told_to_end_only_when_a_live_read_has_shown_that_it_has_not_ended(status):
    known = {"suspend": True, "unreachable_nodes": frozenset(), "now": at(40), "job": raw_job()}
    assert run(status, raw_pod("Running", running()), live=False, **known).questions == {
        Question.LIVE
    }
    assert run(status, raw_pod("Running", running()), **known).actions
    ended_well = run(status, raw_pod("Succeeded", ended(0)), **known)
    assert ended_well.status.phase is Phase.SUCCEEDED


def test_stopped_with_a_checkpoint_it_is_suspended_and_its_time_stands_still():
    claim = report("cancelled", epochsCompleted=7, **REACHED)
    pod = raw_pod("Succeeded", ended(0))
    decided = run(suspending(report=claim), pod, job=raw_job(), suspend=True, now=at(12))
    status = decided.status
    assert (status.phase, status.reason) == (Phase.SUSPENDED, Reason.SUSPENDED)
    assert PATH in status.message
    assert status.attempts[0].checkpoint == PATH
    assert status.attempts[0].ended == at(12)
    assert status.stop is None
    assert (status.active_since, status.active_seconds) == (None, 12.0)
    assert status.completion_time is None


def test_where_the_workspace_goes_with_the_pod_there_is_no_checkpoint_to_go_on_from():
    claim = report("cancelled", epochsCompleted=7, **REACHED)
    pod = raw_pod("Succeeded", ended(0))
    spec = {"suspend": True, "storage": {"emptyDir": {}}}
    status = run(suspending(report=claim), pod, job=raw_job(), **spec).status
    assert status.attempts[0].checkpoint is None
    assert "it will begin anew" in status.message


def test_a_run_that_finished_in_spite_of_a_suspend_has_succeeded():
    pod = raw_pod("Succeeded", ended(0))
    decided = run(suspending(report=report("success")), pod, job=raw_job(), suspend=True)
    assert decided.status.phase is Phase.SUCCEEDED


def test_a_trainer_that_saw_the_suspend_before_the_controller_did_is_suspended_too():
    claim = report("cancelled", stopReason="suspended", epochsCompleted=7, **REACHED)
    pod = raw_pod("Succeeded", ended(0))
    for spec in ({"suspend": True}, {}):  # it may have been taken back meanwhile
        decided = run(was_running(report=claim), pod, job=raw_job(), **spec)
        assert decided.status.phase is Phase.SUSPENDED


def test_killed_by_a_suspend_it_is_suspended_all_the_same():
    pod = raw_pod("Failed", ended(137), deleting=True)
    decided = run(suspending(stop={"forced": True}), pod, job=raw_job(), suspend=True)
    assert decided.status.phase is Phase.SUSPENDED
    assert "killed past its grace period" in decided.status.message


def test_a_trainer_that_has_ended_is_not_killed_though_its_job_has_yet_to_say_how():
    soon = raw_job(decided="SuccessCriteriaMet")
    decided = run(suspending(), job=soon, suspend=True, now=at(31))
    assert "its Job is about to say so" in decided.status.message
    assert not decided.status.stop.forced
    assert decided.again_at > at(31)
    done = run(decided.status.to_wire(), job=raw_job(complete=True), suspend=True, now=at(32))
    assert done.status.phase is Phase.SUCCEEDED


def test_a_crash_while_suspending_is_a_crash():
    pod = raw_pod("Failed", ended(3))
    decided = run(suspending(), pod, job=raw_job(), suspend=True)
    assert (decided.status.phase, decided.status.reason) == (Phase.FAILED, Reason.ERROR)


def test_a_crash_while_suspending_with_a_retry_left_rests_until_it_is_resumed():
    pod = raw_pod("Failed", ended(3))
    spec = {"suspend": True, "retryPolicy": {"limit": 1}}
    decided = run(suspending(), pod, job=raw_job(), **spec)
    assert (decided.status.phase, decided.status.retries) == (Phase.RETRYING, 1)
    later = run(decided.status.to_wire(), pod, job=raw_job(), **spec)
    assert later.status.phase is Phase.SUSPENDED


def test_suspended_it_stays_so_whatever_time_passes():
    status = attempted_again({"reason": "Suspended"}, phase="Suspended", observedGeneration=1)
    decided = run(status, job=raw_job(failed="BackoffLimitExceeded"), suspend=True, now=at(1e6))
    assert not decided.actions
    assert decided.status is None or decided.status.phase is Phase.SUSPENDED


def test_resumed_it_goes_on_as_the_next_attempt_after_a_live_read():
    status = attempted_again({"reason": "Suspended", "checkpoint": PATH}, phase="Suspended")
    before = raw_job(failed="BackoffLimitExceeded")
    assert run(status, job=before, live=False).questions == {Question.LIVE}
    decided = run(status, job=before, now=at(9))
    assert (decided.status.phase, decided.status.attempt) == (Phase.STARTING, 2)
    assert decided.status.active_since == at(9)
    assert decided.actions == (MakeJob(2),)
    [note] = decided.notes
    assert note.reason == "Resumed"
    assert PATH in note.message


def test_suspended_before_it_ever_started_a_resume_starts_it():
    decided = run({"phase": "Suspended"})
    assert decided.status.attempt == 1
    assert decided.actions == (MakeJob(1),)


def test_a_resume_while_it_is_being_suspended_waits_for_the_end_of_the_suspend():
    pod = raw_pod("Running", running())
    decided = run(suspending(), pod, job=raw_job())
    assert decided.status.phase is Phase.SUSPENDING
    over = raw_pod("Succeeded", ended(0))
    decided = run(suspending(report=report("cancelled")), over, job=raw_job())
    assert decided.status.phase is Phase.SUSPENDED
    assert run(decided.status.to_wire(), over, job=raw_job()).actions == (MakeJob(2),)


def test_a_cancel_while_it_is_suspended_ends_it():
    status = attempted_again({"reason": "Suspended", "checkpoint": PATH}, phase="Suspended")
    assert run(status, cancel=True, live=False).questions == {Question.LIVE}
    decided = run(status, cancel=True, suspend=True)
    assert decided.status.phase is Phase.CANCELLED
    assert decided.status.cancellation.outcome is CancelOutcome.GRACEFUL
    assert decided.status.cancellation.checkpoint == PATH


def test_a_cancel_before_a_later_attempt_runs_does_not_say_that_none_ever_ran():
    receipt = {"requestedAt": text(NOW), "deadline": text(at(30))}
    status = attempted_again({}, phase="Cancelling", cancellation=receipt)
    pod = raw_pod("Failed", attempt=2, deleting=True)
    decided = run(status, pod, job=raw_job(2, failed="BackoffLimitExceeded"), cancel=True)
    assert decided.status.phase is Phase.CANCELLED
    assert decided.status.cancellation.outcome is CancelOutcome.GRACEFUL
    assert decided.status.message == "Cancelled before attempt 2 ran; no trainer ran."


def test_a_cancel_beats_a_suspend_that_is_under_way():
    pod = raw_pod("Running", running())
    decided = run(suspending(), pod, job=raw_job(), suspend=True, cancel=True)
    assert decided.status.phase is Phase.CANCELLING


def test_a_cancel_gives_no_time_to_a_pod_that_a_suspend_has_deleted_already():
    pod = raw_pod("Running", running(), deleting=True)
    silent = suspending(progress=None)
    known = {"suspend": True, "cancel": True, "unreachable_nodes": frozenset()}
    in_time = run(silent, pod, job=raw_job(), now=at(12), **known)
    assert in_time.status.cancellation.deadline == at(30)
    for status in (suspending(stop={"forced": True}), silent):
        late = run(status, pod, job=raw_job(), now=at(40), **known)
        assert late.status.cancellation.deadline == at(40)
        assert late.status.cancellation.outcome is CancelOutcome.FORCED
    polite = run(suspending(), raw_pod("Running", running()), job=raw_job(), now=at(12), **known)
    assert polite.status.cancellation.deadline == at(42)


@pytest.mark.parametrize("wish", ["cancel", "suspend"])
def test_a_clock_that_was_ahead_when_a_stop_began_gives_it_no_more_time(wish):
    ahead = {"requestedAt": text(at(3600)), "deadline": text(at(3630))}
    told = {"cancel": {"cancellation": ahead}, "suspend": {"stop": ahead}}[wish]
    pod = raw_pod("Running", running())
    decided = run(suspending(**told), pod, job=raw_job(), **{wish: True})
    begun = decided.status.cancellation or decided.status.stop
    assert (begun.requested_at, begun.deadline) == (NOW, at(30))


def test_a_job_that_a_dead_controller_made_late_is_taken_back_from_a_suspended_run():
    status = attempted_again({"reason": "Suspended"}, phase="Suspended")
    decided = run(status, raw_pod("Running", running()), job=raw_job(), suspend=True)
    assert decided.actions == (DeleteJob("run-a1", "job-1"),)
    assert decided.status is None


# Retries


def failing(status=None, *, code=1, now=NOW, reason="", memory="", **spec):
    pod = raw_pod("Failed", ended(code, reason), memory=memory)
    return run(status or was_running(), pod, job=raw_job(), now=now, **spec)


def test_without_a_retry_policy_a_failure_is_the_end():
    assert failing().status.phase is Phase.FAILED


def test_with_a_retry_left_a_failure_is_followed_by_another_attempt_after_a_pause():
    decided = failing(retryPolicy={"limit": 2, "backoffSeconds": 7})
    status = decided.status
    assert (status.phase, status.reason) == (Phase.RETRYING, Reason.ERROR)
    assert status.next_attempt_time == at(7)
    assert status.retries == 1
    assert (status.attempts[0].reason, status.attempts[0].exit_code) == (Reason.ERROR, 1)
    assert "retry 1 of 2" in status.message
    assert status.result is None
    assert decided.again_at == at(7)
    assert [n.warning for n in decided.notes] == [True]


@pytest.mark.parametrize(("spent", "pause"), [(0, 100), (1, 200), (2, 360), (9, 360)])
def test_pauses_double_up_to_six_minutes(spent, pause):
    status = was_running(retries=spent)
    decided = failing(status, retryPolicy={"limit": 20, "backoffSeconds": 100})
    assert decided.status.next_attempt_time == at(pause)


def test_the_pause_is_kept_and_then_the_next_attempt_begins():
    status = attempted_again({"reason": "Error"}, phase="Retrying", nextAttemptTime=text(at(7)))
    waits = run(status, job=raw_job(failed="x"), retryPolicy={"limit": 1})
    assert (waits.status, waits.actions, waits.again_at) == (None, (), at(7))
    decided = run(status, job=raw_job(failed="x"), now=at(7), retryPolicy={"limit": 1})
    assert decided.status.attempt == 2
    assert decided.status.next_attempt_time is None
    assert decided.actions == (MakeJob(2),)


def test_when_its_retries_are_spent_a_failure_is_the_end():
    decided = failing(was_running(retries=2), retryPolicy={"limit": 2})
    assert decided.status.phase is Phase.FAILED
    assert decided.status.result.exit_code == 1


def test_more_retries_can_be_granted_while_it_runs():
    decided = failing(was_running(retries=2), retryPolicy={"limit": 3})
    assert decided.status.phase is Phase.RETRYING


def test_out_of_memory_is_named_with_the_limit_and_retried():
    decided = failing(code=137, reason="OOMKilled", memory="64Mi", retryPolicy={"limit": 1})
    assert (decided.status.phase, decided.status.reason) == (Phase.RETRYING, Reason.OOM_KILLED)
    assert "64Mi" in decided.status.message


def test_what_can_never_run_is_not_tried_again():
    pod = raw_pod("Failed", ended(1, "ImageNotAvailable", ran=False))
    decided = run(attempted(), pod, job=raw_job(), retryPolicy={"limit": 5})
    assert decided.status.phase is Phase.FAILED


def test_a_cancel_in_the_pause_ends_it():
    status = attempted_again({"reason": "Error"}, phase="Retrying", nextAttemptTime=text(at(99)))
    decided = run(status, job=raw_job(failed="x"), cancel=True, retryPolicy={"limit": 1})
    assert decided.status.phase is Phase.CANCELLED


def test_a_suspend_in_the_pause_rests_and_a_resume_goes_on_at_once():
    status = attempted_again({"reason": "Error"}, phase="Retrying", nextAttemptTime=text(at(99)))
    decided = run(status, job=raw_job(failed="x"), suspend=True, retryPolicy={"limit": 1})
    assert decided.status.phase is Phase.SUSPENDED
    resumed = run(decided.status.to_wire(), job=raw_job(failed="x"), retryPolicy={"limit": 1})
    assert resumed.actions == (MakeJob(2),)


# Disruptions


def disrupted(status=None, *, attempt=1, **spec):
    pod = raw_pod("Failed", ended(143), deleting=True, attempt=attempt)
    return run(status or was_running(), pod, job=raw_job(attempt), **spec)


def test_a_disruption_restarts_without_spending_a_retry():
    status = disrupted().status
    assert (status.phase, status.reason) == (Phase.RETRYING, Reason.DISRUPTED)
    assert status.retries is None
    assert status.disruptions == 1
    assert status.next_attempt_time == NOW


@pytest.mark.parametrize(
    "pod",
    [
        raw_pod("Failed", ended(255, "Unknown")),
        raw_pod("Failed", ended(137), disrupted="PreemptionByScheduler"),
        raw_pod("Failed", ended(143), reason="Evicted", message="low on memory"),
        raw_pod("Failed", ended(143)),
        raw_pod("Failed", reason="UnexpectedAdmissionError", message="no GPU is known yet"),
    ],
    ids=[
        "a reboot",
        "a preemption",
        "an eviction",
        "a SIGTERM nobody asked for",
        "a rebooted node that does not take its pod up again",
    ],
)
def test_each_of_these_is_a_disruption(pod):
    decided = run(was_running(), pod, job=raw_job(failed="BackoffLimitExceeded"))
    assert (decided.status.phase, decided.status.disruptions) == (Phase.RETRYING, 1)


def test_turned_away_by_a_node_that_shuts_down_it_goes_elsewhere_without_spending_a_retry():
    pod = raw_pod("Failed", reason="NodeShutdown", message="Pod was rejected", attempt=2)
    decided = run(attempted_again({}), pod, job=raw_job(2, failed="BackoffLimitExceeded"))
    assert (decided.status.phase, decided.status.reason) == (Phase.RETRYING, Reason.DISRUPTED)
    assert "was shutting down" in decided.status.message


def test_a_lost_pod_of_which_only_the_jobs_reason_tells_was_disrupted():
    decided = run(was_running(), job=raw_job(failed="PodFailurePolicy"))
    assert decided.status.phase is Phase.RETRYING


def test_a_lost_pod_of_which_nothing_tells_has_crashed():
    decided = run(was_running(), job=raw_job(failed="BackoffLimitExceeded"))
    assert (decided.status.phase, decided.status.reason) == (Phase.FAILED, Reason.POD_LOST)


@pytest.mark.parametrize(
    ("reason", "phase", "end"),
    [
        ("NodeUnreachable", Phase.RETRYING, Reason.DISRUPTED),
        ("Disrupted", Phase.RETRYING, Reason.DISRUPTED),
        ("Started", Phase.FAILED, Reason.POD_LOST),
    ],
)
def test_a_job_that_keeps_to_itself_that_it_failed_is_waited_for_only_so_long(reason, phase, end):
    mute = raw_job()
    mute["status"]["failed"] = 1
    for begun in (was_running(reason=reason), attempted("Starting", reason=reason)):
        waits = run(begun, job=mute)
        assert waits.status is None
        assert not waits.actions
        assert waits.again_at <= at(20)
        seen = dict.fromkeys(waits.notices, NOW)
        assert run(begun, job=mute, seen=seen, now=at(19)).status is None
        decided = run(begun, job=mute, seen=seen, now=at(20))
        assert (decided.status.phase, decided.status.reason) == (phase, end)


def test_what_a_job_will_say_of_its_failure_is_believed_already():
    soon = raw_job(decided="FailureTarget")
    soon["status"]["conditions"][0]["reason"] = "PodFailurePolicy"
    seen = dict.fromkeys(run(was_running(), job=soon).notices, NOW)
    decided = run(was_running(), job=soon, seen=seen, now=at(20))
    assert (decided.status.phase, decided.status.reason) == (Phase.RETRYING, Reason.DISRUPTED)


def test_what_a_job_does_not_say_of_an_attempt_that_is_over_is_not_waited_for():
    job = raw_job(decided="FailureTarget")
    resting = attempted_again({}, phase="Suspended")
    seen = {"job-1:failing": NOW}
    assert run(resting, job=job, now=at(60), seen=seen, suspend=True).again_at is None


def test_a_cancel_is_taken_while_its_job_has_not_said_that_it_failed():
    mute = raw_job()
    mute["status"]["failed"] = 1
    waits = run(was_running(), job=mute, cancel=True)
    assert waits.status.phase is Phase.CANCELLING
    assert not waits.actions
    seen = dict.fromkeys(waits.notices, NOW)
    decided = run(waits.status.to_wire(), job=mute, cancel=True, seen=seen, now=at(20))
    assert decided.status.phase is Phase.CANCELLED


def test_the_tenth_disruption_in_a_row_without_a_newer_checkpoint_ends_it():
    status = was_running(disruptions=9)
    decided = disrupted(status, retryPolicy={"limit": 5})
    assert decided.status.phase is Phase.FAILED
    assert decided.status.reason == Reason.DISRUPTED_REPEATEDLY


def test_a_newer_checkpoint_begins_the_row_anew():
    decided = disrupted(was_running(disruptions=9, report=report("interrupted", **REACHED)))
    assert (decided.status.phase, decided.status.disruptions) == (Phase.RETRYING, 1)


def test_the_checkpoint_that_it_began_from_is_no_newer_one():
    status = attempted_again(
        {"checkpoint": PATH},
        phase="Running",
        disruptions=4,
        report=report("interrupted", 2, **REACHED),
    )
    assert disrupted(status, attempt=2).status.disruptions == 5


def test_pauses_between_disruptions_grow_up_to_a_minute():
    pauses = []
    for before in range(9):
        status = disrupted(was_running(disruptions=before)).status
        pauses.append((status.next_attempt_time - NOW).total_seconds())
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_pod_on_a_lost_node_keeps_its_run_retrying_until_it_is_gone():
    pod = raw_pod("Running", running(), deleting=True, ready=False)
    lost = frozenset({NODE})
    decided = run(was_running(), pod, job=raw_job(), unreachable_nodes=lost)
    assert (decided.status.phase, decided.status.reason) == (
        Phase.RETRYING,
        Reason.NODE_UNREACHABLE,
    )
    assert not decided.actions
    again = run(decided.status.to_wire(), pod, job=raw_job(), now=at(600), unreachable_nodes=lost)
    assert MakeJob(2) not in again.actions


def test_a_pod_that_is_being_taken_away_is_told():
    pod = raw_pod("Running", running(), deleting=True, disrupted="EvictionByEvictionAPI")
    decided = run(was_running(), pod, job=raw_job(), unreachable_nodes=frozenset())
    assert decided.status.phase is Phase.RUNNING
    assert "EvictionByEvictionAPI" in decided.status.message


def test_old_jobs_go_once_the_status_lists_their_attempts_no_more():
    ends = [{"number": n, "job": f"run-a{n}", "ended": text(NOW)} for n in range(3, 13)]
    status = {**attempted_again(phase="Retrying"), "attempt": 12, "attempts": ends}
    jobs = [raw_job(n, failed="PodFailurePolicy") for n in range(1, 13)]
    decided = run(status, job=jobs[-1], more_jobs=jobs[:-1])
    gone = [a.name for a in decided.actions if isinstance(a, DeleteJob)]
    assert sorted(gone) == ["run-a1", "run-a2", "run-a3"]


# Deadlines


def test_past_its_active_deadline_a_run_is_stopped_like_by_a_cancel():
    pod = raw_pod("Running", running())
    status = was_running(progress=progress())
    early = run(status, pod, job=raw_job(), now=at(59), activeDeadlineSeconds=60)
    assert early.again_at == at(60)
    decided = run(status, pod, job=raw_job(), now=at(60), activeDeadlineSeconds=60)
    assert decided.status.stop.cause is StopCause.DEADLINE
    assert decided.status.phase is Phase.RUNNING
    assert not decided.actions


def test_out_of_time_it_has_failed_whatever_retries_are_left():
    stop = {"cause": "DeadlineExceeded", "attempt": 1}
    stop |= {"requestedAt": text(NOW), "deadline": text(at(30))}
    status = was_running(stop=stop, progress=progress(), report=report("cancelled"))
    pod = raw_pod("Succeeded", ended(0))
    spec = {"activeDeadlineSeconds": 60, "retryPolicy": {"limit": 3}}
    decided = run(status, pod, job=raw_job(), **spec)
    assert (decided.status.phase, decided.status.reason) == (
        Phase.FAILED,
        Reason.DEADLINE_EXCEEDED,
    )


def test_between_two_attempts_the_deadline_ends_it_at_once():
    status = attempted_again(
        {}, phase="Retrying", nextAttemptTime=text(at(99)), activeSince=text(NOW)
    )
    decided = run(status, job=raw_job(failed="x"), now=at(60), activeDeadlineSeconds=60)
    assert decided.status.reason == Reason.DEADLINE_EXCEEDED


def test_time_spent_suspended_does_not_count():
    status = attempted_again({}, phase="Suspended", activeSeconds=59)
    still = run(status, suspend=True, now=at(9999), activeDeadlineSeconds=60)
    assert still.status is None or still.status.phase is Phase.SUSPENDED
    assert run(status, now=at(9999), activeDeadlineSeconds=60).actions == (MakeJob(2),)


def test_a_deadline_that_is_moved_in_time_lets_it_run():
    pod = raw_pod("Running", running())
    decided = run(was_running(), pod, job=raw_job(), now=at(60), activeDeadlineSeconds=600)
    assert decided.status.stop is None


# Stalls


def stalls(*, stepped=0.0, alive=None, view=0.0, now=60.0, seen=None, status=None, **more):
    signs = Signs(at(stepped), None if alive is None else at(alive), at(view))
    pod = raw_pod("Running", running())
    known = status or was_running(progress=progress())
    more = {"progressDeadlineSeconds": 60, "fresh": True, **more}
    return run(known, pod, job=raw_job(), now=at(now), signs=signs, seen=seen, **more)


def test_a_heartbeat_without_a_step_is_a_stall():
    assert stalls(alive=30, now=59).again_at == at(60)
    assert stalls(alive=30, fresh=False).questions == {Question.OPERATION}
    decided = stalls(alive=30)
    assert decided.status.stop.cause is StopCause.PROGRESS_DEADLINE
    found = {c.type: c.status for c in decided.status.conditions}
    assert found["Progressing"] == "False"


def test_a_step_in_time_is_none():
    assert stalls(stepped=20, alive=30).again_at == at(80)


def test_silence_is_a_stall_only_while_the_node_stays_ready():
    assert stalls().questions == {Question.NODE}
    ready = {"unready_nodes": frozenset(), "unreachable_nodes": frozenset()}
    first = stalls(**ready)
    [notice] = first.notices
    assert first.status is None
    decided = stalls(now=120, seen={notice: at(60)}, **ready)
    assert decided.status.stop.cause is StopCause.PROGRESS_DEADLINE


def test_silence_on_a_node_that_is_not_ready_is_a_condition_and_no_more():
    lost = {"unready_nodes": frozenset({NODE}), "unreachable_nodes": frozenset({NODE})}
    decided = stalls(now=9999, seen={"pod-1-1:silent": at(60)}, **lost)
    assert decided.status.phase is Phase.RUNNING
    assert decided.status.stop is None
    assert not decided.notices
    found = {c.type: c.status for c in decided.status.conditions}
    assert found["Progressing"] == "Unknown"


def test_what_happened_while_the_controller_could_not_see_is_no_stall():
    assert stalls(alive=30, view=59).again_at == at(119)


def test_a_trainer_that_waits_for_its_image_does_not_stall():
    pod = raw_pod("Pending")
    signs = Signs(NOW, None, NOW)
    spec = {"progressDeadlineSeconds": 60, "now": at(600), "signs": signs}
    decided = run(attempted(), pod, job=raw_job(), **spec)
    assert decided.status is None or decided.status.stop is None


@pytest.mark.parametrize(
    ("limit", "phase"), [(0, Phase.FAILED), (1, Phase.RETRYING)], ids=["no retry", "a retry"]
)
def test_a_stalled_run_that_was_stopped_fails_under_its_retry_policy(limit, phase):
    stop = {"cause": "ProgressDeadlineExceeded", "attempt": 1}
    stop |= {"requestedAt": text(NOW), "deadline": text(at(30)), "forced": True}
    pod = raw_pod("Failed", ended(137), deleting=True)
    spec = {"progressDeadlineSeconds": 60, "retryPolicy": {"limit": limit}}
    decided = run(was_running(stop=stop, progress=progress()), pod, job=raw_job(), **spec)
    assert (decided.status.phase, decided.status.reason) == (
        phase,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
    )
    assert decided.status.stop is None


@pytest.mark.parametrize(
    ("status", "pod", "spec"),
    [
        pytest.param(attempted(), raw_pod(node="", unschedulable="no gpu"), {}, id="waiting"),
        pytest.param(
            attempted_again({}, phase="Suspended"), None, {"suspend": True}, id="suspended"
        ),
        pytest.param(
            was_running(phase="Cancelling", cancellation={"requestedAt": text(at(9990))}),
            raw_pod("Running", running(), deleting=True),
            {"cancel": True, "activeDeadlineSeconds": 60},
            id="cancelling",
        ),
        pytest.param(was_running(), raw_pod("Running", running()), {"fresh": True}, id="silent"),
    ],
)
def test_a_deadline_that_has_passed_does_not_make_the_controller_look_without_a_pause(
    status, pod, spec
):
    known = {"unready_nodes": frozenset(), "unreachable_nodes": frozenset()}
    more = {"progressDeadlineSeconds": 60, "signs": Signs(NOW, None, NOW), **known, **spec}
    decided = run(status, *([pod] if pod else []), job=raw_job(), now=at(9999), **more)
    assert decided.again_at is None or decided.again_at >= at(10000)


# After the end


def test_a_while_after_the_end_jobs_and_pods_are_removed_and_nothing_else():
    status = attempted_again({}, phase="Succeeded", completionTime=text(NOW), observedGeneration=1)
    jobs = {"job": raw_job(2, complete=True), "more_jobs": [raw_job(1, failed="x")]}
    spec = {"ttlSecondsAfterFinished": 60}
    early = run(status, **jobs, now=at(59), **spec)
    assert (early.actions, early.again_at) == ((), at(60))
    decided = run(status, **jobs, now=at(60), **spec)
    assert decided.status is None
    assert {a.name for a in decided.actions} == {"run-a1", "run-a2"}


def test_a_stop_names_its_own_attempt_only():
    stop = {"cause": "Suspend", "attempt": 1}
    stop |= {"requestedAt": text(NOW), "deadline": text(at(30))}
    status = attempted_again({}, phase="Running", stop=stop, progress=progress(2))
    pod = raw_pod("Running", running(NOW + timedelta(seconds=5)), attempt=2)
    decided = run(status, pod, job=raw_job(2))
    assert decided.status is None or decided.status.phase is Phase.RUNNING

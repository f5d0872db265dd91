"""What the controller does about what it sees: plan(snapshot, now)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from headway_api import names
from headway_api.vocabulary import CancelOutcome, Phase, Reason
from headway_operator.policies.case import DeleteJob, DeletePod, MakeJob
from headway_operator.policies.chain import plan
from headway_operator.policies.conditions import with_conditions
from headway_operator.snapshot import EventView, LogTail, Question, Refusal, Refused
from snapshots import (
    NODE,
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

STRATEGY = {"strategy": {"configMapKeyRef": {"name": "s", "key": "k"}}}
TRAINING = {"symbols": ["AAPL"], "timeframes": ["1d"], **STRATEGY}
CANCELLING = {"phase": "Cancelling", "cancellation": {"requestedAt": text(NOW)}}


def starting(pod=None, *, seen=None, now=NOW, job=True, spec=None, refusal=None, **answers):
    """The plan for a run whose Job is made and whose trainer does not run yet."""
    operation = raw_operation(status=attempted(), **(spec or {}))
    snapshot = observed(
        operation,
        raw_job() if job else None,
        [pod] if pod else [],
        seen=seen,
        refusal=refusal,
        **answers,
    )
    return plan(snapshot, now)


def cancelling(*pods, now=NOW, job=True, live=True, spec=None, status=None, **answers):
    """The plan for a run that shall stop."""
    operation = raw_operation(
        status=status if status is not None else attempted("Running"),
        cancel=True,
        **(spec or {}),
    )
    job = raw_job() if job is True else job or None
    return plan(observed(operation, job, pods, live=live, **answers), now)


# The start


def test_the_attempt_is_written_before_its_job_is_made():
    decided = plan(observed(raw_operation()), NOW)
    assert decided.status.attempt == 1
    assert decided.status.phase is Phase.STARTING
    assert decided.actions == (MakeJob(1),)


def test_a_controller_that_died_before_it_made_the_job_makes_it_after_all():
    assert starting(job=False).actions == (MakeJob(1),)


def test_a_run_that_started_gets_no_second_job_because_the_first_is_gone():
    operation = raw_operation(status=attempted("Running", startTime=text(NOW)))
    assert plan(observed(operation), NOW).questions == {Question.LIVE}
    decided = plan(observed(operation, live=True), NOW)
    assert decided.status.phase is Phase.FAILED
    assert decided.status.reason == Reason.POD_LOST
    assert not decided.actions


def test_a_claim_that_does_not_exist_is_told_at_once_and_fails_a_little_later():
    operation = raw_operation(storage={"existingClaim": {"claimName": "data"}})
    assert plan(observed(operation), NOW).questions == {Question.CLAIM}
    decided = plan(observed(operation, claim_problem="No claim data."), NOW)
    assert (decided.status.phase, decided.status.reason) == (Phase.PENDING, Reason.CLAIM_NOT_FOUND)
    assert "No claim data." in decided.status.message
    assert decided.again_at <= at(2)
    [notice] = decided.notices
    later = plan(observed(operation, claim_problem="No claim data.", seen={notice: NOW}), at(20))
    assert later.status.phase is Phase.FAILED
    assert not later.actions


def test_a_claim_that_appears_meanwhile_lets_the_run_start():
    operation = raw_operation(storage={"existingClaim": {"claimName": "data"}})
    assert plan(observed(operation, claim_problem=""), NOW).actions == (MakeJob(1),)


def test_a_strategy_that_does_not_exist_is_told_with_its_name():
    operation = raw_operation(type="Training", training=TRAINING)
    assert plan(observed(operation), NOW).questions == {Question.STRATEGY}
    decided = plan(observed(operation, strategy_problem="ConfigMap s has no key k."), NOW)
    assert decided.status.reason == Reason.CONFIG_NOT_FOUND
    assert "has no key k" in decided.status.message


def test_a_spec_that_cannot_be_read_fails_with_the_fields_name():
    operation = raw_operation(type="Dummy", dummy={"iterations": "many"})
    decided = plan(observed(operation), NOW)
    assert (decided.status.phase, decided.status.reason) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert "spec.dummy.iterations" in decided.status.message


def test_a_run_that_another_version_began_is_not_ended_because_this_one_cannot_read_it():
    status = attempted("Running", startTime=text(NOW), activeSince=text(NOW))
    operation = raw_operation(status=status, type="Dummy", dummy={"iterations": "many"})
    pod = raw_pod("Running", running())
    decided = plan(observed(operation, raw_job(), [pod]), NOW)
    assert (decided.status.phase, decided.status.reason) == (Phase.RUNNING, Reason.INVALID_SPEC)
    assert not decided.actions
    again = {**operation, "status": decided.status.to_wire()}
    assert plan(observed(again, raw_job(), [pod]), at(60)).status is None


@pytest.mark.parametrize("field", ["progress", "report"])
def test_what_a_trainer_wrote_that_nobody_can_read_keeps_nobody_from_cancelling(field):
    said = {
        "progress": progress() | {"time": "0000-01-01T00:00:00Z"},
        "report": report("failed", cancelAcknowledgedAt="0000-01-01T00:00:00Z"),
    }
    status = attempted("Running", startTime=text(NOW), **{field: said[field]})
    decided = cancelling(raw_pod("Running", running()), status=status, logs=LogTail("", "", ""))
    assert decided.status.phase is Phase.CANCELLING


def test_a_pod_template_that_takes_the_token_away_fails():
    template = {"spec": {"automountServiceAccountToken": False}}
    decided = plan(observed(raw_operation(podTemplate=template)), NOW)
    assert decided.status.reason == Reason.INVALID_POD
    assert "automountServiceAccountToken" in decided.status.message


def test_a_job_of_somebody_else_is_waited_out_and_never_adopted():
    operation = raw_operation(status=attempted())
    foreign = raw_job(owner="somebody-else")
    assert plan(observed(operation, foreign), NOW).questions == {Question.LIVE}
    decided = plan(observed(operation, foreign, live=True), NOW)
    assert (decided.status.phase, decided.status.reason) == (Phase.PENDING, Reason.NAME_TAKEN)
    assert "CronJob" in decided.status.message
    assert not decided.actions
    assert plan(observed(operation, live=True), NOW).actions == (MakeJob(1),)


def test_a_job_of_an_earlier_run_of_this_name_is_told_as_such():
    earlier = raw_job(owner="an-earlier-uid")
    earlier["metadata"]["ownerReferences"][0]["kind"] = "TrainingOperation"
    decided = plan(observed(raw_operation(status=attempted()), earlier, live=True), NOW)
    assert "is left from an earlier run" in decided.status.message


@pytest.mark.parametrize(
    ("kind", "message", "phase", "reason"),
    [
        (Refused.INVALID, "podTemplate.spec.x: unknown", Phase.FAILED, Reason.INVALID_POD),
        (Refused.FORBIDDEN, "exceeded quota: jobs=1", Phase.STARTING, Reason.QUOTA_EXCEEDED),
        (Refused.FORBIDDEN, "a policy says no", Phase.STARTING, Reason.FORBIDDEN),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(kind, message, phase, reason):
    decided = starting(job=False, refusal=Refusal(kind, "Job run-a1", message, NOW))
    assert (decided.status.phase, decided.status.reason) == (phase, reason)
    assert message in decided.status.message
    assert not decided.actions


def test_what_is_forbidden_now_is_tried_again_later():
    refusal = Refusal(Refused.FORBIDDEN, "Job run-a1", "exceeded quota", NOW)
    assert starting(job=False, refusal=refusal).again_at == at(10)
    assert starting(job=False, refusal=refusal, now=at(10)).actions == (MakeJob(1),)


# On the way


def test_a_pod_that_no_node_can_take_is_told_and_waited_for():
    pod = raw_pod(node="", unschedulable="0/3 nodes are available: insufficient memory")
    decided = starting(pod)
    assert decided.status.reason == Reason.UNSCHEDULABLE
    assert "insufficient memory" in decided.status.message
    assert [note.warning for note in decided.notes] == [True]
    [quiet] = [n for n in decided.notices if n.endswith(":quiet")]
    assert starting(pod, seen=dict.fromkeys(decided.notices, NOW), now=at(3600)).status.phase is (
        Phase.STARTING
    ), quiet


@pytest.mark.parametrize(
    ("state", "reason", "patience"),
    [
        pytest.param(
            waiting("InvalidImageName", "bad"), Reason.INVALID_IMAGE_NAME, 0, id="no image's name"
        ),
        pytest.param(
            waiting("ImageNotAvailable", "none"), Reason.IMAGE_NOT_AVAILABLE, 1, id="not available"
        ),
        pytest.param(
            waiting("ImagePullBackOff", "manifest unknown"), Reason.IMAGE_PULL, 20, id="no such"
        ),
        pytest.param(
            waiting("CreateContainerConfigError", 'secret "s" not found'),
            Reason.CONFIG_NOT_FOUND,
            20,
            id="a secret is missing",
        ),
        pytest.param(
            waiting(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root (pod: run-a1-x)",
            ),
            Reason.CANNOT_START,
            1,
            id="root is not allowed",
        ),
        pytest.param(
            waiting("CreateContainerError", "no"), Reason.CANNOT_START, 30, id="cannot be created"
        ),
    ],
)
def test_what_cannot_heal_is_told_at_once_and_fails_after_a_while(state, reason, patience):
    pod = raw_pod("Pending", state)
    first = starting(pod, live=True)
    assert first.status.reason == reason
    seen = dict.fromkeys(first.notices or {""}, NOW)
    last = starting(pod, seen=seen, now=at(patience), live=True)
    assert (last.status.phase, last.status.reason) == (Phase.FAILED, reason)


def test_what_cannot_heal_fails_only_when_a_live_read_has_shown_that_it_did_not():
    pod = raw_pod("Pending", waiting("ImagePullBackOff", "manifest unknown"))
    seen = dict.fromkeys(starting(pod).notices, NOW)
    assert starting(pod, seen=seen, now=at(20)).questions == {Question.LIVE}
    healed = starting(raw_pod("Running", running()), seen=seen, now=at(20), live=True)
    assert healed.status.phase is Phase.RUNNING


def test_a_registry_that_does_not_answer_is_waited_for_but_not_for_ever():
    pod = raw_pod("Pending", waiting("ErrImagePull", "dial tcp: connection refused"))
    seen = dict.fromkeys(starting(pod).notices, NOW)
    assert starting(pod, seen=seen, now=at(599)).status.phase is Phase.STARTING
    last = starting(pod, seen=seen, now=at(600), live=True)
    assert (last.status.phase, last.status.reason) == (Phase.FAILED, Reason.IMAGE_PULL)


def test_an_image_that_does_not_exist_fails_although_the_message_alternates():
    hopeless = raw_pod("Pending", waiting("ErrImagePull", "manifest unknown"))
    backing_off = raw_pod("Pending", waiting("ImagePullBackOff", "Back-off pulling image"))
    seen = dict.fromkeys(starting(hopeless).notices, NOW)
    between = starting(backing_off, seen=seen, now=at(15))
    assert between.notices == set(seen)
    assert starting(hopeless, seen=seen, now=at(21), live=True).status.phase is Phase.FAILED


def test_a_step_that_takes_a_moment_is_not_told():
    pod = raw_pod(node="")
    operation = raw_operation(status={**attempted(), "observedGeneration": 1})
    decided = plan(observed(operation, raw_job(), [pod]), NOW)
    assert decided.status is None
    assert decided.again_at == at(1)
    [quiet] = decided.notices
    lasts = observed(operation, raw_job(), [pod], seen={quiet: NOW})
    assert "waits for the scheduler" in plan(lasts, at(1)).status.message


def test_a_pod_that_says_nothing_has_its_events_read():
    pod = raw_pod("Pending", waiting())
    first = starting(pod)
    assert not first.questions
    seen = dict.fromkeys(first.notices, NOW)
    assert starting(pod, seen=seen, now=at(5)).questions == {Question.EVENTS}
    mount = EventView("FailedMount", 'configmap "settings" not found', warning=True)
    told = starting(pod, seen=seen, now=at(5), events=(mount,))
    assert told.status.reason == Reason.CONFIG_NOT_FOUND
    assert "settings" in told.status.message
    seen = dict.fromkeys(told.notices, NOW)
    ended_so = starting(pod, seen=seen, now=at(30), events=(mount,), live=True)
    assert ended_so.status.phase is Phase.FAILED


def test_events_are_read_less_often_the_longer_it_takes():
    pod = raw_pod("Pending", waiting())
    seen = dict.fromkeys(starting(pod).notices, NOW)
    assert starting(pod, seen=seen, now=at(6), events=()).again_at == at(6 + 5)
    assert starting(pod, seen=seen, now=at(600), events=()).again_at == at(600 + 30)


def test_a_quota_that_keeps_the_pod_away_is_told():
    first = starting()
    seen = dict.fromkeys(first.notices, NOW)
    event = EventView("FailedCreate", "pods run-a1-x is forbidden: exceeded quota: tiny", True)
    decided = starting(seen=seen, now=at(5), events=(event,))
    assert (decided.status.phase, decided.status.reason) == (Phase.STARTING, Reason.QUOTA_EXCEEDED)


def test_a_pod_against_the_namespaces_security_level_is_told_and_then_fails():
    first = starting()
    seen = dict.fromkeys(first.notices, NOW)
    refused = 'pods "run-a1-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot'
    event = EventView("FailedCreate", refused, True)
    decided = starting(seen=seen, now=at(5), events=(event,))
    assert (decided.status.phase, decided.status.reason) == (Phase.STARTING, Reason.INVALID_POD)
    assert "podTemplate" in decided.status.message
    seen = dict.fromkeys(decided.notices, NOW)
    decided = starting(seen=seen, now=at(30), events=(event,), live=True)
    assert (decided.status.phase, decided.status.reason) == (Phase.FAILED, Reason.INVALID_POD)


def test_a_trainers_account_that_was_deleted_is_made_again():
    seen = dict.fromkeys(starting().notices, NOW)
    event = EventView("FailedCreate", 'serviceaccount "headway-trainer" not found', True)
    decided = starting(seen=seen, now=at(5), events=(event,))
    assert decided.actions == (MakeJob(1, account_missing=True),)


def test_a_running_trainer_makes_the_run_running_once():
    operation = raw_operation(status=attempted())
    pod = raw_pod("Running", running(), ready=True)
    decided = plan(observed(operation, raw_job(), [pod]), NOW)
    assert decided.status.phase is Phase.RUNNING
    assert decided.status.start_time == NOW
    assert decided.status.attempts[0].started == NOW
    again = raw_operation(status=decided.status.to_wire())
    assert plan(observed(again, raw_job(), [pod]), at(1)).status is None


def test_progress_alone_makes_the_controller_write_nothing():
    pod = raw_pod("Running", running(), ready=True)
    first = plan(observed(raw_operation(status=attempted()), raw_job(), [pod]), NOW)
    for step in range(3):
        status = first.status.to_wire() | {"progress": progress() | {"step": step}}
        decided = plan(observed(raw_operation(status=status), raw_job(), [pod]), at(step))
        assert decided.status is None
        assert not decided.actions


def test_a_node_that_cannot_be_reached_does_not_end_the_run():
    operation = raw_operation(status=attempted("Running", startTime=text(NOW)))
    pod = raw_pod("Running", running(), ready=False)
    assert plan(observed(operation, raw_job(), [pod]), NOW).questions == {Question.NODE}
    lost = observed(operation, raw_job(), [pod], unreachable_nodes=frozenset({NODE}))
    decided = plan(lost, NOW)
    assert (decided.status.phase, decided.status.reason) == (Phase.RUNNING, Reason.NODE_UNREACHABLE)
    ready = next(c for c in decided.status.conditions if c.type == "PodReady")
    assert ready.status == "Unknown"


def test_a_trainer_that_ended_before_its_side_containers_is_told():
    operation = raw_operation(status=attempted("Running", startTime=text(NOW)))
    pod = raw_pod("Running", ended(0), more_containers={"proxy": running()})
    decided = plan(observed(operation, raw_job(), [pod]), NOW)
    assert decided.status.phase is Phase.RUNNING
    assert "proxy still runs" in decided.status.message


def test_between_the_pods_end_and_the_jobs_nothing_is_said():
    operation = raw_operation(status=attempted("Running", startTime=text(NOW)))
    decided = plan(observed(operation, raw_job()), NOW)
    assert decided.status is None
    assert decided.again_at


# Cancel


def test_cancel_before_there_is_a_job_makes_none():
    decided = plan(observed(raw_operation(cancel=True, cancelReason="not now")), NOW)
    assert decided.status.phase is Phase.CANCELLED
    assert decided.status.cancellation.outcome is CancelOutcome.BEFORE_START
    assert decided.status.cancellation.reason == "not now"
    assert not decided.actions


def test_before_a_cancel_is_called_done_the_absence_of_job_and_pods_is_confirmed():
    decided = cancelling(job=False, live=False, status=attempted())
    assert decided.questions == {Question.LIVE}
    assert cancelling(job=False, status=attempted()).status.phase is Phase.CANCELLED


def test_a_pod_that_no_node_has_goes_with_its_job():
    decided = cancelling(raw_pod(node=""), status=attempted())
    assert decided.status.phase is Phase.CANCELLING
    assert decided.actions == (DeleteJob("run-a1", "job-1"),)


@pytest.mark.parametrize("now", [NOW, at(90)], ids=["within its grace", "past it"])
@pytest.mark.parametrize("pods", [[], [raw_pod(node="")]], ids=["no pod", "one without a node"])
def test_a_job_is_taken_back_only_when_a_live_read_shows_no_trainer(pods, now):
    """The news that its pod runs may come after the trainer's own."""
    status = attempted(**CANCELLING, progress=progress(), startTime=text(NOW))
    known = {"unreachable_nodes": frozenset[str]()}
    decided = cancelling(*pods, status=status, now=now, live=False, **known)
    assert decided.questions == {Question.LIVE}
    assert not decided.actions


def test_a_trainer_that_reports_has_its_grace_period_to_stop_by_itself():
    pod = raw_pod("Running", running())
    status = attempted("Running", progress=progress(), startTime=text(NOW))
    decided = cancelling(pod, status=status, spec={"cancelGracePeriodSeconds": 20})
    assert decided.status.phase is Phase.CANCELLING
    assert decided.status.cancellation.deadline == at(20)
    assert not decided.actions
    assert decided.again_at == at(20)


def test_a_pod_that_never_reported_gets_sigterm_at_once_with_the_whole_grace():
    pod = raw_pod("Running", running())
    spec = {"cancelGracePeriodSeconds": 20}
    assert cancelling(pod, spec=spec).questions == {Question.LOGS}
    logs = LogTail("run-a1-00001", "trainer", "epoch 3")
    decided = cancelling(pod, spec=spec, logs=logs)
    assert decided.actions == (DeletePod("run-a1-00001", "pod-1-1", 20),)
    assert decided.status.last_logs.text == "epoch 3"


def test_past_the_grace_period_the_force_is_written_down_before_it_is_used():
    pod = raw_pod("Running", running())
    status = attempted(**CANCELLING, progress=progress(), startTime=text(NOW))
    assert cancelling(pod, status=status, now=at(30)).questions == {Question.NODE}
    known = {"unreachable_nodes": frozenset()}
    assert cancelling(pod, status=status, now=at(30), **known).questions == {Question.LOGS}
    known["logs"] = LogTail("run-a1-00001", "trainer", "epoch 3")
    decided = cancelling(pod, status=status, now=at(30), **known)
    assert decided.status.cancellation.outcome is CancelOutcome.FORCED
    assert decided.status.last_logs.text == "epoch 3"
    assert decided.actions == (DeletePod("run-a1-00001", "pod-1-1", 5),)


def test_without_a_grace_period_the_request_is_written_down_before_anything_is_looked_up():
    pod = raw_pod("Running", running())
    status = attempted("Running", progress=progress(), startTime=text(NOW))
    spec = {"cancelGracePeriodSeconds": 0}
    decided = cancelling(pod, status=status, live=False, spec=spec)
    assert decided.status.phase is Phase.CANCELLING
    assert decided.status.cancellation.requested_at == NOW
    assert [note.reason for note in decided.notes] == ["CancelRequested"]
    assert not decided.questions
    assert not decided.actions
    status = {**status, **CANCELLING}
    assert cancelling(pod, status=status, spec=spec).questions == {Question.NODE}


def test_a_pod_that_is_dying_slowly_is_hurried_once_and_not_again():
    status = attempted(**CANCELLING, startTime=text(NOW))
    known = {"unreachable_nodes": frozenset(), "logs": LogTail("", "", "")}
    slow = raw_pod("Running", running(), deleting=True, grace=600)
    quick = raw_pod("Running", running(), deleting=True, grace=5)
    assert cancelling(slow, status=status, now=at(30), **known).actions
    assert not cancelling(quick, status=status, now=at(30), **known).actions


def test_a_longer_grace_period_is_granted_while_it_is_being_cancelled():
    pod = raw_pod("Running", running())
    status = attempted(**CANCELLING, progress=progress(), startTime=text(NOW))
    decided = cancelling(pod, status=status, now=at(31), spec={"cancelGracePeriodSeconds": 120})
    assert decided.status.cancellation.deadline == at(120)
    assert not decided.actions


def test_a_pod_on_a_lost_node_keeps_the_run_cancelling():
    pod = raw_pod("Running", running(), deleting=True, grace=5)
    status = attempted(**CANCELLING, progress=progress(), startTime=text(NOW))
    known = {"unreachable_nodes": frozenset({NODE}), "logs": LogTail("", "", "")}
    decided = cancelling(pod, status=status, now=at(90), **known)
    assert decided.status.phase is Phase.CANCELLING
    assert decided.status.reason == Reason.NODE_UNREACHABLE
    assert NODE in decided.status.message


def test_a_terminal_pod_is_only_called_cancelled_after_a_live_read():
    pod = raw_pod("Succeeded", ended(0))
    status = attempted(**CANCELLING, report=report("cancelled", epochsCompleted=2))
    assert cancelling(pod, status=status, live=False).questions == {Question.LIVE}
    decided = cancelling(pod, status=status)
    assert decided.status.phase is Phase.CANCELLED
    assert decided.status.cancellation.pods_gone_at == NOW
    assert decided.status.result.report.epochs_completed == 2


def test_the_job_of_a_trainer_that_ran_stays_though_its_pod_is_gone():
    counted = raw_job()
    counted["status"]["failed"] = 1
    decided = raw_job(decided="FailureTarget")
    forced = {"requestedAt": text(NOW), "outcome": "Forced"}
    begun = attempted(**CANCELLING, startTime=text(NOW))
    ended_early = attempted("Cancelled", completionTime=text(NOW), observedGeneration=1)
    for status, now in ((begun, NOW), ({**begun, "cancellation": forced}, at(31))):
        assert cancelling(status=status, now=now).actions == (DeleteJob("run-a1", "job-1"),)
        assert not cancelling(status=status, now=now, job=decided).actions
        assert not cancelling(status=status, now=now, job=counted).actions
    final = raw_operation(status=ended_early, cancel=True)
    assert not plan(observed(final, decided, live=True), NOW).actions
    over = raw_job(failed="BackoffLimitExceeded")
    assert cancelling(status=begun, job=over).status.phase is Phase.CANCELLED


def test_while_a_second_pod_lives_the_run_is_not_cancelled():
    done = raw_pod("Succeeded", ended(0))
    lives = raw_pod("Running", running(), number=2)
    decided = cancelling(done, lives, status=attempted(**CANCELLING, progress=progress()))
    assert decided.status.phase is Phase.CANCELLING


@pytest.mark.parametrize(
    "words",
    [
        pytest.param({"progress": {**progress(), "time": "2026-01-02T03:04:05+99:00"}}, id="zone"),
        pytest.param({"progress": {**progress(), "heartbeat": "0000-01-01T00:00:00Z"}}, id="year"),
        pytest.param({"report": report("success", cancelAcknowledgedAt="?")}, id="report"),
        pytest.param({"history": [{"step": 1, "time": "?"}]}, id="history"),
    ],
)
def test_a_trainer_whose_words_nobody_can_read_is_cancelled_all_the_same(words):
    status = attempted("Running", startTime=text(NOW), **words)
    decided = cancelling(raw_pod("Running", running()), status=status, logs=LogTail("", "", ""))
    assert decided.status.phase is Phase.CANCELLING
    assert decided.status.cancellation.deadline == at(30)


def test_a_requester_with_a_name_longer_than_the_receipt_takes_is_named_in_part():
    operation = raw_operation(cancel=True)
    account = f"system:serviceaccount:{'n' * 63}:{'a' * 253}"
    operation["metadata"]["annotations"] = {names.ANNOTATION_CANCEL_REQUESTED_BY: account}
    receipt = plan(observed(operation), NOW).status.cancellation
    assert receipt.requested_by == account[:253] + "..."


# After the end


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled"])
def test_a_final_phase_stays_whatever_comes(phase):
    status = attempted(phase, completionTime=text(NOW), observedGeneration=1)
    for pod in (raw_pod("Running", running()), raw_pod("Failed", ended(1))):
        decided = plan(observed(raw_operation(status=status), raw_job(), [pod]), at(5))
        assert decided.status is None or decided.status.phase == phase


def test_a_cancel_after_the_end_is_recorded_as_too_late_and_changes_nothing_else():
    status = attempted("Succeeded", completionTime=text(NOW), observedGeneration=1)
    before = observed(raw_operation(status=status, cancel=True))
    decided = plan(before, at(9))
    assert decided.status.phase is Phase.SUCCEEDED
    assert decided.status.cancellation.outcome is CancelOutcome.TOO_LATE
    assert decided.status.completion_time == NOW


def test_what_still_lives_behind_a_final_phase_is_stopped():
    status = attempted("Failed", completionTime=text(NOW), observedGeneration=1)
    pod = raw_pod("Pending", waiting("InvalidImageName"))
    before = observed(raw_operation(status=status), raw_job(), [pod])
    assert plan(before, NOW).questions == {Question.LIVE}
    decided = plan(observed(raw_operation(status=status), raw_job(), [pod], live=True), NOW)
    assert decided.actions == (DeleteJob("run-a1", "job-1"),)


def test_a_run_that_is_being_deleted_is_left_alone():
    operation = raw_operation(status=attempted("Running"))
    operation["metadata"]["deletionTimestamp"] = text(NOW)
    pod = raw_pod("Failed", ended(1))
    decided = plan(observed(operation, raw_job(), [pod]), NOW)
    assert decided.status is None
    assert not decided.actions


def test_a_failure_keeps_the_end_of_its_log():
    operation = raw_operation(status=attempted("Running", startTime=text(NOW)))
    pod = raw_pod("Failed", ended(1))
    assert plan(observed(operation, raw_job(), [pod]), NOW).questions == {Question.LIVE}
    seen = observed(operation, raw_job(), [pod], live=True)
    assert plan(seen, NOW).questions == {Question.LOGS}
    logs = LogTail("run-a1-00001", "trainer", "x" * 5000 + "the end")
    decided = plan(observed(operation, raw_job(), [pod], live=True, logs=logs), NOW)
    assert decided.status.last_logs.text.endswith("the end")
    assert len(decided.status.last_logs.text) == 4096
    assert decided.status.result.exit_code == 1
    assert decided.status.attempts[0].exit_code == 1


def test_what_may_be_long_is_not_stored_twice():
    error = {"type": "E", "message": "m", "traceback": "long"}
    long = {"artifacts": [{"name": "model", "path": "long"}], "summary": {"a": "long"}}
    claim = report("failed", error=error, **long)
    operation = raw_operation(status=attempted("Running", startTime=text(NOW), report=claim))
    pod = raw_pod("Failed", ended(1))
    snapshot = observed(operation, raw_job(), [pod], live=True, logs=LogTail("", "", ""))
    decided = plan(snapshot, NOW)
    assert decided.status.result.report.error.traceback is None
    assert "long" not in str(decided.status.result.report)
    assert decided.status.report.error.traceback == "long"


def test_what_only_a_worker_said_is_kept_whole():
    error = {"type": "E", "message": "m", "traceback": "long"}
    said = json.dumps({"headway": 1, "report": {"status": "failed", "error": error}})
    status = attempted("Running", startTime=text(NOW), report=report("interrupted"))
    pods = [
        raw_pod("Failed", ended(143, when=at(1)), number=1, index=0),
        raw_pod("Failed", ended(1, message=said), number=2, index=1),
    ]
    operation = raw_operation(status=status, type="Dummy", dummy={"iterations": 3}, workers=2)
    logs = LogTail("", "", "")
    decided = plan(observed(operation, raw_job(), pods, live=True, logs=logs), NOW)
    assert decided.status.reason == Reason.ERROR
    assert decided.status.result.report.error.traceback == "long"


# Conditions


@pytest.mark.parametrize(
    ("phase", "ready", "reconciling", "stalled"),
    [
        (Phase.STARTING, "False", "True", "False"),
        (Phase.RUNNING, "False", "True", "False"),
        (Phase.SUCCEEDED, "True", "False", "False"),
        (Phase.FAILED, "False", "False", "True"),
        (Phase.CANCELLED, "False", "False", "True"),
    ],
)
def test_conditions_say_what_kstatus_reads(phase, ready, reconciling, stalled):
    status = observed(raw_operation()).operation.status.model_copy(update={"phase": phase})
    found = {c.type: c.status for c in with_conditions(status, NOW, 1).conditions}
    assert found["Ready"] == ready
    assert found["Reconciling"] == reconciling
    assert found["Stalled"] == stalled


@pytest.mark.parametrize(
    ("phase", "told_by"), [(Phase.STARTING, "Reconciling"), (Phase.CANCELLED, "Stalled")]
)
def test_the_condition_that_kstatus_shows_carries_the_message(phase, told_by):
    status = observed(raw_operation()).operation.status
    status = status.model_copy(update={"phase": phase, "message": "Why."})
    found = {c.type: c.message for c in with_conditions(status, NOW, 1).conditions}
    assert [t for t in ("Reconciling", "Stalled") if found[t] == "Why."] == [told_by]


def test_a_condition_keeps_the_time_of_its_last_change():
    status = observed(raw_operation()).operation.status
    first = with_conditions(status.model_copy(update={"phase": Phase.RUNNING}), NOW, 1)
    later = with_conditions(first.model_copy(update={"reason": "Other"}), at(60), 1)
    assert {c.last_transition_time for c in later.conditions} == {NOW}


def test_the_same_snapshot_gives_the_same_plan():
    snapshot = observed(raw_operation(cancel=True), raw_job(), [raw_pod("Running", running())])
    assert plan(snapshot, NOW) == plan(replace(snapshot), NOW)

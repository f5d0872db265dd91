"""Runs of several workers: they begin together, and what one of them meets is told of all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from headway_api.vocabulary import Phase, Reason
from headway_operator.policies.case import DeleteJob
from headway_operator.policies.chain import plan
from headway_operator.snapshot import EventView, LogTail, Question, Signs
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
    running,
    text,
    waiting,
)

THREE = {"type": "Dummy", "dummy": {"iterations": 3}, "workers": 3}


def worker(index: int, *args: Any, **more: Any) -> dict[str, Any]:
    return raw_pod(*args, index=index, number=index + 1, **more)


def runs(index: int, **more: Any) -> dict[str, Any]:
    return worker(index, "Running", running(), ready=more.pop("ready", True), **more)


def three(status, *pods, now: datetime = NOW, job=None, signs=None, **more):
    answers = {
        k: more.pop(k)
        for k in ("events", "unreachable_nodes", "unready_nodes", "fresh", "seen", "live", "logs")
        if k in more
    }
    operation = raw_operation(status=status, **THREE, **more)
    return plan(observed(operation, job or raw_job(), pods, signs=signs, **answers), now)


def was_running(**more):
    return attempted("Running", startTime=text(NOW), activeSince=text(NOW), **more)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (worker(2, node="", unschedulable="no gpu"), Reason.UNSCHEDULABLE),
        (worker(2, "Pending", waiting("ImagePullBackOff", "not found")), Reason.IMAGE_PULL),
    ],
)
def test_until_all_of_them_run_it_is_starting_and_says_what_the_others_wait_for(missing, reason):
    decided = three(attempted(), runs(0), runs(1), missing)
    assert (decided.status.phase, decided.status.reason) == (Phase.STARTING, reason)
    assert decided.status.workers.running == 2
    assert decided.status.start_time == NOW, "what ran is not called never started"


def test_an_image_that_only_one_of_them_cannot_have_ends_the_run():
    missing = worker(2, "Pending", waiting("ErrImagePull", "not found"))
    pods = (runs(0), runs(1), missing)
    first = three(attempted(), *pods)
    seen = dict.fromkeys(first.notices, NOW)
    decided = three(first.status.to_wire(), *pods, now=at(21), seen=seen, live=True)
    assert (decided.status.phase, decided.status.reason) == (Phase.FAILED, Reason.IMAGE_PULL)


def test_a_worker_that_gets_no_pod_is_told_by_the_events_of_the_job():
    pods = (runs(0), runs(1))
    first = three(attempted(), *pods)
    seen = dict.fromkeys(first.notices, NOW)
    status = first.status.to_wire()
    assert three(status, *pods, now=at(5), seen=seen).questions == {Question.EVENTS}
    said = EventView("FailedCreate", "exceeded quota: pods", warning=True)
    decided = three(status, *pods, now=at(5), seen=seen, events=(said,))
    assert decided.status.reason == Reason.QUOTA_EXCEEDED


def test_once_all_of_them_run_it_runs_and_stays_so_when_one_has_finished():
    decided = three(attempted(), runs(0), runs(1), runs(2))
    assert decided.status.phase is Phase.RUNNING
    done = worker(1, "Succeeded", ended(0))
    later = three(decided.status.to_wire(), runs(0), done, runs(2))
    assert later.status.phase is Phase.RUNNING


def test_the_controller_that_comes_late_finds_some_at_work_and_some_done():
    decided = three(attempted(), runs(0), worker(1, "Succeeded", ended(0)), runs(2))
    assert decided.status.phase is Phase.RUNNING


@pytest.mark.parametrize(("deleting", "phase"), [(False, Phase.RUNNING), (True, Phase.RETRYING)])
def test_a_lost_node_under_any_of_them_is_told_with_its_name(deleting, phase):
    lost = runs(1, node="node-2", ready=False, deleting=deleting)
    pods = (runs(0), lost, runs(2))
    assert three(was_running(), *pods).questions == {Question.NODE}
    decided = three(was_running(), *pods, unreachable_nodes=frozenset({"node-2"}))
    assert (decided.status.phase, decided.status.reason) == (phase, Reason.NODE_UNREACHABLE)
    assert f"Node node-2 of pod {lost['metadata']['name']}" in decided.status.message


def stalls(status, *pods, **answers):
    signs = Signs(NOW, at(24), NOW)
    more = {"fresh": True, **answers}
    return three(status, *pods, now=at(25), signs=signs, progressDeadlineSeconds=20, **more)


def test_without_a_step_because_a_workers_node_is_away_it_does_not_stall():
    pods = (runs(0), runs(1, node="node-2"), runs(2))
    status = was_running(progress=progress())
    assert stalls(status, *pods).questions == {Question.NODE}
    decided = stalls(status, *pods, unready_nodes=frozenset({"node-2"}))
    assert decided.status.reason == Reason.NODE_UNREACHABLE
    assert decided.status.stop is None


def test_without_a_step_although_all_nodes_are_well_it_stalls():
    pods = (runs(0), runs(1), runs(2))
    decided = stalls(was_running(progress=progress()), *pods, unready_nodes=frozenset())
    assert decided.status.reason == Reason.PROGRESS_DEADLINE_EXCEEDED


def test_those_that_wait_for_the_others_do_not_stall():
    status = attempted("Starting", progress=progress())
    decided = stalls(status, runs(0), worker(1, node="", unschedulable="no gpu"))
    assert (decided.status.phase, decided.status.reason) == (Phase.STARTING, Reason.UNSCHEDULABLE)


def test_those_that_go_because_one_has_failed_are_not_taken_away_by_the_cluster():
    pods = (runs(0, deleting=True), worker(1, "Failed", ended(1)), runs(2, deleting=True))
    decided = three(was_running(), *pods, unreachable_nodes=frozenset())
    assert (decided.status.phase, decided.status.reason) == (Phase.RUNNING, Reason.STARTED)
    assert decided.status.message.startswith("2 of 3 workers run")


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (worker(2, "Failed", ended(137, "OOMKilled", when=at(1))), Reason.OOM_KILLED),
        (worker(2, "Failed", ended(137)), Reason.SIGNALLED),
        (worker(2, "Failed", ended(255, "Unknown", when=at(60))), Reason.DISRUPTED),
        (
            worker(2, "Failed", ended(143, when=at(30)), disrupted="EvictionByEvictionAPI"),
            Reason.DISRUPTED,
        ),
    ],
    ids=["out of memory", "killed", "on a rebooted node", "drained"],
)
def test_what_happened_to_one_worker_is_told_and_not_what_the_others_made_of_it(cause, reason):
    others = [worker(i, "Failed", ended(1, message="Connection reset by peer")) for i in (0, 1)]
    decided = three(
        was_running(), *others, cause, retryPolicy={"limit": 1}, live=True, logs=LogTail("", "", "")
    )
    assert (decided.status.phase, decided.status.reason) == (Phase.RETRYING, reason)


def test_how_the_workers_ended_stays_when_their_pods_are_gone():
    counted = {"desired": 3, "running": 0, "succeeded": 3, "failed": 0}
    decided = three(attempted("Succeeded", workers=counted), cancel=True, live=True)
    assert decided.status.cancellation
    assert decided.status.workers.to_wire() == counted


# The same attempt once more: Kueue took its pods away and started its Job again


def resumed(*pods, **more):
    status = attempted("Queued", startTime=text(NOW), progress=progress())
    operation = raw_operation(status=status, queueName="q")
    return plan(observed(operation, raw_job(), pods, **more), NOW)


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (raw_pod(node="", unschedulable="no gpu"), Reason.UNSCHEDULABLE),
        (raw_pod("Pending", waiting("ErrImagePull", "not found")), Reason.IMAGE_PULL),
        (raw_pod("Pending", waiting()), Reason.PULLING),
    ],
)
def test_started_again_by_its_queue_it_runs_when_its_pod_does(pod, reason):
    decided = resumed(pod)
    assert (decided.status.phase, decided.status.reason) == (Phase.STARTING, reason)
    assert resumed(raw_pod("Running", running())).status.phase is Phase.RUNNING


def test_started_again_by_its_queue_and_without_a_pod_yet_it_waits_no_more():
    assert resumed().status.phase is Phase.STARTING


@pytest.mark.parametrize("cancel", [None, True])
def test_a_pod_that_its_queue_took_away_is_no_end_although_the_job_was_started_again(cancel):
    status = attempted("Running", startTime=text(NOW), progress=progress())
    operation = raw_operation(status=status, queueName="q", cancel=cancel)
    pod = raw_pod("Failed", ended(143), deleting=True)
    job = raw_job()
    job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "q"
    decided = plan(observed(operation, job, [pod], live=True), NOW)
    assert not decided.actions
    assert decided.again_at
    if cancel:
        assert decided.status.phase is Phase.CANCELLING
    else:
        assert decided.status is None


@pytest.mark.parametrize(
    ("wish", "phase"), [({"suspend": True}, Phase.SUSPENDED), ({"cancel": True}, Phase.CANCELLED)]
)
def test_stopped_while_it_waits_in_its_queue_again_it_was_stopped_and_did_not_crash(wish, phase):
    status = attempted("Queued", startTime=text(NOW), progress=progress())
    job = raw_job()
    job["spec"]["suspend"] = True
    waits = plan(observed(raw_operation(status=status, **wish), job, live=True), NOW)
    assert waits.actions == (DeleteJob("run-a1", "job-1"),)
    operation = raw_operation(status=waits.status.to_wire(), **wish)
    logs = LogTail("", "", "")
    assert plan(observed(operation, None, live=True, logs=logs), at(1)).status.phase is phase


def test_a_pod_that_never_ran_on_a_node_that_is_lost_is_told():
    pod = raw_pod("Pending", waiting(), deleting=True)
    operation = raw_operation(status=attempted_again({}))
    pod["metadata"]["labels"]["headway.dev/attempt"] = "2"
    asked = plan(observed(operation, raw_job(2), [pod]), NOW)
    assert asked.questions == {Question.NODE}
    lost = observed(operation, raw_job(2), [pod], unreachable_nodes=frozenset({NODE}))
    decided = plan(lost, NOW)
    assert (decided.status.phase, decided.status.reason) == (
        Phase.STARTING,
        Reason.NODE_UNREACHABLE,
    )

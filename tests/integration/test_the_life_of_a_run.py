"""Suspended and resumed, disrupted, retried, out of time, stalled: on a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubectl import Kubectl, dummy, operation
from waiting import eventually

NO_SDK = ["sh", "-c", "trap 'exit 7' TERM; while true; do sleep 0.1; done"]
CLAIM = {"claimTemplate": {"size": "16Mi"}}
FAILS_ONCE = """
import pathlib, os, sys
marker = pathlib.Path(os.environ["HEADWAY_WORKSPACE"]) / "been-here"
if not marker.exists():
    marker.touch()
    sys.exit(4)
"""
EATS_ONCE = """
import pathlib, os, time
marker = pathlib.Path(os.environ["HEADWAY_WORKSPACE"]) / "been-here"
if not marker.exists():
    marker.touch()
    held = [bytearray(b"x" * (1 << 20)) for _ in range(400)]
    time.sleep(60)
"""
STALLS = """
import headway, time
with headway.operation() as op:
    op.progress(1, 10)
    while not op.stopped:
        time.sleep(0.05)
"""


def custom(name: str, command: list[str], **spec: Any) -> dict[str, Any]:
    return operation(name, "Custom", custom={"command": command}, **spec)


def python(name: str, code: str, **spec: Any) -> dict[str, Any]:
    return custom(name, ["python", "-c", code], **spec)


def patch(kubectl: Kubectl, name: str, **spec: Any) -> None:
    """Change the spec, as any user would."""
    kubectl("patch", "trainop", name, "--type", "merge", "-p", json.dumps({"spec": spec}))


def reasons(kubectl: Kubectl, name: str) -> list[str]:
    """The reasons of an operation's Events."""
    chosen = f"involvedObject.name={name},involvedObject.kind=TrainingOperation"
    found = json.loads(kubectl("get", "events", "--field-selector", chosen, "-o", "json"))
    return [e["reason"] for e in found["items"]]


def nothing_lives(kubectl: Kubectl, name: str) -> bool:
    """Whether every pod of a run is over."""
    return all(p["status"].get("phase") in ("Succeeded", "Failed") for p in kubectl.pods_of(name))


def test_suspended_it_holds_no_pod_and_resumed_it_goes_on_as_the_next_attempt(kubectl):
    kubectl.apply(custom("run", NO_SDK))
    kubectl.wait_for_phase("run", "Running")
    patch(kubectl, "run", suspend=True)
    status = kubectl.wait_for_phase("run", "Suspended")["status"]
    assert nothing_lives(kubectl, "run")
    assert status["attempts"][0]["reason"] == "Suspended"
    assert "activeSince" not in status
    patch(kubectl, "run", suspend=False)
    status = kubectl.wait_for_phase("run", "Running")["status"]
    assert status["attempt"] == 2
    assert [a["number"] for a in status["attempts"]] == [1, 2]
    kubectl.cancel("run")
    kubectl.wait_for_phase("run", "Cancelled")
    told = {"SuspendRequested", "Suspended", "Resumed", "CancelRequested", "Cancelled"}
    eventually(lambda: told <= set(reasons(kubectl, "run")), within=30, why="its Events")


def test_suspended_before_it_starts_it_starts_nothing_until_it_is_resumed(kubectl):
    kubectl.apply(dummy("run", iterations=1, interval=0, suspend=True))
    kubectl.wait_for_phase("run", "Suspended")
    assert not kubectl.items("jobs")
    patch(kubectl, "run", suspend=None)
    status = kubectl.wait_for_phase("run", "Succeeded")["status"]
    assert status["attempt"] == 1


def test_suspended_while_it_waits_for_a_node_it_starts_once_it_is_resumed(kubectl):
    kubectl.apply(custom("run", NO_SDK, podTemplate={"spec": {"nodeSelector": {"no": "node"}}}))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("reason") == "Unschedulable")
    patch(kubectl, "run", suspend=True)
    kubectl.wait_for_phase("run", "Suspended")
    assert not kubectl.pods_of("run")
    patch(kubectl, "run", suspend=False)
    kubectl.wait_for("run", lambda o: o["status"]["attempt"] == 2)
    kubectl.wait_for("run", lambda o: o["status"]["reason"] == "Unschedulable")


def test_a_cancel_of_a_suspended_run_ends_it(kubectl):
    kubectl.apply(custom("run", NO_SDK))
    kubectl.wait_for_phase("run", "Running")
    patch(kubectl, "run", suspend=True)
    kubectl.wait_for_phase("run", "Suspended")
    kubectl.cancel("run", cancelReason="no longer needed")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["cancellation"]["podsGoneAt"]
    assert status["attempt"] == 1


def test_a_pod_deleted_by_hand_restarts_its_run_without_spending_a_retry(kubectl):
    kubectl.apply(custom("run", NO_SDK))
    kubectl.wait_for_phase("run", "Running")
    [pod] = kubectl.pods_of("run")
    kubectl("delete", "pod", pod["metadata"]["name"])
    status = kubectl.wait_for(
        "run", lambda o: o["status"]["attempt"] == 2 and o["status"]["phase"] == "Running"
    )["status"]
    assert status["attempts"][0]["reason"] == "Disrupted"
    assert "was deleted" in status["attempts"][0]["message"]
    assert status["disruptions"] == 1
    assert "retries" not in status


def test_a_failure_is_retried_and_told(kubectl):
    spec = {"storage": CLAIM, "retryPolicy": {"limit": 2, "backoffSeconds": 1}}
    kubectl.apply(python("run", FAILS_ONCE, **spec))
    status = kubectl.wait_for_phase("run", "Succeeded")["status"]
    assert status["retries"] == 1
    assert [(a["reason"], a["exitCode"]) for a in status["attempts"]] == [
        ("Error", 4),
        ("Completed", 0),
    ]
    eventually(lambda: "Restarted" in reasons(kubectl, "run"), within=30, why="its Events")


def test_without_retries_left_it_has_failed_with_the_last_exit_code(kubectl):
    spec = {"retryPolicy": {"limit": 1, "backoffSeconds": 0}}
    kubectl.apply(python("run", "raise SystemExit(5)", **spec))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert (status["retries"], status["attempt"]) == (1, 2)
    assert status["result"]["exitCode"] == 5


def test_out_of_memory_is_named_with_its_limit_and_retried(kubectl):
    spec = {"storage": CLAIM, "retryPolicy": {"limit": 1, "backoffSeconds": 0}}
    resources = {"limits": {"memory": "128Mi"}}
    kubectl.apply(python("run", EATS_ONCE, resources=resources, **spec))
    status = kubectl.wait_for_phase("run", "Succeeded")["status"]
    first = status["attempts"][0]
    assert first["reason"] == "OOMKilled"
    assert "128Mi" in first["message"]


def test_past_its_active_deadline_it_has_failed_and_is_not_retried(kubectl):
    spec = {"activeDeadlineSeconds": 3, "retryPolicy": {"limit": 3}}
    kubectl.apply(custom("run", NO_SDK, **spec))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert status["reason"] == "DeadlineExceeded"
    assert status["attempt"] == 1
    assert status["activeSeconds"] >= 3
    assert nothing_lives(kubectl, "run")


def test_a_deadline_that_is_taken_away_while_it_runs_lets_it_run(kubectl):
    kubectl.apply(dummy("run", iterations=70, interval=0.25, activeDeadlineSeconds=15))
    kubectl.wait_for_phase("run", "Running")
    patch(kubectl, "run", activeDeadlineSeconds=None)
    status = kubectl.wait_for_phase("run", "Succeeded", within=90)["status"]
    assert status["activeSeconds"] > 15


@pytest.mark.slow
def test_a_trainer_that_makes_no_step_is_stopped_as_stalled(kubectl):
    kubectl.apply(python("run", STALLS, progressDeadlineSeconds=10))
    kubectl.wait_for_phase("run", "Running")
    status = kubectl.wait_for_phase("run", "Failed", within=180)["status"]
    assert status["reason"] == "ProgressDeadlineExceeded"
    found = {c["type"]: c["status"] for c in status["conditions"]}
    assert found["Progressing"] == "False"


def test_what_a_finished_run_left_is_removed_in_time_and_its_story_stays(kubectl):
    kubectl.apply(dummy("run", iterations=1, interval=0))
    before = kubectl.wait_for_phase("run", "Succeeded")["status"]
    assert kubectl.items("jobs")
    patch(kubectl, "run", ttlSecondsAfterFinished=0)
    eventually(lambda: not kubectl.items("jobs"), within=60, why="its Job is gone")
    eventually(lambda: not kubectl.pods_of("run"), within=60, why="its pod is gone")
    after = kubectl.operation("run")["status"]
    assert (after["phase"], after["report"]) == (before["phase"], before["report"])


def test_held_back_and_let_go_again_while_its_pod_still_ends_it_goes_on_as_the_same_attempt(
    kubectl,
):
    """As when a queue finds room again before the preempted pod is gone."""
    slow = ["sh", "-c", "trap 'sleep 3; exit 7' TERM; while true; do sleep 0.1; done"]
    kubectl.apply(custom("run", slow, queueName="of-nobody"))
    kubectl.wait_for_phase("run", "Queued")
    kubectl("patch", "job", "run-a1", "-p", '{"spec":{"suspend":false}}')
    kubectl.wait_for_phase("run", "Running")
    [first] = kubectl.pods_of("run")
    kubectl("patch", "job", "run-a1", "-p", '{"spec":{"suspend":true}}')
    eventually(
        lambda: "deletionTimestamp" in kubectl.pods_of("run")[0]["metadata"],
        within=60,
        why="its pod is taken away",
    )
    kubectl("patch", "job", "run-a1", "-p", '{"spec":{"suspend":false}}')

    def another_one_runs() -> bool:
        alive = [p for p in kubectl.pods_of("run") if p["status"]["phase"] == "Running"]
        return [p["metadata"]["uid"] for p in alive] not in ([], [first["metadata"]["uid"]])

    eventually(another_one_runs, within=90, why="another pod takes its place")
    status = kubectl.wait_for_phase("run", "Running")["status"]
    assert (status["attempt"], status.get("disruptions")) == (1, None)
    assert [a.get("reason") for a in status["attempts"]] == [None]
    kubectl.cancel("run")
    kubectl.wait_for_phase("run", "Cancelled")

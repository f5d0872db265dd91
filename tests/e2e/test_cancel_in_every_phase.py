"""A cancel that comes before the start, on the way, in the middle, too late."""

from __future__ import annotations

from datetime import datetime

from given_cluster import GivenCluster
from kubectl import Kubectl, dummy, operation
from operators import operator_away
from side_containers import side_container
from waiting import eventually

STUBBORN = """
import headway, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with headway.operation() as op:
    op.progress(1, 2)
    while True:
        time.sleep(0.1)
"""


def cancelled_before_the_start(kubectl: Kubectl, name: str) -> None:
    kubectl.cancel(name)
    status = kubectl.wait_for_phase(name, "Cancelled", within=60)["status"]
    assert status["cancellation"]["outcome"] == "BeforeStart"
    assert "startTime" not in status
    for pod in kubectl.pods_of(name):  # terminal at most, and never with a trainer that ran
        assert pod["status"]["phase"] == "Failed"
        states = [c["state"] for c in pod["status"].get("containerStatuses", ())]
        assert not any((s.get("terminated") or {}).get("startedAt") for s in states)


def test_before_the_operator_acts(cluster: GivenCluster, kubectl):
    with operator_away(cluster.kubectl):
        kubectl.apply(dummy("run"))
        kubectl.cancel("run")
        assert "phase" not in kubectl.operation("run")["status"]
    status = kubectl.wait_for_phase("run", "Cancelled", within=90)["status"]
    assert status["cancellation"]["outcome"] == "BeforeStart"
    assert not kubectl.items("jobs")
    assert not kubectl.items("pods")


def test_while_no_node_can_take_it(kubectl):
    kubectl.apply(dummy("run", resources={"requests": {"cpu": "4000"}}))
    status = kubectl.told("run", "Unschedulable")
    assert status["phase"] == "Starting"
    cancelled_before_the_start(kubectl, "run")
    eventually(lambda: not kubectl.items("pods"), within=30, why="its pod is gone")


def test_while_its_image_cannot_be_pulled(kubectl):
    kubectl.apply(dummy("run", image="registry.invalid/team/trainer:1"))
    assert kubectl.told("run", "ImagePull")["phase"] == "Starting"
    cancelled_before_the_start(kubectl, "run")


def test_in_an_init_container(kubectl, without_the_sdk):
    waits = "trap 'exit 1' TERM; while :; do sleep 0.1; done"
    init = side_container("fetch", without_the_sdk, waits)
    run = operation(
        "run",
        "Custom",
        image=without_the_sdk,
        custom={"command": ["sh", "-c", "echo the trainer ran"]},
        podTemplate={"spec": {"initContainers": [init]}},
    )
    kubectl.apply(run)

    def initialising() -> bool:
        return any(
            "running" in c["state"]
            for p in kubectl.pods_of("run")
            for c in p["status"].get("initContainerStatuses", ())
        )

    eventually(initialising, within=60, why="the init container runs")
    assert kubectl.phase("run") == "Starting"
    cancelled_before_the_start(kubectl, "run")


def test_while_it_runs_and_listens(kubectl):
    kubectl.apply(dummy("run", iterations=1000, interval=0.2))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    kubectl.cancel("run", cancelReason="enough")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["cancellation"]["reason"] == "enough"
    assert {"requestedAt", "acknowledgedAt", "podsGoneAt"} <= set(status["cancellation"])
    assert status["report"]["status"] == "cancelled"


def test_while_it_runs_and_never_reported(kubectl, without_the_sdk):
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    kubectl.apply(
        operation("run", "Custom", image=without_the_sdk, custom={"command": ["sh", "-c", script]})
    )
    kubectl.wait_for_phase("run", "Running")
    [pod] = kubectl.pods_of("run")
    name = pod["metadata"]["name"]
    eventually(lambda: "ready" in kubectl("logs", name), within=60, why="it would notice")
    kubectl.cancel("run")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["result"]["exitCode"] == 7


def test_while_it_runs_and_does_not_listen(kubectl):
    kubectl.apply(
        operation(
            "run",
            "Custom",
            custom={"command": ["python", "-c", STUBBORN]},
            cancelGracePeriodSeconds=2,
        )
    )
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    kubectl.cancel("run")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    receipt = status["cancellation"]
    assert receipt["outcome"] == "Forced"
    assert datetime.fromisoformat(receipt["podsGoneAt"]) >= datetime.fromisoformat(
        receipt["deadline"]
    )
    assert all(p["status"]["phase"] in ("Succeeded", "Failed") for p in kubectl.pods_of("run"))


def test_after_its_end(kubectl):
    kubectl.apply(dummy("run", iterations=1, interval=0))
    before = kubectl.wait_for_phase("run", "Succeeded")["status"]
    kubectl.cancel("run")
    after = kubectl.wait_for("run", lambda o: o["status"].get("cancellation"))["status"]
    assert after["phase"] == "Succeeded"
    assert after["cancellation"]["outcome"] == "TooLate"
    assert after["completionTime"] == before["completionTime"]

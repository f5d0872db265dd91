"""Runs in a queue of Kueue itself: admitted, waiting, preempted, and going on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clusters import Cluster, temporary_cluster
from kubectl import Kubectl, dummy
from kueue_manager import QUEUE, kueue_on, queues
from namespaces import own_namespace
from waiting import eventually

ONE_CPU = {"requests": {"cpu": "1"}}
SHARED = {
    "storage": {"existingClaim": {"claimName": "data"}},
    "checkpoint": {"everySeconds": 1},
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "16Mi"}},
    },
}
URGENT = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "urgent"},
    "value": 1000,
    "preemptionPolicy": "Never",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Kubectl]]:
    """A cluster with Headway and Kueue, and a queue for one run at a time."""
    with temporary_cluster() as cluster:
        cluster.install()
        log = tmp_path_factory.mktemp("kueue") / "kueue.log"
        with kueue_on(cluster, log), own_namespace(cluster.kubectl, "kueue") as kubectl:
            kubectl.apply(*queues(kubectl.namespace, cpu="1"), URGENT, CLAIM)
            eventually(lambda: is_active(kubectl), within=60, why="the queue is open")
            yield cluster, kubectl


def is_active(kubectl: Kubectl) -> bool:
    conditions = kubectl.get("clusterqueue", "team").get("status", {}).get("conditions") or ()
    return any(c["type"] == "Active" and c["status"] == "True" for c in conditions)


def queued(name: str, iterations: int, **spec: Any) -> dict[str, Any]:
    """A dummy in the queue, of which one at a time has room."""
    return dummy(
        name, iterations=iterations, interval=0.2, queueName=QUEUE, resources=ONE_CPU, **spec
    )


def step(at_least: int):
    return lambda o: o.get("status", {}).get("progress", {}).get("step", 0) >= at_least


def test_one_runs_and_the_other_waits_until_there_is_room(place):
    _, kubectl = place
    kubectl.apply(queued("first", 1000))
    kubectl.wait_for_phase("first", "Running", within=90)
    kubectl.apply(queued("second", 2))
    status = kubectl.wait_for_phase("second", "Queued")["status"]
    assert QUEUE in status["message"]
    assert "activeSince" not in status
    assert kubectl.phase("first") == "Running"
    kubectl.cancel("first")
    kubectl.wait_for_phase("first", "Cancelled", within=90)
    kubectl.wait_for_phase("second", "Succeeded", within=90)


def test_a_cancel_in_the_queue_ends_it_and_gives_its_place_up(place):
    _, kubectl = place
    kubectl.apply(queued("holds", 1000))
    kubectl.wait_for_phase("holds", "Running", within=90)
    kubectl.apply(queued("waits", 1))
    kubectl.wait_for_phase("waits", "Queued")
    kubectl.cancel("waits")
    receipt = kubectl.wait_for_phase("waits", "Cancelled")["status"]["cancellation"]
    assert receipt["outcome"] == "BeforeStart"
    kubectl.cancel("holds")
    kubectl.wait_for_phase("holds", "Cancelled")
    kubectl.apply(queued("next", 1))
    kubectl.wait_for_phase("next", "Succeeded", within=90)


@pytest.mark.slow
def test_preempted_it_waits_again_and_goes_on_from_its_checkpoint_as_the_same_attempt(place):
    cluster, kubectl = place
    kubectl.apply(queued("modest", 100, **SHARED))
    kubectl.wait_for("modest", step(20), within=90)
    urgent = queued("urgent", 5, podTemplate={"spec": {"priorityClassName": "urgent"}})
    kubectl.apply(urgent)
    status = kubectl.wait_for_phase("modest", "Queued", within=90)["status"]
    assert "again" in status["message"]
    reached, spoken = (status["progress"][word] for word in ("step", "sequence"))
    kept = status["report"]["checkpoint"]["step"]
    assert kept >= reached - 1
    kubectl.wait_for_phase("urgent", "Succeeded", within=90)
    again = kubectl.wait_for("modest", lambda o: o["status"]["progress"]["sequence"] > spoken)
    assert again["status"]["progress"]["step"] >= kept, "it goes on where it was"
    status = kubectl.wait_for_phase("modest", "Succeeded", within=90)["status"]
    assert status["attempt"] == 1
    assert (status.get("retries"), status.get("disruptions")) == (None, None)
    assert status["report"]["iterationsCompleted"] == 100
    refused = [
        line
        for line in cluster.audit.read_text().splitlines()
        if '"code":422' in line.replace(" ", "") and "modest/status" in line
    ]
    assert not refused, "an update was refused"

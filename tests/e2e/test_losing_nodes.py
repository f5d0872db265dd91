"""Nodes that are drained, rebooted and lost under running trainings.

The lost node takes longest until anybody notices: its power is cut when the module begins, right
after the other one's reboot, and what became of its runs is looked at last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from given_cluster import RESTRICTED, GivenCluster, on_node
from kubectl import Kubectl, dummy
from namespaces import own_namespace
from waiting import eventually

pytestmark = pytest.mark.timeout(500)

NOTICED_WITHIN = 150
"""Seconds until a control plane calls a node unreachable; 50 by default."""


def endless(name: str, node: str, **spec) -> dict:
    return dummy(name, iterations=100000, interval=0.5, podTemplate=on_node(node), **spec)


def runs(kubectl: Kubectl, name: str) -> None:
    kubectl.wait_for(name, lambda o: o.get("status", {}).get("progress"))
    kubectl.wait_for_phase(name, "Running")


def is_ready(cluster: GivenCluster, node: str) -> bool:
    found = cluster.kubectl().get("node", node)
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in found["status"]["conditions"]
    )


def back(cluster: GivenCluster, node: str) -> None:
    """Give a node power, wait for it, and let it take pods."""
    if not cluster.machines.is_up(node):
        cluster.machines.power(node)
    eventually(lambda: is_ready(cluster, node), within=180, why=f"{node} is back", every=1)
    cluster.kubectl()("uncordon", node)


@dataclass(frozen=True)
class Lost:
    """Runs on nodes that something happened to."""

    kubectl: Kubectl
    rebooted: str
    lost: str


@pytest.fixture(scope="module", autouse=True)
def lost(cluster: GivenCluster) -> Iterator[Lost]:
    """One node is rebooted under a run, and another loses its power under two."""
    _, rebooted, dark = cluster.workers[:3]
    with own_namespace(cluster.kubectl, "lost", RESTRICTED) as kubectl:
        try:
            kubectl.apply(
                endless("rebooted", rebooted),
                endless("lost", dark),
                endless("lost-and-cancelled", dark, cancelGracePeriodSeconds=2),
            )
            for name in ("rebooted", "lost", "lost-and-cancelled"):
                runs(kubectl, name)
            for node in (rebooted, dark):
                kubectl("cordon", node)  # nothing of another test may land there meanwhile
            cluster.machines.reboot(rebooted)
            cluster.machines.cut(dark)
            yield Lost(kubectl, rebooted, dark)
        finally:
            for node in (rebooted, dark):
                back(cluster, node)


def test_a_drained_node_interrupts_its_run_and_that_is_told(cluster: GivenCluster, kubectl):
    node = cluster.workers[0]
    kubectl.apply(endless("run", node))
    runs(kubectl, "run")
    try:
        kubectl(
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=90s",
            "--pod-selector=headway.dev/operation=run",
        )
        status = kubectl.wait_for_phase("run", "Failed")["status"]
    finally:
        kubectl("uncordon", node)
    assert status["reason"] == "Disrupted"
    assert "EvictionByEvictionAPI" in status["message"] or "evict" in status["message"].lower()
    assert status["report"]["status"] == "interrupted"
    assert status["result"]["exitCode"] in (None, 143)


def test_a_node_that_reboots_under_a_run_is_told_as_a_disruption(cluster: GivenCluster, lost: Lost):
    status = lost.kubectl.wait_for_phase("rebooted", "Failed", within=180)["status"]
    assert status["reason"] == "Disrupted"
    assert lost.rebooted in status["message"]
    assert len(lost.kubectl.pods_of("rebooted")) <= 1


def test_a_rebooted_node_takes_runs_again(cluster: GivenCluster, kubectl, lost: Lost):
    back(cluster, lost.rebooted)
    kubectl.apply(dummy("run", iterations=2, interval=0.1, podTemplate=on_node(lost.rebooted)))
    kubectl.wait_for_phase("run", "Succeeded", within=90)


def test_a_run_on_a_lost_node_is_not_called_failed(lost: Lost):
    found = lost.kubectl.wait_for(
        "lost",
        lambda o: o["status"].get("reason") == "NodeUnreachable",
        within=NOTICED_WITHIN,
    )
    status = found["status"]
    assert status["phase"] == "Running"
    assert lost.lost in status["message"]
    ready = next(c for c in status["conditions"] if c["type"] == "PodReady")
    assert ready["status"] == "Unknown"


def test_a_cancelled_run_on_a_lost_node_is_cancelling_until_its_pod_is_gone(
    cluster: GivenCluster, lost: Lost
):
    """And what comes out, once the Node object is deleted, is true of both runs."""
    lost.kubectl.cancel("lost-and-cancelled")
    found = lost.kubectl.wait_for(
        "lost-and-cancelled",
        lambda o: o["status"].get("reason") == "NodeUnreachable",
        within=NOTICED_WITHIN,
    )
    assert found["status"]["phase"] == "Cancelling"
    assert lost.lost in found["status"]["message"]
    [pod] = lost.kubectl.pods_of("lost-and-cancelled")
    assert pod["status"]["phase"] == "Running"

    lost.kubectl("delete", "node", lost.lost)
    cancelled = lost.kubectl.wait_for_phase("lost-and-cancelled", "Cancelled", within=180)["status"]
    assert cancelled["cancellation"]["outcome"] == "Forced"
    assert not [
        p for p in lost.kubectl.pods_of("lost-and-cancelled") if p["status"]["phase"] == "Running"
    ]
    failed = lost.kubectl.wait_for_phase("lost", "Failed", within=180)["status"]
    assert failed["reason"] == "Disrupted"

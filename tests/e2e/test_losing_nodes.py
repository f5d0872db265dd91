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


SHARED = {
    "storage": {"existingClaim": {"claimName": "shared"}},
    "checkpoint": {"everySeconds": 1},
}
"""A workspace that every node has, and a checkpoint every second."""


def endless(name: str, template: dict, **spec) -> dict:
    return dummy(name, iterations=100000, interval=0.5, podTemplate=template, **spec)


def rather_on(node: str) -> dict:
    """A podTemplate for a run on a node while that is there, and elsewhere when it is not."""
    wanted = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    preferred = {"weight": 100, "preference": {"matchExpressions": [wanted]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
    return {"spec": {"affinity": affinity}}


def went_on(kubectl: Kubectl, name: str, within: float = 120) -> dict:
    """The status of a run whose first attempt was disrupted, once the next has made a step.

    It goes on from the first one's checkpoint, and no retry is spent.
    """

    def condition(run: dict) -> bool:
        progress = run["status"].get("progress", {})
        return progress.get("attempt") == 2 and progress.get("step") is not None

    status = kubectl.wait_for(name, condition, within=within)["status"]
    first = status["attempts"][0]
    assert first["reason"] == "Disrupted"
    assert "/a1/" in first["checkpoint"]
    assert (status["disruptions"], status.get("retries")) == (1, None)
    assert status["progress"]["step"] >= 4, "it began anew"
    return status


def runs(kubectl: Kubectl, name: str) -> None:
    kubectl.wait_for(name, lambda o: o.get("status", {}).get("progress"))
    kubectl.wait_for_phase(name, "Running")


def with_a_checkpoint(run: dict) -> bool:
    kept = run["status"].get("report", {}).get("checkpoint", {})
    return kept.get("step", 0) >= 4


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
    with (
        own_namespace(cluster.kubectl, "lost", RESTRICTED) as kubectl,
        cluster.shared_claim(kubectl, "shared"),
    ):
        try:
            kubectl.apply(
                endless("rebooted", on_node(rebooted), **SHARED),
                endless("lost", rather_on(dark), **SHARED),
                endless("lost-and-cancelled", on_node(dark), cancelGracePeriodSeconds=2),
            )
            for name in ("rebooted", "lost", "lost-and-cancelled"):
                runs(kubectl, name)
            for name in ("rebooted", "lost"):
                kubectl.wait_for(name, with_a_checkpoint)
            for node in (rebooted, dark):
                kubectl("cordon", node)  # nothing of another test may land there meanwhile
            cluster.machines.reboot(rebooted)
            cluster.machines.cut(dark)
            yield Lost(kubectl, rebooted, dark)
        finally:
            for node in (rebooted, dark):
                back(cluster, node)


def test_a_drained_node_interrupts_its_run_which_goes_on_from_its_checkpoint(
    cluster: GivenCluster, kubectl
):
    node = cluster.workers[0]
    with cluster.shared_claim(kubectl, "shared"):
        kubectl.apply(endless("run", on_node(node), **SHARED))
        runs(kubectl, "run")
        kubectl.wait_for("run", with_a_checkpoint)
        drain(kubectl, node)
        status = went_on(kubectl, "run")
        assert "vict" in status["attempts"][0]["message"]
        kubectl.cancel("run")
        kubectl.wait_for_phase("run", "Cancelled")


def drain(kubectl: Kubectl, node: str) -> None:
    """Drain a node of the run, and let it take pods again once that has happened."""
    try:
        kubectl(
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=90s",
            "--pod-selector=headway.dev/operation=run",
        )
        status = kubectl.wait_for("run", lambda o: o["status"]["attempts"][0].get("ended"))
        assert status["status"]["attempts"][0]["exitCode"] == 143
    finally:
        kubectl("uncordon", node)


def test_a_node_that_reboots_under_a_run_is_told_as_a_disruption(cluster: GivenCluster, lost: Lost):
    status = lost.kubectl.wait_for(
        "rebooted", lambda o: o["status"]["attempts"][0].get("ended"), within=180
    )["status"]
    assert status["attempts"][0]["reason"] == "Disrupted"
    assert lost.rebooted in status["attempts"][0]["message"]


def test_on_the_rebooted_node_the_run_goes_on_from_its_checkpoint(
    cluster: GivenCluster, lost: Lost
):
    back(cluster, lost.rebooted)
    went_on(lost.kubectl, "rebooted")
    lost.kubectl.cancel("rebooted")
    lost.kubectl.wait_for_phase("rebooted", "Cancelled")


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
        lambda o: (
            o["status"]["phase"] != "Running" and o["status"].get("reason") == "NodeUnreachable"
        ),
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
    went_on(lost.kubectl, "lost", within=180)
    alive = [p for p in lost.kubectl.pods_of("lost") if p["status"]["phase"] == "Running"]
    assert lost.lost not in [p["spec"]["nodeName"] for p in alive]
    lost.kubectl.cancel("lost")
    lost.kubectl.wait_for_phase("lost", "Cancelled")

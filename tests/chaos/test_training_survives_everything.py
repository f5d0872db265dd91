"""A training that was suspended, killed, evicted, deleted and lost with its node gives the same
weights, bit for bit, as one that nobody disturbed; for each kind of model.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from clusters import OPERATOR_NAMESPACE, Cluster, temporary_cluster
from disturbances import (
    EPOCHS,
    WITHIN,
    disturb,
    in_epoch,
    kill_processes_of,
    load,
    pod_of,
    training,
)
from kubectl import Kubectl
from namespaces import own_namespace
from waiting import eventually


@pytest.fixture
def place() -> Iterator[tuple[Cluster, Kubectl]]:
    """A cluster of this test's own, whose node may be lost, with market data in a claim."""
    with temporary_cluster() as cluster:
        cluster.install()
        with own_namespace(cluster.kubectl, "survives") as kubectl:
            load(kubectl)
            yield cluster, kubectl


def lose_the_node(cluster: Cluster, runs: Kubectl) -> None:
    """It goes off with all that runs there; the cluster takes its Node and then its pods away."""
    agent = cluster.local.node()
    agent.kill()
    kill_processes_of(*(pod_of(runs, kind) for kind in EPOCHS))
    cluster.operator().kill()
    kubectl = cluster.kubectl(OPERATOR_NAMESPACE)
    [node] = [n["metadata"]["name"] for n in kubectl.items("nodes")]
    kubectl("delete", "node", node)
    eventually(
        lambda: not [p for p in kubectl.items("pods") if p["status"].get("phase") == "Running"],
        within=WITHIN,
        why="the pods of the lost node are gone",
        every=1,
    )
    agent.start()


@pytest.mark.timeout(1800)
def test_interrupted_five_times_every_kind_of_model_ends_with_the_same_weights(place):
    cluster, kubectl = place
    kubectl.apply(*(training(f"{kind}-alone", kind) for kind in EPOCHS))
    alone = {k: kubectl.wait_for_phase(f"{k}-alone", "Succeeded", within=WITHIN) for k in EPOCHS}
    kubectl.apply(*(training(kind, kind) for kind in EPOCHS))
    for kind in EPOCHS:
        in_epoch(kubectl, kind, 1, 1)
    lose_the_node(cluster, kubectl)
    with ThreadPoolExecutor(len(EPOCHS)) as pool:
        list(pool.map(lambda kind: disturb(kubectl, kind, EPOCHS[kind], 2), EPOCHS))
    for kind in EPOCHS:
        status = kubectl.wait_for_phase(kind, "Succeeded", within=WITHIN)["status"]
        assert status["attempt"] == 6, status["attempts"]
        ends = [a["reason"] for a in status["attempts"]]
        assert sorted(ends[1:]) == ["Completed", "Disrupted", "Disrupted", "Signalled", "Suspended"]
        assert status["retries"] == 1
        summary, wanted = status["report"]["summary"], alone[kind]["status"]["report"]["summary"]
        assert summary["weights_sha256"] == wanted["weights_sha256"]
        print(f"{kind}: {summary['weights_sha256']}, as undisturbed; ends: {ends}")

"""A training that was suspended, killed, evicted, deleted and lost with its node gives the same
weights, bit for bit, as one that nobody disturbed; for each kind of model.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from clusters import OPERATOR_NAMESPACE, Cluster, temporary_cluster
from kubectl import Kubectl, operation
from namespaces import own_namespace
from waiting import eventually

MARKET = {"symbols": ["AAPL", "MSFT"], "timeframes": ["1d"]}
DATES = {"startDate": "2008-01-01", "endDate": "2013-03-01"}
EPOCHS = {"mlp": 60, "cnn": 40, "lstm": 24, "gru": 24}
CLAIM = {"existingClaim": {"claimName": "market-data"}}
WITHIN = 300.0


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Cluster, Kubectl]]:
    """A cluster of this test's own, whose node may be lost, with market data in a claim."""
    with temporary_cluster() as cluster:
        cluster.install()
        with own_namespace(cluster.kubectl, "survives") as kubectl:
            load(kubectl)
            yield cluster, kubectl


def load(kubectl: Kubectl) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "market-data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "100Mi"}},
        },
    }
    wanted = {**MARKET, **DATES, "mode": "full", "provider": "sample"}
    kubectl.apply(claim, operation("load", "DataLoad", dataLoad=wanted, storage=CLAIM))
    kubectl.wait_for_phase("load", "Succeeded", within=WITHIN)


def training(name: str, kind: str) -> dict[str, Any]:
    strategy = {
        "name": "survives",
        "indicators": [{"name": "rsi", "parameters": {"length": 14}}, {"name": "macd"}],
        "labels": {"threshold": 0.05, "horizon": 20},
        "model": {"type": kind, "hiddenSizes": [8], "sequenceLength": 8, "dropout": 0.2},
        "training": {"epochs": EPOCHS[kind], "batchSize": 16, "seed": 11, "scheduler": "cosine"},
    }
    return operation(
        name,
        "Training",
        training={**MARKET, **DATES, "strategy": {"inline": strategy}},
        storage=CLAIM,
        checkpoint={"everyEpochs": 1, "keep": 2},
        retryPolicy={"limit": 3, "backoffSeconds": 0},
    )


def in_epoch(kubectl: Kubectl, name: str, epoch: int, attempt: int) -> None:
    """Wait until an attempt of a run trains in that epoch or a later one."""

    def trains(run: dict[str, Any]) -> bool:
        progress = run["status"].get("progress", {})
        reached = progress.get("context", {}).get("current_epoch", 0)
        return progress.get("attempt") == attempt and reached >= epoch

    kubectl.wait_for(name, trains, within=WITHIN, why=f"{name} trains in epoch {epoch}")


def pod_of(kubectl: Kubectl, name: str) -> str:
    """The pod of a run that lives."""
    alive = [p for p in kubectl.pods_of(name) if p["status"].get("phase") == "Running"]
    return str(alive[0]["metadata"]["name"])


def suspend(kubectl: Kubectl, name: str) -> None:
    for wanted, phase in ((True, "Suspended"), (False, "Running")):
        patch = json.dumps({"spec": {"suspend": wanted}})
        kubectl("patch", "trainop", name, "--type=merge", "-p", patch)
        kubectl.wait_for_phase(name, phase, within=WITHIN)


def kill(kubectl: Kubectl, name: str) -> None:
    """SIGKILL the trainer's process, as the kernel would."""
    pod = pod_of(kubectl, name)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HEADWAY_POD_NAME") == pod:
                process.kill()


def evict(kubectl: Kubectl, name: str) -> None:
    pod = pod_of(kubectl, name)
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": kubectl.namespace},
    }
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def delete(kubectl: Kubectl, name: str) -> None:
    kubectl("delete", "pod", pod_of(kubectl, name), "--wait=false")


def lose_the_node(cluster: Cluster) -> None:
    """Its agent dies, and the cluster takes its Node and then its pods for lost."""
    agent = cluster.local.node()
    agent.kill()
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


WAYS: list[Callable[[Kubectl, str], None]] = [suspend, kill, evict, delete]


def disturb(kubectl: Kubectl, kind: str) -> None:
    """Four interruptions at random points, in random order; the fifth was the node's loss."""
    chance = random.Random(kind)
    ways = chance.sample(WAYS, len(WAYS))
    last = EPOCHS[kind] - 2
    points = sorted(chance.sample(range(last // 4, last), len(ways)))
    print(f"{kind}: {[(w.__name__, p) for w, p in zip(ways, points, strict=True)]}")
    for attempt, (way, point) in enumerate(zip(ways, points, strict=True), 2):
        in_epoch(kubectl, kind, point, attempt)
        way(kubectl, kind)


def test_interrupted_five_times_every_kind_of_model_ends_with_the_same_weights(place):
    cluster, kubectl = place
    kubectl.apply(*(training(f"{kind}-alone", kind) for kind in EPOCHS))
    alone = {k: kubectl.wait_for_phase(f"{k}-alone", "Succeeded", within=WITHIN) for k in EPOCHS}
    kubectl.apply(*(training(kind, kind) for kind in EPOCHS))
    for kind in EPOCHS:
        in_epoch(kubectl, kind, 1, 1)
    lose_the_node(cluster)
    with ThreadPoolExecutor(len(EPOCHS)) as pool:
        list(pool.map(lambda kind: disturb(kubectl, kind), EPOCHS))
    for kind in EPOCHS:
        status = kubectl.wait_for_phase(kind, "Succeeded", within=WITHIN)["status"]
        assert status["attempt"] == 6, status["attempts"]
        ends = [a["reason"] for a in status["attempts"]]
        assert sorted(ends[1:]) == ["Completed", "Disrupted", "Disrupted", "Signalled", "Suspended"]
        assert status["retries"] == 1
        summary, wanted = status["report"]["summary"], alone[kind]["status"]["report"]["summary"]
        assert summary["weights_sha256"] == wanted["weights_sha256"]
        assert summary["resumed_from"].startswith(kubectl.operation(kind)["metadata"]["uid"])
        assert status["report"]["epochsCompleted"] == EPOCHS[kind]

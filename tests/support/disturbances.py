"""Trainings on real prices, and the ways in which they are interrupted."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import psutil
from kubectl import Kubectl, operation

MARKET = {"symbols": ["AAPL", "MSFT"], "timeframes": ["1d"]}
START, END = "2008-01-01", "2013-03-01"
EPOCHS = {"mlp": 24, "cnn": 16, "lstm": 12, "gru": 12}
"""Epochs of each kind of model: about half a minute of training on all the prices."""
CLAIM = {"existingClaim": {"claimName": "market-data"}}
WITHIN = 300.0
"""Seconds that anything here may take on a busy machine."""


def load(kubectl: Kubectl, start: str = START) -> None:
    """Load the prices from that day on into a claim."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "market-data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "100Mi"}},
        },
    }
    wanted = {**MARKET, **_since(start), "mode": "full", "provider": "sample"}
    kubectl.apply(claim, operation("load", "DataLoad", dataLoad=wanted, storage=CLAIM))
    kubectl.wait_for_phase("load", "Succeeded", within=WITHIN)


def training(name: str, kind: str, start: str = START) -> dict[str, Any]:
    """A training of a small model of that kind on the prices from that day on."""
    strategy = {
        "name": "survives",
        "indicators": [{"name": "rsi", "parameters": {"length": 14}}, {"name": "macd"}],
        "labels": {"threshold": 0.05, "horizon": 20},
        "model": {"type": kind, "hiddenSizes": [8], "sequenceLength": 8, "dropout": 0.2},
        "training": {"epochs": EPOCHS[kind], "batchSize": 2, "seed": 11, "scheduler": "cosine"},
    }
    return operation(
        name,
        "Training",
        training={**MARKET, **_since(start), "strategy": {"inline": strategy}},
        storage=CLAIM,
        checkpoint={"everyEpochs": 1, "keep": 2},
        retryPolicy={"limit": 3, "backoffSeconds": 0},
    )


def _since(start: str) -> dict[str, str]:
    return {"startDate": start, "endDate": END}


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
    """Suspend a run, and resume it."""
    for wanted, phase in ((True, "Suspended"), (False, "Running")):
        patch = json.dumps({"spec": {"suspend": wanted}})
        kubectl("patch", "trainop", name, "--type=merge", "-p", patch)
        kubectl.wait_for_phase(name, phase, within=WITHIN)


def kill(kubectl: Kubectl, name: str) -> None:
    """SIGKILL the trainer's process, as the kernel would."""
    kill_processes_of(pod_of(kubectl, name))


def kill_processes_of(*pods: str) -> None:
    """SIGKILL every process of these pods."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HEADWAY_POD_NAME") in pods:
                process.kill()


def evict(kubectl: Kubectl, name: str) -> None:
    """Evict its pod, as a drain does."""
    pod = pod_of(kubectl, name)
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": kubectl.namespace},
    }
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def delete(kubectl: Kubectl, name: str) -> None:
    """Delete its pod, as a person might."""
    kubectl("delete", "pod", pod_of(kubectl, name), "--wait=false")


WAYS: list[Callable[[Kubectl, str], None]] = [suspend, kill, evict, delete]


def disturb(kubectl: Kubectl, name: str, epochs: int, first: int) -> Sequence[str]:
    """Interrupt a run in each of the four ways, at random points and in random order.

    Args:
        kubectl: its namespace.
        name: the run.
        epochs: how many it trains.
        first: the attempt that is interrupted first.

    Returns:
        What was done, in order.
    """
    chance = random.Random(name)
    ways = chance.sample(WAYS, len(WAYS))
    points = sorted(chance.sample(range(2, epochs - 2), len(ways)))
    told = [f"{way.__name__} in epoch {point}" for way, point in zip(ways, points, strict=True)]
    print(f"{name}: {told}")
    for attempt, (way, point) in enumerate(zip(ways, points, strict=True), first):
        in_epoch(kubectl, name, point, attempt)
        way(kubectl, name)
    return told

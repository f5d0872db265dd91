"""What histories happen in: a control plane, scripted nodes, a controller that can be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clusters import ROOT, temporary_cluster
from clusters import Cluster as ControlPlane
from headway.cluster_api import ClusterApi, choose
from headway_api import names
from scripted_nodes import Cluster
from waiting import eventually
from watcher import Watcher

NAMESPACE = "chaos"
NODES = ("scripted-1", "scripted-2")
GONE_WITHIN = 240.0
"""Seconds that the garbage collector may take after an outage: it begins by learning all kinds."""
Object = dict[str, Any]


class Operator:
    """The controller as a process of its own, or two of it at once, that can be killed.

    Attributes:
        ended: how many ended by themselves.
    """

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        self._command = [
            *(sys.executable, "-m", "headway_operator", "--port", "0"),
            *("--kubeconfig", str(kubeconfig), "--namespaces", NAMESPACE),
        ]
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []
        self._begun = 0
        self.ended = 0

    def start(self, count: int = 1) -> None:
        """Have so many run, where none does."""
        if not self.runs:
            self.ended += len(self._processes)
            self._begun = self._log.stat().st_size if self._log.exists() else 0
            with self._log.open("ab") as log:
                self._processes = [
                    subprocess.Popen(self._command, stdout=log, stderr=log) for _ in range(count)
                ]

    def kill(self) -> bool:
        """Kill all of them; returns whether any ran."""
        ran = self.runs
        self.ended += len(self._processes) - len(self.pids)
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []
        return ran

    @property
    def at_work(self) -> bool:
        """Whether one of those that run has read everything."""
        with self._log.open("rb") as log:
            log.seek(self._begun)
            return b"at work" in log.read()

    @property
    def pids(self) -> list[int]:
        return [p.pid for p in self._processes if p.poll() is None]

    @property
    def runs(self) -> bool:
        return bool(self.pids)


@dataclass(frozen=True)
class World:
    """All that histories happen in.

    Attributes:
        deleted: operations that were deleted, and of which something may be left.
    """

    cluster: Cluster
    watcher: Watcher
    operator: Operator
    plane: ControlPlane
    log: Path
    deleted: set[str] = field(default_factory=set)


@contextmanager
def scripted_world(folder: Path) -> Iterator[World]:
    """A control plane, scripted nodes, and the controller beside them."""
    with temporary_cluster() as plane:
        kubectl = plane.kubectl()
        for node in kubectl.items("nodes"):
            kubectl("cordon", node["metadata"]["name"])
        kubectl("apply", "-f", str(ROOT / "crds"))
        kubectl.established()
        kubectl("create", "namespace", NAMESPACE)
        plane.kubectl(NAMESPACE).apply(volume(), claim())
        api = ClusterApi(choose(plane.kubeconfig))
        cluster = Cluster(api, NAMESPACE, NODES)
        cluster.start()
        watcher, operator = Watcher(cluster), Operator(plane.kubeconfig, folder / "operator.log")
        watcher.start()
        operator.start()
        try:
            yield World(cluster, watcher, operator, plane, folder / "operator.log")
        finally:
            operator.kill()
            watcher.stop()
            cluster.stop()


def nothing_is_left(world: World) -> None:
    """Wait until nothing is left of what was deleted.

    Raises:
        AssertionError: something is; it says what, and in which state.
    """

    def left() -> list[str]:
        jobs = world.cluster.request("GET", world.cluster.jobs_path())
        pods = world.cluster.request("GET", world.cluster.pods_path())
        found = [*(jobs.get("items") or ()), *(pods.get("items") or ())]
        told = [
            f"{o['metadata']['name']} {o['status'].get('phase', 'Job')} "
            f"{o['metadata'].get('deletionTimestamp', 'not deleted')} "
            f"{o['metadata'].get('finalizers', '')}"
            for o in found
            if o["metadata"]["labels"].get(names.LABEL_OPERATION) in world.deleted
        ]
        assert not told, told
        return told

    eventually(lambda: left() == [], within=GONE_WITHIN, why="nothing is left", every=0.3)
    world.deleted.clear()


def claim() -> Object:
    """A claim that is bound as soon as a pod comes; nothing is ever written to it."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "workspace"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": "workspace",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def volume() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "workspace"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": NAMESPACE, "name": "workspace"},
        },
    }

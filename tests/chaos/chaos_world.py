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
from scripted_nodes import Cluster
from watcher import Watcher

NAMESPACE = "chaos"
NODES = ("scripted-1", "scripted-2")
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

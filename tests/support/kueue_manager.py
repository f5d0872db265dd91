"""Kueue itself: its controllers and its scheduler, built from its Go module, on a cluster.

Run this file to have the program built ahead of the tests.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from clusters import Cluster
from headway_cluster.binaries import ensure_toolset
from headway_cluster.binaries.toolsets import Toolset
from headway_cluster.home import Home

SUPPORT = Path(__file__).resolve().parent
SOURCES = SUPPORT / "kueue"
QUEUE = "team-queue"


@contextmanager
def kueue_on(cluster: Cluster, log: Path) -> Iterator[None]:
    """Kueue at work on a cluster, with its resources; it ends with the block.

    Args:
        cluster: where.
        log: what it says.
    """
    binary = program()
    kubectl = cluster.kubectl()
    for crd in sorted(crds().glob("*.yaml")):
        kubectl("apply", "--server-side", "-f", str(crd))
    kubectl.established()
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    with (
        log.open("w") as told,
        subprocess.Popen([str(binary)], env=environment, stdout=told, stderr=told) as process,
    ):
        try:
            yield
            assert process.poll() is None, log.read_text()[-4000:]
        finally:
            process.terminate()


def queues(namespace: str, cpu: str) -> list[dict[str, Any]]:
    """A queue of a namespace, with so many CPUs, in which the more important run goes first."""
    version = "kueue.x-k8s.io/v1beta2"
    flavor = {"name": "any", "resources": [{"name": "cpu", "nominalQuota": cpu}]}
    return [
        {
            "apiVersion": version,
            "kind": "ResourceFlavor",
            "metadata": {"name": "any"},
        },
        {
            "apiVersion": version,
            "kind": "ClusterQueue",
            "metadata": {"name": "team"},
            "spec": {
                "namespaceSelector": {},
                "preemption": {"withinClusterQueue": "LowerPriority"},
                "resourceGroups": [{"coveredResources": ["cpu"], "flavors": [flavor]}],
            },
        },
        {
            "apiVersion": version,
            "kind": "LocalQueue",
            "metadata": {"name": QUEUE, "namespace": namespace},
            "spec": {"clusterQueue": "team"},
        },
    ]


def crds() -> Path:
    """The definitions of its resources, as they come with its module."""
    [version] = re.findall(r"sigs.k8s.io/kueue (\S+)", (SOURCES / "go.mod").read_text())
    module = Home.find().cache / "go" / "mod" / "sigs.k8s.io" / f"kueue@{version}"
    return module / "config" / "components" / "crd" / "bases"


def program() -> Path:
    """The program, built where it is not there or its sources changed."""
    digest = hashlib.sha256()
    for file in sorted(SOURCES.iterdir()):
        digest.update(file.read_bytes())
    beside: Traversable = SUPPORT
    toolset = Toolset(
        module=SOURCES.name,
        title="Kueue",
        folder=f"kueue/{digest.hexdigest()[:12]}",
        programs=("kueue",),
        linker="-s -w",
        beside=beside,
    )
    return ensure_toolset(Home.find(), toolset, _say)["kueue"]


def _say(text: str) -> None:
    print(f"  {text}", file=sys.__stderr__)


if __name__ == "__main__":
    program()

"""A real control plane with a process node for the whole session, and a namespace for each test."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from headway_cluster import binaries
from headway_cluster.controlplane import PROGRAMS, Options
from headway_cluster.home import Home
from headway_cluster.local import LocalCluster, LocalOptions
from kubectl import Kubectl
from waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "cli" / "src" / "headway_cli" / "manifests" / "headway.yaml"
OPERATOR_NAMESPACE = "headway-system"


@dataclass
class Cluster:
    """The cluster under test."""

    local: LocalCluster
    home: Path
    programs: dict[str, Path]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.local.kubeconfig

    @property
    def audit(self) -> Path:
        """The API server's audit log, a JSON object a line."""
        return self.home / "audit.log"

    def kubectl(self, namespace: str = "default") -> Kubectl:
        """kubectl as the administrator."""
        return Kubectl(self.programs["kubectl"], self.kubeconfig, namespace)

    def environment(self) -> dict[str, str]:
        """What a command needs to use this cluster and no other."""
        return {
            **os.environ,
            "HEADWAY_HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def install(self) -> None:
        """Install Headway by its own manifests and wait until the operator is at work."""
        kubectl = self.kubectl(OPERATOR_NAMESPACE)
        kubectl("apply", "--server-side", "-f", str(MANIFESTS))
        kubectl("wait", "--for=condition=Established", "crd/trainingoperations.headway.dev")
        kubectl("wait", "--for=condition=Available", "deployment", "--all", "--timeout=60s")


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[Cluster]:
    """A control plane and a process node, without Headway."""
    programs = binaries.ensure(Home.find(), (*PROGRAMS, "kubectl"), _say)
    with tempfile.TemporaryDirectory(prefix="headway-test-") as folder:
        home = Path(folder)
        local = LocalCluster(
            Home(home / "cache", home / "state"),
            LocalOptions(
                control_plane=Options(tied=True, durable=False, audit=home / "audit.log"),
                crash_backoff=0.5,
            ),
            programs,
        )
        try:
            local.up(_say)
            yield Cluster(local, home, programs)
        finally:
            local.down()


@pytest.fixture(scope="session")
def cluster(bare_cluster: Cluster) -> Cluster:
    """The cluster with Headway installed."""
    bare_cluster.install()
    return bare_cluster


_numbers = itertools.count(1)


@pytest.fixture
def kubectl(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own, which goes with it."""
    yield from _in_own_namespace(cluster, request.node.name)


@pytest.fixture
def bare_kubectl(bare_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """The same, where Headway need not be installed."""
    yield from _in_own_namespace(bare_cluster, request.node.name)


def _in_own_namespace(cluster: Cluster, test: str) -> Iterator[Kubectl]:
    word = re.sub(r"[^a-z0-9]+", "-", test.lower()).strip("-")[:40].strip("-")
    namespace = f"t{next(_numbers)}-{word}"
    cluster.kubectl()("create", "namespace", namespace)
    kubectl = cluster.kubectl(namespace)
    eventually(
        lambda: kubectl.run("get", "serviceaccount", "default", check=False).returncode == 0,
        within=20,
        why=f"namespace {namespace} is usable",
    )
    try:
        yield kubectl
    finally:
        cluster.kubectl()("delete", "namespace", namespace, "--wait=false")


def _say(text: str) -> None:
    sys.__stderr__.write(f"  {text}\n")


@pytest.fixture
def headway(cluster: Cluster, kubectl: Kubectl):
    """Run the headway command in the test's namespace."""

    def run(*args: str, check: bool = False, **options) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "headway"), *args]
        return subprocess.run(
            command,
            env={**cluster.environment(), "HEADWAY_NAMESPACE": kubectl.namespace},
            text=True,
            capture_output=True,
            timeout=options.pop("timeout", 120),
            check=check,
            **options,
        )

    return run

"""A real control plane with a process node for the whole session, and a namespace for each test."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, temporary_cluster
from kubectl import Kubectl
from waiting import eventually


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[Cluster]:
    """A control plane and a process node, without Headway."""
    with temporary_cluster() as made:
        yield made


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
        within=90,  # the controller manager may still be finding the API server again
        why=f"namespace {namespace} is usable",
    )
    try:
        yield kubectl
    finally:
        cluster.kubectl()("delete", "namespace", namespace, "--wait=false")


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

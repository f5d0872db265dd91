"""A real control plane with a process node for the whole session, and a namespace for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from clusters import Cluster, temporary_cluster
from kubectl import Kubectl
from namespaces import headway_in, own_namespace

# Its programs collect garbage less often, and each keeps to one processor: with a cluster for each
# process that runs tests, CPU is what is short, and not memory.
os.environ.setdefault("GOGC", "400")
os.environ.setdefault("GOMAXPROCS", "1")


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


@pytest.fixture
def kubectl(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own; what runs there goes with the test."""
    with own_namespace(cluster.kubectl, request.node.name, stays=True) as made:
        yield made


@pytest.fixture
def bare_kubectl(bare_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """The same, where Headway need not be installed."""
    with own_namespace(bare_cluster.kubectl, request.node.name, stays=True) as made:
        yield made


@pytest.fixture
def headway(cluster: Cluster, kubectl: Kubectl):
    """Run the headway command in the test's namespace."""
    return headway_in(kubectl, cluster.environment())

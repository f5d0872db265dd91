"""A cluster with real nodes that is given, Headway on it, and a namespace for each test.

Every namespace enforces the Pod Security Standard ``restricted``, the controller's included, unless
a test asks for another: whatever passes here passes there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import OPERATOR_NAMESPACE, say
from given_cluster import (
    PRIVILEGED,
    RESTRICTED,
    GivenCluster,
    NoClusterError,
    given,
    image_with_the_sdk,
    image_without_the_sdk,
)
from kubectl import Kubectl
from namespaces import headway_in, own_namespace


@pytest.fixture(scope="session")
def cluster() -> Iterator[GivenCluster]:
    """The given cluster with Headway installed; without one the suite ends here, and has failed."""
    try:
        found = given()
    except NoClusterError as error:
        pytest.exit(str(error), returncode=1)
    say("installing Headway by its chart")
    found.install()
    try:
        yield found
    finally:
        found.uninstall()
        found.kubectl()("delete", "namespace", OPERATOR_NAMESPACE)
        found.kubectl()("delete", "crd", "trainingoperations.headway.dev", "--ignore-not-found")


@pytest.fixture
def kubectl(cluster: GivenCluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own that enforces ``restricted``."""
    with own_namespace(cluster.kubectl, request.node.name, RESTRICTED) as made:
        yield made


@pytest.fixture
def privileged_kubectl(cluster: GivenCluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """The same without limits, for what a test needs on a node beside its runs."""
    with own_namespace(cluster.kubectl, f"{request.node.name}-p", PRIVILEGED) as made:
        yield made


@pytest.fixture
def headway(cluster: GivenCluster, kubectl: Kubectl):
    """Run the headway command in the test's namespace."""
    return headway_in(kubectl, cluster.environment())


@pytest.fixture
def claim(cluster: GivenCluster, kubectl: Kubectl) -> Iterator[str]:
    """The name of a claim that every node can mount at once."""
    with cluster.shared_claim(kubectl, "market-data"):
        yield "market-data"


@pytest.fixture(scope="session")
def with_the_sdk(cluster: GivenCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A user's own image on top of ours, on every worker."""
    return cluster.load(image_with_the_sdk(cluster, tmp_path_factory.mktemp("images")))


@pytest.fixture(scope="session")
def without_the_sdk(cluster: GivenCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A user's own image that knows nothing of Headway, on every worker."""
    folder: Path = tmp_path_factory.mktemp("images")
    return cluster.load(image_without_the_sdk(folder))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """A failure shows what a person would look at first."""
    report = yield
    if report.failed and (cluster := getattr(item, "funcargs", {}).get("cluster")):
        for name in ("kubectl", "slow", "lost"):
            there = item.funcargs.get(name)
            namespace = getattr(there, "kubectl", there)
            if isinstance(namespace, Kubectl):
                report.sections.append((f"namespace of {name}", _state(namespace)))
        operator = cluster.kubectl(OPERATOR_NAMESPACE)
        report.sections.append(
            ("operator", _told(operator, "logs", "deployment/headway-operator", "--tail=60"))
        )
    return report


def _state(kubectl: Kubectl) -> str:
    looks = (
        ("get", "pods", "-o", "wide"),
        ("describe", "trainop"),
        ("get", "events", "--sort-by=.lastTimestamp"),
    )
    return "\n\n".join(_told(kubectl, *look) for look in looks)


def _told(kubectl: Kubectl, *args: str) -> str:
    try:
        done = kubectl.run(*args, check=False)
    except Exception as error:
        return f"kubectl {' '.join(args)}: {error}"
    return f"$ kubectl {' '.join(args)}\n{done.stdout}{done.stderr}"

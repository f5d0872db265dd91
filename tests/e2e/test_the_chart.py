"""The chart on a real cluster: what an upgrade and a removal mean for runs in flight."""

from __future__ import annotations

from pathlib import Path

import pytest
from charts import previous_chart
from clusters import OPERATOR_NAMESPACE
from given_cluster import GivenCluster
from headway_api import names
from kubectl import Kubectl, dummy

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def reinstalled(cluster: GivenCluster):
    """Whatever a test does to the installation, the next one finds it as it should be."""
    yield
    cluster.install("--take-ownership")


def sequence(kubectl: Kubectl, name: str) -> int:
    return kubectl.operation(name)["status"]["progress"]["sequence"]


def goes_on(kubectl: Kubectl, name: str) -> None:
    """A run's progress moves."""
    before = sequence(kubectl, name)
    kubectl.wait_for(name, lambda o: o["status"]["progress"]["sequence"] > before, within=60)


def test_an_upgrade_with_a_run_in_flight_does_not_disturb_it(
    cluster: GivenCluster, kubectl, tmp_path: Path, reinstalled
):
    cluster.uninstall()
    cluster.kubectl()("delete", "crd", names.CRD_NAME)
    cluster.install(chart=previous_chart(tmp_path))
    kubectl.apply(dummy("run", iterations=100000, interval=0.5))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    [pod] = kubectl.pods_of("run")
    cluster.install("--take-ownership")  # as the documentation says for this one upgrade
    goes_on(kubectl, "run")
    assert [p["metadata"]["uid"] for p in kubectl.pods_of("run")] == [pod["metadata"]["uid"]]
    kubectl.cancel("run")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"


def test_a_removal_leaves_every_operation_and_a_new_installation_takes_them_up(
    cluster: GivenCluster, kubectl, reinstalled
):
    kubectl.apply(
        dummy("done", iterations=1, interval=0), dummy("run", iterations=100000, interval=0.5)
    )
    done = kubectl.wait_for_phase("done", "Succeeded")
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    cluster.uninstall()
    assert not cluster.kubectl(OPERATOR_NAMESPACE).items("deployments")
    assert kubectl.operation("done")["status"] == done["status"]
    # Nobody listens, and it is remembered all the same.
    kubectl.cancel("run")
    cluster.install()
    status = kubectl.wait_for_phase("run", "Cancelled", within=90)["status"]
    assert status["attempt"] == 1
    assert kubectl.operation("done")["status"] == done["status"]

"""The chart on a real cluster: what an upgrade and a removal mean for runs in flight."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from clusters import OPERATOR_NAMESPACE, ROOT
from given_cluster import RESTRICTED, GivenCluster
from kubectl import Kubectl, dummy

OLDER = "3333cbbe6034604e6d3809b37d77cafbc3d0ecfa"
"""The commit whose chart is upgraded from: no version is released yet."""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def older_chart(tmp_path: Path) -> Path:
    """The chart as it was."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", OLDER, "helm/headway"], capture_output=True
    )
    assert packed.returncode == 0, (
        f"the history does not reach back to {OLDER}: {packed.stderr.decode()}; "
        "try git fetch --unshallow"
    )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "helm" / "headway"


@pytest.fixture
def reinstalled(cluster: GivenCluster):
    """Whatever a test does to the installation, the next one finds it as it should be."""
    yield
    cluster.install()


def sequence(kubectl: Kubectl, name: str) -> int:
    return kubectl.operation(name)["status"]["progress"]["sequence"]


def goes_on(kubectl: Kubectl, name: str) -> None:
    """A run's progress moves."""
    before = sequence(kubectl, name)
    kubectl.wait_for(name, lambda o: o["status"]["progress"]["sequence"] > before, within=60)


def test_an_upgrade_with_a_run_in_flight_does_not_disturb_it(
    cluster: GivenCluster, kubectl, older_chart, reinstalled
):
    cluster.uninstall()
    # The older chart's trainers know nothing of restricted namespaces.
    kubectl("label", "namespace", kubectl.namespace, *(f"{key}-" for key in RESTRICTED))
    cluster.install(older_chart)
    kubectl.apply(dummy("run", iterations=100000, interval=0.5))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    [pod] = kubectl.pods_of("run")
    cluster.install()
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

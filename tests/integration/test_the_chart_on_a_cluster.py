"""The chart installed, upgraded and removed by Helm, and by kubectl, with runs in flight."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from audits import OPERATOR, requests
from charts import CHART, CRD, EVERYTHING, Helm, previous_chart
from clusters import MANIFESTS, OPERATOR_NAMESPACE, Cluster, temporary_cluster
from headway_api import names
from headway_api.version import __version__
from kubectl import Kubectl, dummy, operation
from namespaces import own_namespace
from waiting import eventually

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of these tests' own, with nothing of Headway but a strict namespace for it."""
    with temporary_cluster() as made:
        space = {"name": OPERATOR_NAMESPACE, "labels": RESTRICTED}
        made.kubectl().apply({"apiVersion": "v1", "kind": "Namespace", "metadata": space})
        yield made


@pytest.fixture(scope="module")
def helm(cluster: Cluster) -> Helm:
    return Helm.find(cluster.kubeconfig)


@pytest.fixture
def installed(helm: Helm) -> None:
    """Today's chart is installed."""
    releases = json.loads(helm("list", "-n", OPERATOR_NAMESPACE, "-o", "json"))
    if [r["chart"] for r in releases] != [f"headway-{__version__}"]:
        upgrade(helm, "--take-ownership")


def upgrade(helm: Helm, *args: str, chart: Path = CHART, **values) -> None:
    """Install the chart or upgrade to it, and wait until its operator is at work."""
    command = ("upgrade", "--install", "headway", str(chart), "-n", OPERATOR_NAMESPACE)
    helm(*command, "--wait", "--timeout=60s", *args, values=values)


def uninstall(helm: Helm) -> None:
    helm("uninstall", "headway", "-n", OPERATOR_NAMESPACE, "--wait", "--timeout=60s")


def until(file: Path) -> dict:
    """A run that goes on until a file is there, and tells every step."""
    return operation("run", "Custom", custom={"command": ["python", "-c", UNTIL, str(file)]})


UNTIL = """
import headway, pathlib, sys, time
with headway.operation() as op:
    for step in range(1, 100_000):
        if pathlib.Path(sys.argv[1]).exists():
            break
        op.progress(step, 100_000)
        time.sleep(0.1)
"""


def reported(kubectl: Kubectl, name: str) -> int:
    status = kubectl.operation(name).get("status") or {}
    return (status.get("progress") or {}).get("step", 0)


def test_an_upgrade_from_the_previous_chart_brings_the_new_crd_and_leaves_runs_alone(
    cluster: Cluster, helm: Helm, tmp_path: Path
):
    upgrade(helm, chart=previous_chart(tmp_path))
    with own_namespace(cluster.kubectl, "upgraded") as kubectl:
        kubectl.apply(until(tmp_path / "end"))
        kubectl.wait_for("run", lambda _: reported(kubectl, "run") >= 2)
        [before] = kubectl.pods_of("run")
        was = kubectl.get("crd", names.CRD_NAME)

        upgrade(helm, "--take-ownership")

        crd = kubectl.get("crd", names.CRD_NAME)
        assert crd["metadata"]["uid"] == was["metadata"]["uid"]
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        wanted = yaml.safe_load(CRD.read_text())["spec"]["versions"]
        [found] = crd["spec"]["versions"]
        columns = [c["name"] for c in wanted[0]["additionalPrinterColumns"]]
        assert [c["name"] for c in found["additionalPrinterColumns"]] == columns
        kubectl("explain", "trainop.status.lastLogs")
        [after] = kubectl.pods_of("run")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        seen = reported(kubectl, "run")
        kubectl.wait_for("run", lambda _: reported(kubectl, "run") > seen)
        (tmp_path / "end").touch()
        status = kubectl.wait_for_phase("run", "Succeeded")["status"]
        assert status["attempt"] == 1


@pytest.mark.usefixtures("installed")
def test_upgrading_to_the_same_changes_nothing(cluster: Cluster, helm: Helm):
    operator = cluster.kubectl(OPERATOR_NAMESPACE)
    before = operator.get("deployment", "headway-operator")["metadata"]["generation"]
    upgrade(helm)
    after = operator.get("deployment", "headway-operator")["metadata"]["generation"]
    assert after == before


@pytest.mark.usefixtures("installed")
def test_headway_install_leaves_alone_what_is_helms(headway):
    done = headway("install")
    assert done.returncode == 1
    assert "by Helm, as headway in namespace headway-system" in done.stderr
    assert "helm upgrade headway" in done.stderr


def test_all_values_at_once_are_accepted_by_the_api_server_without_a_warning(
    cluster: Cluster, helm: Helm
):
    values = {**EVERYTHING, "namespaces": ["default", "kube-public"]}
    rendered = helm("template", "headway", str(CHART), "-n", OPERATOR_NAMESPACE, values=values)
    dry = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
    done = cluster.kubectl("").run(*dry, stdin=rendered)
    assert "Warning" not in done.stderr


@pytest.mark.usefixtures("installed")
@pytest.mark.slow
def test_removed_and_installed_again_for_one_namespace_it_takes_up_the_runs_there(
    cluster: Cluster, helm: Helm, kubectl: Kubectl, tmp_path: Path
):
    kubectl.apply(dummy("over", iterations=1, interval=0.01))
    kubectl.apply(until(tmp_path / "end"))
    kubectl.apply(dummy("long", iterations=1000, interval=0.2))
    over = kubectl.wait_for_phase("over", "Succeeded")["status"]
    for name in ("run", "long"):
        kubectl.wait_for(name, lambda o, name=name: reported(kubectl, name) >= 2)

    uninstall(helm)

    # Nobody serves them now, and trainers may not report. They end all the same, after a last
    # report that they try for some seconds to get through.
    assert not cluster.kubectl(OPERATOR_NAMESPACE).items("deployments")
    kubectl.cancel("long")
    (tmp_path / "end").touch()
    eventually(
        lambda: kubectl.pods_of("run")[0]["status"]["phase"] == "Succeeded",
        within=60,
        why="the run goes on to its end without an operator",
    )
    assert kubectl.phase("run") == "Running"

    begin = cluster.audit.stat().st_size
    upgrade(helm, namespaces=[kubectl.namespace])
    ready = cluster.audit.stat().st_size

    assert kubectl.wait_for_phase("long", "Cancelled")["status"]["attempt"] == 1
    result = kubectl.wait_for_phase("run", "Succeeded")["status"]["result"]
    assert result["report"]["status"] == "success"
    assert kubectl.operation("over")["status"] == over
    # Its rights are smaller now.
    assert may(kubectl, "create", "jobs")
    assert may(kubectl, "patch", names.CRD_NAME, "--subresource=status")
    for asked in (("create", "jobs"), ("delete", "pods"), ("list", names.CRD_NAME)):
        assert not may(cluster.kubectl("default"), *asked)
    # They are enough, and it knows: it asks for nothing elsewhere. (At first the API server may not
    # have heard of them.)
    assert not [path for said, _, path in requests(cluster, ready) if said == "forbid"]
    here = f"/namespaces/{kubectl.namespace}"
    refused = [path for said, _, path in requests(cluster, begin) if said == "forbid"]
    assert not [path for path in refused if here not in path]


def may(kubectl: Kubectl, *asked: str) -> bool:
    """Whether the operator may do something in a namespace."""
    return kubectl.run("auth", "can-i", *asked, "--as", OPERATOR, check=False).returncode == 0


def test_kubectl_apply_k_installs_it_and_helm_can_take_it_over(
    cluster: Cluster, helm: Helm, headway, tmp_path: Path
):
    helm("uninstall", "headway", "-n", OPERATOR_NAMESPACE, "--ignore-not-found")
    shutil.copytree(MANIFESTS.parent, tmp_path / "base", ignore=shutil.ignore_patterns("*.py"))
    (tmp_path / "kustomization.yaml").write_text(json.dumps(OVERLAY))
    operator = cluster.kubectl(OPERATOR_NAMESPACE)

    operator("apply", "-k", str(tmp_path))

    operator("wait", "--for=condition=Available", "deployment", "--all", "--timeout=60s")
    assert arguments(operator)[-1] == "--log-level=debug"
    checked = headway("doctor")
    assert checked.returncode == 0, checked.stdout

    command = ("install", "headway", str(CHART), "-n", OPERATOR_NAMESPACE)
    refused = helm.run(*command)
    assert "invalid ownership metadata" in refused.stderr
    helm(*command, "--take-ownership", "--force-conflicts")

    assert "--log-level=debug" not in arguments(operator)


def arguments(operator: Kubectl) -> list[str]:
    pod = operator.get("deployment", "headway-operator")["spec"]["template"]["spec"]
    return pod["containers"][0]["args"]


OVERLAY = {
    "resources": ["base"],
    "patches": [
        {
            "target": {"kind": "Deployment", "name": "headway-operator"},
            "patch": json.dumps(
                [
                    {
                        "op": "add",
                        "path": "/spec/template/spec/containers/0/args/-",
                        "value": "--log-level=debug",
                    }
                ]
            ),
        }
    ],
}


def test_removed_with_its_crd_and_its_accounts_it_leaves_nothing_behind(
    cluster: Cluster, helm: Helm, kubectl: Kubectl
):
    """The last test: afterwards the cluster is as if Headway had never been there."""
    upgrade(helm, "--take-ownership", "--reset-values")  # for every namespace again
    kubectl.apply(dummy("run", iterations=1000, interval=0.2))
    kubectl.wait_for("run", lambda _: reported(kubectl, "run") >= 2)

    uninstall(helm)
    everywhere = cluster.kubectl("")
    everywhere("delete", names.PLURAL, "-A", "--all", "--cascade=foreground")
    kubectl("delete", "crd", names.CRD_NAME)
    ours = ("-l", f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}")
    everywhere("delete", "serviceaccounts,rolebindings", "-A", *ours)

    for kind in ("jobs", "pods"):
        eventually(lambda kind=kind: not kubectl.items(kind), within=90, why=f"no {kind} left")
    everything = "clusterroles,clusterrolebindings,validatingadmissionpolicies"
    left = [n for n in everywhere("get", everything, "-o", "name").split() if "headway" in n]
    assert all("headway-provisioner" in name for name in left), "the process node's own only"
    assert names.TRAINER_SERVICE_ACCOUNT not in kubectl("get", "sa,rolebindings", "-o", "name")

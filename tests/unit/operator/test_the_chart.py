"""The chart, and the manifests that are rendered from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from headway_api import names
from headway_api.version import __version__

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "cli" / "src" / "headway_cli" / "manifests" / "headway.yaml"
CHART = ROOT / "helm" / "headway"


def checked(root: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "helm" / "manifests.py"), "check"],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


@pytest.fixture(scope="module")
def objects():
    return {
        (o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(MANIFESTS.read_text())
    }


@pytest.fixture(scope="module")
def helm():
    cached = Path.home() / ".cache" / "headway" / "helm" / "helm"
    found = shutil.which("helm") or (str(cached) if cached.exists() else None)
    if not found:
        pytest.skip("needs helm")

    def template(*settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [found, "template", "headway", str(CHART), "-n", "somewhere", *settings],
            capture_output=True,
            text=True,
        )

    return template


def test_the_manifests_are_what_the_chart_renders():
    done = checked(ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("helm/headway/values.yaml", "is older than the chart"),
        ("crds/trainingoperations.headway.dev.yaml", "is not a copy of"),
    ],
)
def test_a_change_is_noticed_where_there_is_no_helm(tmp_path, file, told):
    for part in (
        "helm",
        "crds/trainingoperations.headway.dev.yaml",
        "crds/src/headway_api/version.py",
        "cli/src/headway_cli/manifests/headway.yaml",
    ):
        source, target = ROOT / part, tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    without_helm = {"PATH": "/nowhere", "HELM": "", "HEADWAY_HOME": str(tmp_path)}
    assert checked(tmp_path, **without_helm).returncode == 0
    with (tmp_path / file).open("a") as changed:
        changed.write("# another line\n")
    done = checked(tmp_path, **without_helm)
    assert done.returncode == 1
    assert told in done.stderr
    assert "make manifests" in done.stderr


def test_the_operator_runs_under_the_restricted_level(objects):
    namespace = objects["Namespace", names.OPERATOR_NAMESPACE]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = objects["Deployment", "headway-operator"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == names.default_operator_image(__version__)
    assert f"--trainer-image={names.default_trainer_image(__version__)}" in container["args"]


def test_no_role_has_a_wildcard_or_reads_secrets(objects):
    roles = [o for (kind, _), o in objects.items() if kind == "ClusterRole"]
    assert len(roles) == 6
    for role in roles:
        for rule in role["rules"]:
            asked = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in asked
            assert "secrets" not in asked
            assert "escalate" not in asked


def test_the_trainers_role_is_the_one_that_the_controller_may_bind(objects):
    [bind] = [
        rule
        for rule in objects["ClusterRole", "headway-operator"]["rules"]
        if "bind" in rule["verbs"]
    ]
    assert bind["resourceNames"] == [names.TRAINER_CLUSTER_ROLE]
    assert ("ClusterRole", names.TRAINER_CLUSTER_ROLE) in objects


def test_with_namespaces_the_rights_are_bound_in_those_only(helm):
    done = helm("--set", "namespaces={one,two}")
    assert done.returncode == 0, done.stderr
    found = [o for o in yaml.safe_load_all(done.stdout) if o]
    bound = {
        (o["kind"], o["metadata"].get("namespace"), o["roleRef"]["name"])
        for o in found
        if o["kind"].endswith("Binding")
    }
    assert bound == {
        ("ClusterRoleBinding", None, "headway-operator-nodes"),
        ("RoleBinding", "one", "headway-operator"),
        ("RoleBinding", "two", "headway-operator"),
    }
    deployment = next(o for o in found if o["kind"] == "Deployment")
    assert "--namespaces=one,two" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert deployment["metadata"]["namespace"] == "somewhere"


def test_a_misspelt_value_is_refused(helm):
    done = helm("--set", "trainrImage.tag=1")
    assert done.returncode != 0
    assert "trainrImage" in done.stderr

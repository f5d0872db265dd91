"""The chart, and the manifests that are rendered from it."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import kubernetes_validate
import pytest
import yaml
from charts import CHART, DIGEST, EVERYTHING, ROOT, Helm, only
from headway_api import names
from headway_api.version import __version__

MANIFESTS = ROOT / "cli" / "src" / "headway_cli" / "manifests" / "headway.yaml"
CRD = ROOT / "crds" / "trainingoperations.headway.dev.yaml"
KUBERNETES = ("1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
WITHOUT_MUTATING_POLICIES = ("1.32", "1.33", "1.34", "1.35")


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
def helm() -> Helm:
    return Helm.find()


def pod_of(objects) -> dict:
    return only(objects, "Deployment")["spec"]["template"]["spec"]


def container_of(objects) -> dict:
    [container] = pod_of(objects)["containers"]
    return container


def schema_of(node: dict, root: dict) -> dict:
    name = node.get("$ref", "").rpartition("/")[2]
    return root["definitions"][name] if name else node


# What is rendered from it


def test_the_manifests_are_what_the_chart_renders(helm):
    done = checked(ROOT, HELM=str(helm.binary))
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


def test_the_namespace_and_the_crd_come_before_what_needs_them():
    kinds = [o["kind"] for o in yaml.safe_load_all(MANIFESTS.read_text())]
    assert kinds[:2] == ["CustomResourceDefinition", "Namespace"]


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
    assert len(roles) == 7
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


def test_the_page_tells_an_overlay_where_the_namespace_stands_that_kustomize_does_not_reach(
    objects,
):
    page = (ROOT / "docs" / "install.md").read_text()
    [overlay] = [o for o in yaml_of(page) if "namespace" in o and "patches" in o]
    [patch] = overlay["patches"]
    [operation] = yaml.safe_load(patch["patch"])
    policy = objects[patch["target"]["kind"], patch["target"]["name"]]
    stands = functools.reduce(step, operation["path"].strip("/").split("/"), policy)
    assert stands.replace(names.OPERATOR_NAMESPACE, overlay["namespace"]) == operation["value"]
    assert json.dumps(policy).count(names.OPERATOR_NAMESPACE) == 1


def yaml_of(page: str) -> list[dict]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


def step(node: dict | list, key: str) -> Any:
    return node[int(key)] if isinstance(node, list) else node[key]


# The chart for every Kubernetes that is supported


def test_helm_finds_nothing_to_complain_of(helm):
    helm("lint", "--strict", str(CHART))
    helm("lint", "--strict", str(CHART), values=EVERYTHING)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_what_is_rendered_is_valid(helm, version, values):
    if version in WITHOUT_MUTATING_POLICIES:
        values = {k: v for k, v in values.items() if k != "cancelRequester"}
    rendered = helm.template(values, "--kube-version", version)
    assert len(rendered) >= 14
    for item in rendered:
        assert kubernetes_validate.validate(item, version, strict=True) == version


def test_requesters_are_not_recorded_where_the_api_for_it_is_missing(helm):
    values = {"cancelRequester": {"record": True}}
    done = helm.run("template", "headway", str(CHART), "--kube-version", "1.35.0", values=values)
    assert done.returncode != 0
    assert "cancelRequester.record needs Kubernetes 1.36" in done.stderr


def test_a_kubernetes_that_is_too_old_is_refused(helm):
    done = helm.run("template", "headway", str(CHART), "--kube-version", "1.31.9")
    assert done.returncode != 0
    assert "1.32" in done.stderr


# The CRD


def test_the_crd_is_that_of_the_models_and_outlives_the_release(helm):
    rendered = only(helm.template(), "CustomResourceDefinition")
    assert rendered["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert rendered == yaml.safe_load(CRD.read_text())


def test_the_crd_can_be_left_to_somebody_else(helm):
    kinds = {o["kind"] for o in helm.template({"crds": {"install": False}})}
    assert "CustomResourceDefinition" not in kinds
    assert "Deployment" in kinds


# Values


def test_every_value_has_a_schema_and_every_schema_a_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(value: dict, node: dict, path: str) -> None:
        node = schema_of(node, schema)
        if "properties" not in node:
            return
        assert node["additionalProperties"] is False, path
        for key, inner in value.items():
            assert key in node["properties"], f"{path}.{key} has no schema"
            if isinstance(inner, dict):
                compare(inner, node["properties"][key], f"{path}.{key}")
        if path.count(".") == 0:
            assert set(node["properties"]) - {"global", "enabled"} == set(value)

    compare(values, schema, "values")


def test_every_value_has_a_comment():
    """A comment before a value, or before the group that holds it, tells what it is for."""
    told: dict[int, bool] = {}
    comment = False
    for line in (CHART / "values.yaml").read_text().splitlines():
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if not text:
            comment = False
        elif text.startswith("#"):
            comment = True
        else:
            told = {d: t for d, t in told.items() if d < depth} | {depth: comment}
            group = text.endswith(":")
            assert group or any(told.values()), f"nothing tells what {text} is for"
            comment = False


def test_everything_that_is_asked_for_is_there(helm):
    rendered = helm.template(EVERYTHING)
    pod, container = pod_of(rendered), container_of(rendered)
    assert container["image"] == f"registry.example:5000/headway/operator@{DIGEST}"
    assert "--trainer-image=registry.example:5000/headway/trainer:7" in container["args"]
    assert container["args"][-1] == "--log-level=debug"
    assert [e["name"] for e in container["env"]] == ["POD_IP", "NO_PROXY", "NODE"]
    assert pod["imagePullSecrets"] == [{"name": "my-registry"}]
    for field in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert pod[field] == EVERYTHING[field]
    metadata = only(rendered, "Deployment")["spec"]["template"]["metadata"]
    assert metadata["labels"]["tier"] == "control"
    assert metadata["annotations"] == {"example.com/note": "1"}
    account = only(rendered, "ServiceAccount")["metadata"]
    assert account["annotations"] == {"example.com/why": "because"}
    for item in rendered:
        if item["kind"] != "CustomResourceDefinition":
            assert item["metadata"]["labels"]["team"] == "research"


def test_labels_of_ones_own_leave_the_selector_as_it_is(helm):
    """A Deployment's selector can never be changed: an upgrade would fail."""
    want = {"matchLabels": {"app.kubernetes.io/name": "headway-operator"}}
    assert only(helm.template(EVERYTHING), "Deployment")["spec"]["selector"] == want


def test_a_label_that_is_given_twice_is_there_once(helm):
    """The pod's and the ServiceMonitor's own say more than those of every object."""
    told = helm(
        *("template", "headway", str(CHART)),
        values={
            "commonLabels": {"team": "research"},
            "podLabels": {"team": "operators"},
            "serviceMonitor": {"create": True, "labels": {"team": "watchers"}},
        },
    )
    rendered = [o for o in yaml.safe_load_all(told) if o]
    pod = only(rendered, "Deployment")["spec"]["template"]["metadata"]
    assert pod["labels"]["team"] == "operators"
    assert only(rendered, "ServiceMonitor")["metadata"]["labels"]["team"] == "watchers"
    others = [o for o in rendered if o["metadata"].get("labels", {}).get("team") == "research"]
    assert told.count("team: research") == len(others) == len(rendered) - 2


def test_a_digest_counts_in_place_of_the_tag(helm):
    given = {"trainerImage": {"tag": "old", "digest": DIGEST}}
    assert f"--trainer-image=headway/trainer@{DIGEST}" in container_of(helm.template(given))["args"]


def test_a_platform_that_chooses_users_itself_is_left_to_it(helm):
    none = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}
    context = pod_of(helm.template(none))["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_names_that_look_like_numbers_stay_names(helm):
    values = {"namespaces": ["123", "1e3", "true"], "priorityClassName": "1000"}
    rendered = helm.template(values, "-n", "42")
    bound = [o["metadata"]["namespace"] for o in rendered if o["kind"] == "RoleBinding"]
    assert bound == values["namespaces"]
    assert pod_of(rendered)["priorityClassName"] == "1000"
    for item in rendered:
        assert item["metadata"].get("namespace", "42") in {"42", *bound}
        for subject in item.get("subjects", ()):
            assert subject["namespace"] == "42"


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_how_often_a_probe_asks_can_be_left_to_kubernetes(helm, probe):
    found = container_of(helm.template({probe: None}))[probe]
    assert found == {"httpGet": {"path": ANY, "port": "http"}}


def test_with_namespaces_the_rights_are_bound_in_those_only(helm):
    found = helm.template({"namespaces": ["one", "two"]})
    bound = {
        (o["kind"], o["metadata"].get("namespace"), o["roleRef"]["name"])
        for o in found
        if o["kind"].endswith("RoleBinding")
    }
    assert bound == {
        ("ClusterRoleBinding", None, "headway-operator-nodes"),
        ("RoleBinding", "one", "headway-operator"),
        ("RoleBinding", "two", "headway-operator"),
    }
    assert "--namespaces=one,two" in container_of(found)["args"]
    assert only(found, "Deployment")["metadata"]["namespace"] == "somewhere"


def test_nobody_reads_the_metrics_but_who_is_named(helm):
    assert not [o for o in helm.template() if o["kind"] == "NetworkPolicy"]
    closed = only(helm.template({"networkPolicy": {"create": True}}), "NetworkPolicy")["spec"]
    assert closed["policyTypes"] == ["Ingress"]
    assert closed["ingress"] == []
    spec = only(helm.template(EVERYTHING), "NetworkPolicy")["spec"]
    assert spec["ingress"] == [
        {
            "from": EVERYTHING["networkPolicy"]["metricsFrom"],
            "ports": [{"protocol": "TCP", "port": "http"}],
        }
    ]
    deployment = only(helm.template(EVERYTHING), "Deployment")["spec"]
    assert spec["podSelector"] == deployment["selector"]


def test_a_service_monitor_is_there_only_where_it_is_asked_for(helm):
    """Clusters without the Prometheus operator do not know the kind, and would refuse the chart."""
    assert not [o for o in helm.template(EVERYTHING) if o["kind"] == "ServiceMonitor"]
    asked = {"serviceMonitor": {"create": True, "labels": {"release": "prometheus"}}}
    rendered = helm.template(asked)
    monitor = only(rendered, "ServiceMonitor")
    service = only(rendered, "Service")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"trainrImage": {"tag": "1"}}, "trainrImage"),
        ({"image": {"tga": "1"}}, "tga"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"image": {"repository": "registry.example:5000/operator:1"}}, "repository"),
        ({"trainerImage": {"repository": "https://registry.example/trainer"}}, "repository"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"namespaces": ["Team A"]}, "namespaces"),
        ({"namespaces": ["a", "a"]}, "namespaces"),
        ({"workers": 0}, "workers"),
        ({"workers": None}, "workers"),
        ({"trainerImage": {"repository": None}}, "repository"),
        ({"log": {"level": None}}, "level"),
        ({"log": {"level": "trace"}}, "level"),
        ({"extraEnv": [{"name": "A"}]}, "extraEnv"),
        ({"livenessProbe": {"period": 3}}, "livenessProbe"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector"),
        ({"networkPolicy": {"metricsFrom": [{}]}}, "metricsFrom"),
        ({"admissionPolicy": {"exempt": [{"namespace": "a", "name": "it's"}]}}, "exempt"),
        ({"tolerations": [{"effect": "NoRun"}]}, "tolerations"),
        ({"commonLabels": {"app.kubernetes.io/name": "mine"}}, "app.kubernetes.io/name"),
        ({"podLabels": {"app.kubernetes.io/name": "mine"}}, "app.kubernetes.io/name"),
        ({"extraEnv": [{"name": "POD_IP", "value": "10.0.0.1"}]}, "extraEnv"),
    ],
    ids=lambda part: json.dumps(part) if isinstance(part, dict) else "",
)
def test_a_wrong_value_is_refused_by_name(helm, values, told):
    done = helm.run("template", "headway", str(CHART), values=values)
    assert done.returncode != 0
    assert told in done.stderr


def test_a_chart_that_depends_on_it_can_turn_it_off(helm, tmp_path):
    """Helm hands the condition on to the chart, as one more value of it."""
    dependency = {"name": "headway", "version": __version__, "condition": "headway.enabled"}
    parent = {"apiVersion": "v2", "name": "platform", "version": "1.0.0"}
    (tmp_path / "Chart.yaml").write_text(json.dumps({**parent, "dependencies": [dependency]}))
    shutil.copytree(CHART, tmp_path / "charts" / "headway")
    for enabled in (True, False):
        values = {"headway": {"enabled": enabled}}
        rendered = helm("template", "platform", str(tmp_path), values=values)
        assert ("name: headway-operator" in rendered) is enabled
    done = helm.run("template", "headway", str(CHART), values={"enabled": False})
    assert "enabled" in done.stderr


# What a person reads after an installation


def notes(helm: Helm, **values) -> str:
    text = helm(
        "install", "headway", str(CHART), "-n", "somewhere", "--dry-run=client", values=values
    )
    return text.partition("NOTES:")[2]


def test_the_notes_say_what_to_do_next(helm):
    told = notes(helm)
    assert "every namespace" in told
    assert "rollout status deployment/headway-operator" in told
    assert "WARNING" not in told
    assert "kubectl delete crd trainingoperations.headway.dev" in told


def test_the_notes_fit_what_was_chosen(helm):
    told = notes(helm, namespaces=["one", "two"], crds={"install": False})
    assert "the namespaces one, two" in told
    assert "kubectl -n one get trainop hello" in told
    assert "crds.install is false" in told
    assert "WARNING" in notes(helm, admissionPolicy={"create": False})

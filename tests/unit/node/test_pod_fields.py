"""What the node does with every field of a pod, and that the documentation says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from headway_cluster.node import fields
from kubernetes.client import models
from podspecs import a_container, a_pod

DOCS = Path(__file__).resolve().parents[3] / "docs" / "process-node.md"
COVERED = {rule.path for rule in fields.RULES}


def uncovered(model: str, path: str) -> list[str]:
    """Fields of the Kubernetes client's model that no rule of the table covers."""
    known = getattr(models, model)
    found = []
    for attribute, kind in known.openapi_types.items():
        here = f"{path}.{known.attribute_map[attribute]}".removeprefix(".")
        item = kind
        if kind.lower().startswith("list["):
            item = kind[len("list[") : -1]
            here += "[]"
        if here in COVERED or here.removesuffix("[]") in COVERED:
            continue
        if hasattr(getattr(models, item, None), "openapi_types"):
            found += uncovered(item, here)
        else:
            found.append(here)
    return found


def test_the_table_covers_every_field_of_a_pod():
    assert [
        path
        for path in uncovered("V1Pod", "")
        if path not in ("apiVersion", "kind") and not path.startswith("spec.ephemeralContainers")
    ] == []


def test_no_rule_stands_twice():
    assert len(COVERED) == len(fields.RULES)


def test_an_ordinary_pod_is_taken_without_a_word():
    pod = a_pod(
        a_container("main", "true", resources={"limits": {"memory": "1Gi"}}, tty=False),
        dnsPolicy="ClusterFirst",
        hostUsers=True,
        securityContext={},
        volumes=[{"name": "a", "emptyDir": {"medium": "Memory"}}],
    )
    assert fields.check(pod) == fields.Findings((), ())


@pytest.mark.parametrize(
    ("pod", "path"),
    [
        (a_pod(runtimeClassName="gvisor"), "spec.runtimeClassName"),
        (
            a_pod(a_container("main", securityContext={"privileged": True})),
            "spec.containers[main].securityContext.privileged",
        ),
        (
            a_pod(volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}]),
            "spec.volumes[v].nfs",
        ),
        (
            a_pod(init=(a_container("i", lifecycle={"postStart": {}}),)),
            "spec.initContainers[i].lifecycle",
        ),
        (a_pod(os={"name": "windows"}), "spec.os"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_path(pod, path):
    found = fields.check(pod)
    assert [one.path for one in found.refused] == [path]
    assert found.refused[0].note


@pytest.mark.parametrize(
    ("pod", "path"),
    [
        (a_pod(hostname="x"), "spec.hostname"),
        (a_pod(securityContext={"runAsUser": 1000}), "spec.securityContext.runAsUser"),
        (
            a_pod(a_container("main", resources={"limits": {"cpu": "1"}})),
            "spec.containers[main].resources.limits.cpu",
        ),
        (a_pod(dnsPolicy="None"), "spec.dnsPolicy"),
        (a_pod(hostUsers=False), "spec.hostUsers"),
        (a_pod(securityContext={"runAsUser": 0}), "spec.securityContext.runAsUser"),
    ],
)
def test_what_is_not_carried_out_is_warned_of_by_its_path(pod, path):
    found = fields.check(pod)
    assert [one.path for one in found.warned] == [path]
    assert not found.refused


def test_the_documentation_has_this_table():
    assert fields.markdown() in DOCS.read_text(), (
        "docs/process-node.md differs from what the node does; put in the table that "
        "`python -m headway_cluster.node.fields` prints"
    )

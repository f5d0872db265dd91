"""Runs in namespaces that enforce the restricted Pod Security Standard."""

from __future__ import annotations

import pytest
from headway_api import names
from headway_api.version import __version__
from kubectl import Kubectl, dummy, operation
from waiting import eventually

ENFORCE = "pod-security.kubernetes.io/enforce"
ANOTHER_IMAGE = names.default_operator_image(__version__)
"""An image that is not the trainers' own, and that the node has."""
NO_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.fixture
def restricted(kubectl: Kubectl) -> Kubectl:
    """A namespace that enforces it."""
    kubectl("label", "namespace", kubectl.namespace, f"{ENFORCE}=restricted")
    return kubectl


def pod_of(kubectl: Kubectl, name: str) -> dict:
    [pod] = kubectl.pods_of(name)
    return pod


def in_another_image(name: str, **spec) -> dict:
    return operation(
        name, "Custom", image=ANOTHER_IMAGE, custom={"command": ["python", "-c", "1"]}, **spec
    )


def test_a_run_in_our_own_image_succeeds_there_and_asks_for_nothing_odd(restricted):
    restricted.apply(dummy("run", iterations=1, interval=0))
    restricted.wait_for_phase("run", "Succeeded")
    pod = pod_of(restricted, "run")
    assert pod["spec"]["securityContext"]["runAsUser"] == names.IMAGE_USER
    [trainer] = pod["spec"]["containers"]
    assert trainer["securityContext"] == {**NO_RIGHTS, "readOnlyRootFilesystem": True}
    assert not [c for c in pod["status"]["conditions"] if "not carried out" in str(c)]


def test_a_users_image_with_a_sidecar_gets_what_the_standard_asks_for(restricted):
    sidecar = {"name": "more", "image": ANOTHER_IMAGE, "command": ["python", "-c", "1"]}
    template = {"spec": {"containers": [sidecar], "initContainers": [{**sidecar, "name": "first"}]}}
    restricted.apply(in_another_image("run", podTemplate=template))
    restricted.wait_for_phase("run", "Succeeded")
    spec = pod_of(restricted, "run")["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["securityContext"] == NO_RIGHTS


def test_a_users_image_is_left_alone_elsewhere(kubectl):
    kubectl.apply(in_another_image("run"))
    kubectl.wait_for_phase("run", "Succeeded")
    spec = pod_of(kubectl, "run")["spec"]
    assert not spec.get("securityContext")
    assert "securityContext" not in spec["containers"][0]


def test_a_pod_template_against_the_standard_is_told_with_what_to_set(restricted):
    host = {"name": "host", "hostPath": {"path": "/srv"}}
    restricted.apply(dummy("run", podTemplate={"spec": {"volumes": [host]}}))
    told = restricted.wait_for("run", lambda o: o.get("status", {}).get("reason") == "InvalidPod")
    assert 'restricted volume types (volume "host"' in told["status"]["message"]
    assert "Set what it asks for in podTemplate" in told["status"]["message"]


def test_rights_in_one_namespace_are_enough_to_see_what_it_enforces(restricted):
    """As with ``namespaces`` in the chart's values: the role is bound there, and nowhere else."""
    space = restricted.namespace
    restricted("create", "serviceaccount", "watcher")
    binding = ("create", "rolebinding", "watcher", "--clusterrole=headway-operator")
    restricted(*binding, f"--serviceaccount={space}:watcher")
    me = f"--as=system:serviceaccount:{space}:watcher"
    labels = ("get", "namespace", space, me, "-o", "jsonpath={.metadata.labels}")
    seen = eventually(lambda: restricted(*labels), within=30, why="the binding is in force")
    assert f'"{ENFORCE}":"restricted"' in seen
    other = restricted.run("get", "namespace", "default", me, check=False)
    assert "forbidden" in other.stderr

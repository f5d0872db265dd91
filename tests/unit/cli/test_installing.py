"""What ``headway install`` would apply, and where it leaves an installation alone."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from headway.client_errors import Forbidden, NotFound
from headway_cli.installing import Images, install, manifests, operator
from headway_cli.main import app
from headway_cli.problems import Problem
from typer.testing import CliRunner

DIGEST = "registry.example/headway/trainer@sha256:" + "0" * 64


def operator_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [deployment] = [o for o in objects if o["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return container


def test_images_that_are_named_take_the_place_of_the_packaged_ones_and_nothing_else_changes():
    images = Images("registry.example/headway/operator:1", DIGEST, "Never")
    changed, packaged = manifests(images), manifests()
    container, was = operator_of(changed), operator_of(packaged)
    assert container["image"] == "registry.example/headway/operator:1"
    assert container["imagePullPolicy"] == "Never"
    assert set(container["args"]) - set(was["args"]) == {f"--trainer-image={DIGEST}"}
    assert len(container["args"]) == len(was["args"])
    for field in ("image", "imagePullPolicy", "args"):
        container[field] = was[field]
    assert changed == packaged


def test_an_image_that_is_not_named_stays_the_packaged_one():
    container, was = operator_of(manifests(Images(trainer=DIGEST))), operator_of(manifests())
    assert container["image"] == was["image"]
    assert container["imagePullPolicy"] == was["imagePullPolicy"]


def test_printed_manifests_carry_the_images_that_are_named():
    named = ("--operator-image", "a/b:1", "--image-pull-policy", "Never")
    done = CliRunner().invoke(app, ["install", "--print", *named])
    container = operator_of(list(yaml.safe_load_all(done.stdout)))
    assert (container["image"], container["imagePullPolicy"]) == ("a/b:1", "Never")


ELSEWHERE = {"metadata": {"name": "headway-operator", "namespace": "platform"}}


class ElsewhereInstalled:
    """A cluster with an operator outside of the usual namespace, and what was written to it."""

    server = "https://there"

    def __init__(self, *, may_list: bool = True, minor: str = "32+"):
        self.may_list = may_list
        self.version = {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.4"}
        self.written: list[str] = []

    def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        if method != "GET":
            self.written.append(path)
            return {}
        if path == "/version":
            return self.version
        if path != "/apis/apps/v1/deployments":
            raise NotFound(f"{path} not found")
        if not self.may_list:
            raise Forbidden("deployments is forbidden")
        return {"items": [ELSEWHERE]}


def test_an_operator_in_another_namespace_is_found():
    assert operator(ElsewhereInstalled()) == ELSEWHERE
    with pytest.raises(Forbidden):
        operator(ElsewhereInstalled(may_list=False))


def test_an_operator_in_another_namespace_keeps_its_roles_and_its_policy():
    cluster = ElsewhereInstalled()
    with pytest.raises(Problem, match="installed on this cluster already, in namespace platform"):
        install(cluster, print, wait=False)
    assert not cluster.written


def test_a_kubernetes_that_is_too_old_is_refused_before_anything_is_written():
    cluster = ElsewhereInstalled(minor="31")
    with pytest.raises(Problem, match=r"needs Kubernetes 1\.32 or newer"):
        install(cluster, print, wait=False)
    assert not cluster.written

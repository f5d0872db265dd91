"""Which claims and volumes a node's provisioner acts on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from headway_cluster.node.api import Api, ApiError
from headway_cluster.node.provisioner import (
    PROVISIONER,
    STORAGE_CLASS,
    Provisioner,
    is_released,
    volume_for,
    wants_volume,
)
from waiting import eventually


def claim(node="here", provisioner=PROVISIONER, volume="", **metadata):
    return {
        "metadata": {
            "name": "data",
            "namespace": "ns",
            "uid": "u",
            "annotations": {
                "volume.kubernetes.io/storage-provisioner": provisioner,
                "volume.kubernetes.io/selected-node": node,
            },
            **metadata,
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "headway-local",
            "volumeName": volume,
        },
    }


def test_a_claim_whose_pod_was_put_on_this_node_gets_a_volume():
    assert wants_volume(claim(), "here")


@pytest.mark.parametrize(
    "other",
    [
        claim(node="there"),
        claim(provisioner="example.com/other"),
        claim(volume="pvc-u"),
        claim(deletionTimestamp="2026-01-01T00:00:00Z"),
        claim(annotations={}),
        claim(annotations=None),
    ],
)
def test_no_other_claim_does(other):
    assert not wants_volume(other, "here")


def test_a_volume_is_bound_to_its_claim_and_its_node():
    volume = volume_for(claim(), "here", Path("/x/ns/data-u"), "Delete")
    assert volume["metadata"]["name"] == "pvc-u"
    assert volume["spec"]["claimRef"]["uid"] == "u"
    assert volume["spec"]["local"] == {"path": "/x/ns/data-u"}
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["here"]


def released(**changes):
    volume = volume_for(claim(), "here", Path("/x/ns/data-u"), "Delete")
    volume["status"] = {"phase": "Released"}
    volume["spec"].update(changes)
    return volume


def test_a_released_volume_of_this_node_is_deleted():
    assert is_released(released(), "here")


def test_no_other_volume_is():
    assert not is_released(released(), "there")
    assert not is_released(released(persistentVolumeReclaimPolicy="Retain"), "here")
    assert not is_released({**released(), "status": {"phase": "Bound"}}, "here")
    foreign = released()
    foreign["metadata"]["annotations"] = {}
    assert not is_released(foreign, "here")


def test_the_storage_class_waits_for_the_first_pod():
    assert STORAGE_CLASS["volumeBindingMode"] == "WaitForFirstConsumer"
    assert STORAGE_CLASS["provisioner"] == PROVISIONER


class Server(Api):
    """An API server with claims and volumes that refuses some requests."""

    def __init__(self, claims=(), volumes=(), refuses=()):
        self.lists = {
            "/api/v1/persistentvolumeclaims": list(claims),
            "/api/v1/persistentvolumes": list(volumes),
        }
        self.refuses = refuses
        self.created = []
        self.deleted = []

    def request(self, method, path, body=None, *, query=None, content=""):
        name = (body or {}).get("metadata", {}).get("name", path.rpartition("/")[2])
        if name in self.refuses:
            raise ApiError(404, "NotFound", f"{name} is not there")
        if path in self.lists and method == "GET":
            return {"metadata": {"resourceVersion": "1"}, "items": self.lists[path]}
        if method in ("POST", "DELETE"):
            (self.created if method == "POST" else self.deleted).append(name)
        return {}

    def watch(self, path, version, **query):
        threading.Event().wait(0.05)
        return iter(())


def a_released(name, folder):
    volume = volume_for(claim(), "here", folder, "Delete")
    volume["metadata"] |= {"name": name, "uid": name}
    volume["status"] = {"phase": "Released"}
    return volume


def test_a_claim_that_cannot_be_served_holds_up_no_other(tmp_path):
    wrong = claim(name="wrong", uid="wrong")
    wrong["spec"]["storageClassName"] = "gone"
    fine = claim(name="fine", uid="fine")
    folder = tmp_path / "ns" / "old"
    (folder / "inside").mkdir(parents=True)
    server = Server([wrong, fine], [a_released("old", folder)], refuses=["gone"])
    provisioner = Provisioner(server, "here", tmp_path)
    provisioner.start()
    try:
        eventually(lambda: "pvc-fine" in server.created, within=20, why="the other has a volume")
        eventually(lambda: "old" in server.deleted, within=20, why="what is released is deleted")
    finally:
        provisioner.stop()
    assert not folder.exists()
    assert "pvc-wrong" not in server.created


def test_only_what_lies_where_volumes_are_made_is_deleted(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "claims"
    mine = root / "ns" / "mine"
    mine.mkdir(parents=True)
    server = Server([], [a_released("foreign", elsewhere), a_released("mine", mine)])
    provisioner = Provisioner(server, "here", root)
    provisioner.start()
    try:
        eventually(lambda: server.deleted == ["mine"], within=20, why="its own is deleted")
    finally:
        provisioner.stop()
    assert elsewhere.exists()

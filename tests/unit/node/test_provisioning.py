"""Which claims and volumes a node's provisioner acts on."""

from __future__ import annotations

from pathlib import Path

import pytest
from headway_cluster.node.provisioner import (
    PROVISIONER,
    STORAGE_CLASS,
    is_released,
    volume_for,
    wants_volume,
)


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

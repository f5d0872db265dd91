"""Volumes for claims of the storage class ``headway-local``: folders of this machine.

A claim of this class waits until the scheduler has chosen a node for its first pod. The node that
was chosen then makes a folder and a PersistentVolume for it, which pins later pods of the claim to
the same node. With the reclaim policy Delete, folder and volume go when the claim is deleted.

The protocol is that of external provisioners: the volume controller marks the claim with the
provisioner's name, the scheduler with the node's
(https://kubernetes.io/docs/reference/labels-annotations-taints/).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from headway_cluster.node.announcing import About, Announcer
from headway_cluster.node.api import (
    Api,
    ApiError,
    ApiUnavailableError,
    Follower,
    Json,
    pause_after,
)
from headway_cluster.removing import remove

log = logging.getLogger(__name__)

PROVISIONER = "headway.dev/local"
STORAGE_CLASS_NAME = "headway-local"
STORAGE_CLASS: Json = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": STORAGE_CLASS_NAME,
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": False,
}
"""The storage class, the default one of a local cluster."""

PROVISIONER_RULES: list[Json] = [
    {
        "apiGroups": [""],
        "resources": ["persistentvolumes"],
        "verbs": ["get", "list", "watch", "create", "delete"],
    },
    {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
"""Rules of the ClusterRole that the provisioner's user needs."""

_CLAIMED_BY = "volume.kubernetes.io/storage-provisioner"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_NODE = "headway.dev/node"
_CLAIMS = "/api/v1/persistentvolumeclaims"
_VOLUMES = "/api/v1/persistentvolumes"


def wants_volume(claim: Mapping[str, Any], node: str) -> bool:
    """Whether this node is to make a volume for a claim."""
    annotations = claim["metadata"].get("annotations") or {}
    return (
        annotations.get(_CLAIMED_BY) == PROVISIONER
        and annotations.get(_SELECTED_NODE) == node
        and not claim["spec"].get("volumeName")
        and not claim["metadata"].get("deletionTimestamp")
    )


def is_released(volume: Mapping[str, Any], node: str) -> bool:
    """Whether this node is to delete a volume: its claim is gone, and it is not to be kept."""
    annotations = volume["metadata"].get("annotations") or {}
    return (
        annotations.get(_PROVISIONED_BY) == PROVISIONER
        and annotations.get(_NODE) == node
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and (volume.get("status") or {}).get("phase") == "Released"
        and not volume["metadata"].get("deletionTimestamp")
    )


def volume_for(claim: Mapping[str, Any], node: str, folder: Path, reclaim: str) -> Json:
    """The PersistentVolume of a claim."""
    meta, spec = claim["metadata"], claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{meta['uid']}",
            "annotations": {_PROVISIONED_BY: PROVISIONER, _NODE: node},
        },
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "local": {"path": str(folder)},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/hostname",
                                    "operator": "In",
                                    "values": [node],
                                }
                            ]
                        }
                    ]
                }
            },
            "persistentVolumeReclaimPolicy": reclaim,
            "storageClassName": spec.get("storageClassName") or "",
            "volumeMode": "Filesystem",
        },
    }


class ProvisioningError(Exception):
    """Some volumes could not be made or deleted; the message names the causes."""


class Provisioner:
    """Makes and deletes the volumes of this node, from a thread of its own."""

    def __init__(self, api: Api, node: str, root: Path) -> None:
        """Take the API as the provisioner's user, the node's name, and the folder for volumes."""
        self._api = api
        self._node = node
        self._root = root
        self._announcer = Announcer(api, node)
        self._claims = _Collection(api, _CLAIMS, "claims", self._look)
        self._volumes = _Collection(api, _VOLUMES, "volumes", self._look)
        self._news = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="provisioner", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._announcer.start()
        self._claims.start()
        self._volumes.start()
        self._thread.start()

    def stop(self) -> None:
        """Make and delete nothing more."""
        self._stopped = True
        self._claims.stop()
        self._volumes.stop()
        self._news.set()

    def _look(self) -> None:
        self._news.set()

    def _work(self) -> None:
        failures = 0
        while not self._stopped:
            self._news.wait(pause_after(failures) if failures else None)
            self._news.clear()
            try:
                self._reconcile()
                failures = 0
            except ProvisioningError as error:
                log.warning("volumes: %s", error)
                failures += 1
            except Exception:
                log.exception("volumes: trying again")
                failures += 1

    def _reconcile(self) -> None:
        """Make and delete what is due; what fails keeps nothing else from being tried.

        Raises:
            ProvisioningError: something failed, and is to be tried again.
        """
        todo = [
            *(
                partial(self._make, c)
                for c in self._claims.objects()
                if wants_volume(c, self._node)
            ),
            *(
                partial(self._delete, v)
                for v in self._volumes.objects()
                if is_released(v, self._node)
            ),
        ]
        failed: list[str] = []
        for do in todo:
            if self._stopped:
                return
            try:
                do()
            except (ApiError, ApiUnavailableError, OSError, LookupError) as error:
                failed.append(f"{type(error).__name__}: {error}")
        if failed:
            raise ProvisioningError("; ".join(failed))

    def _make(self, claim: Json) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        about = About("PersistentVolumeClaim", meta["namespace"], meta["name"], meta["uid"])
        if spec.get("volumeMode") == "Block":
            self._announcer.warning(
                about,
                "ProvisioningFailed",
                f"the storage class {spec.get('storageClassName')} makes folders, not block"
                " devices: leave volumeMode out",
            )
            return
        folder = self._root / meta["namespace"] / f"{meta['name']}-{meta['uid']}"
        try:
            storage = self._api.get(
                f"/apis/storage.k8s.io/v1/storageclasses/{spec['storageClassName']}"
            )
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            volume = volume_for(claim, self._node, folder, storage.get("reclaimPolicy") or "Delete")
            self._api.create(_VOLUMES, volume)
        except (ApiError, OSError) as error:
            if isinstance(error, ApiError) and error.code == HTTPStatus.CONFLICT:
                return
            self._announcer.warning(about, "ProvisioningFailed", str(error))
            raise
        log.info("claim %s/%s has the volume %s", meta["namespace"], meta["name"], folder)
        self._announcer.normal(
            about,
            "ProvisioningSucceeded",
            f"made the folder {folder} on node {self._node}",
        )

    def _delete(self, volume: Json) -> None:
        meta = volume["metadata"]
        folder = Path((volume["spec"].get("local") or {}).get("path") or "/")
        if folder.parent.parent != self._root:
            log.warning(
                "volume %s: %s is not below %s and is left alone",
                meta["name"],
                folder,
                self._root,
            )
            return
        remove(folder)
        try:
            self._api.delete(f"{_VOLUMES}/{meta['name']}", {"preconditions": {"uid": meta["uid"]}})
        except ApiError as error:
            if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise
        log.info("volume %s is deleted with its folder %s", meta["name"], folder)


class _Collection(Follower):
    """The objects of a kind as they are now."""

    def __init__(self, api: Api, path: str, name: str, changed: Any) -> None:
        super().__init__(api, path, name)
        self._objects: dict[str, Json] = {}
        self._lock = threading.Lock()
        self._tell = changed

    def objects(self) -> list[Json]:
        """What there is."""
        with self._lock:
            return list(self._objects.values())

    def listed(self, objects: list[Json]) -> None:
        with self._lock:
            self._objects = {one["metadata"]["uid"]: one for one in objects}
        self._tell()

    def changed(self, kind: str, obj: Json) -> None:
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(obj["metadata"]["uid"], None)
            else:
                self._objects[obj["metadata"]["uid"]] = obj
        self._tell()

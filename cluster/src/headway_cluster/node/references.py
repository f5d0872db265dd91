"""Reading what a pod refers to: config maps, secrets, claims, tokens."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from http import HTTPStatus

from headway_cluster.node.api import Api, ApiError, Json
from headway_cluster.node.pods import Pod


class NotYetAllowedError(Exception):
    """The API server does not know yet that the pod is on this node; it will in a moment."""


class References:
    """What one pod refers to, read at most once per object. Make a new one to read again."""

    def __init__(self, api: Api, pod: Pod) -> None:
        self._api = api
        self._pod = pod
        self._read: dict[str, Json | None] = {}

    def config_map(self, name: str) -> Mapping[str, str] | None:
        """The text data of a config map; None when there is none of this name."""
        found = self._namespaced("configmaps", name)
        return None if found is None else dict(found.get("data") or {})

    def secret(self, name: str) -> Mapping[str, str] | None:
        """The data of a secret as text."""
        files = self.secret_files(name)
        return (
            None
            if files is None
            else {key: value.decode(errors="surrogateescape") for key, value in files.items()}
        )

    def config_map_files(self, name: str) -> Mapping[str, bytes] | None:
        """All data of a config map, the binary included."""
        found = self._namespaced("configmaps", name)
        if found is None:
            return None
        binary = found.get("binaryData") or {}
        return {
            **{key: value.encode() for key, value in (found.get("data") or {}).items()},
            **{key: base64.b64decode(value) for key, value in binary.items()},
        }

    def secret_files(self, name: str) -> Mapping[str, bytes] | None:
        """All data of a secret."""
        found = self._namespaced("secrets", name)
        if found is None:
            return None
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    def claim(self, name: str) -> Json | None:
        """A PersistentVolumeClaim."""
        return self._namespaced("persistentvolumeclaims", name)

    def volume(self, name: str) -> Json | None:
        """A PersistentVolume."""
        return self._get(f"/api/v1/persistentvolumes/{name}")

    def token(self, audience: str, seconds: int) -> tuple[str, float]:
        """A token of the pod's service account, bound to the pod, and how many seconds it lives."""
        pod = self._pod
        body: Json = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod.name,
                    "uid": pod.uid,
                },
            },
        }
        path = f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{pod.service_account}/token"
        try:
            made = self._api.create(path, body)
        except ApiError as error:
            raise _not_yet(error) from error
        # Its life rather than the time of its end: that is told by the API server's clock.
        return made["status"]["token"], float(made["spec"]["expirationSeconds"])

    def _namespaced(self, plural: str, name: str) -> Json | None:
        return self._get(f"/api/v1/namespaces/{self._pod.namespace}/{plural}/{name}")

    def _get(self, path: str) -> Json | None:
        if path not in self._read:
            try:
                self._read[path] = self._api.get(path)
            except ApiError as error:
                if error.code == HTTPStatus.NOT_FOUND:
                    # Not kept: whoever asks again wants to know whether it exists by now.
                    return None
                raise _not_yet(error) from error
        return self._read[path]


def _not_yet(error: ApiError) -> Exception:
    # The Node authorizer learns of a binding by a watch of its own, a moment after we do.
    if error.code == HTTPStatus.FORBIDDEN and "no relationship found" in str(error):
        return NotYetAllowedError(str(error))
    return error

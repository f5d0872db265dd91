"""Objects of an API server, read and written through one connection that is kept.

A kubectl costs a good tenth of a second of CPU: far too much for what is done again and again.
"""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config

TRAINING_OPERATIONS = "trainingoperations.headway.dev"
_CORE = "/api/v1"
_FOLDERS = {
    "pods": f"{_CORE}/namespaces/{{namespace}}/pods",
    "services": f"{_CORE}/namespaces/{{namespace}}/services",
    "persistentvolumeclaims": f"{_CORE}/namespaces/{{namespace}}/persistentvolumeclaims",
    "configmaps": f"{_CORE}/namespaces/{{namespace}}/configmaps",
    "serviceaccounts": f"{_CORE}/namespaces/{{namespace}}/serviceaccounts",
    "nodes": f"{_CORE}/nodes",
    "jobs": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "deployments": "/apis/apps/v1/namespaces/{namespace}/deployments",
    TRAINING_OPERATIONS: "/apis/headway.dev/v1alpha1/namespaces/{namespace}/trainingoperations",
}
_ALSO = {
    "pod": "pods",
    "job": "jobs",
    "node": "nodes",
    "service": "services",
    "deployment": "deployments",
    "pvc": "persistentvolumeclaims",
    "configmap": "configmaps",
    "serviceaccount": "serviceaccounts",
    "trainop": TRAINING_OPERATIONS,
    "trainingoperation": TRAINING_OPERATIONS,
    "persistentvolumeclaim": "persistentvolumeclaims",
}
_SECONDS = 30


class NotFoundError(AssertionError):
    """There is no such object, or no such kind."""


def known(kind: str) -> bool:
    """Whether a kind, as kubectl or a manifest calls it, is known here."""
    kind = kind.lower()
    return kind in _FOLDERS or kind in _ALSO


def read(
    kubeconfig: Path, namespace: str, kind: str, name: str = "", selector: str = ""
) -> dict[str, Any]:
    """An object, or the list of a kind's objects.

    Raises:
        AssertionError: it cannot be had; with kubectl's words.
    """
    folder = _folder(namespace, kind)
    query = {"labelSelector": selector} if selector else {}
    return send(kubeconfig, "GET", f"{folder}/{name}" if name else folder, query=query)


def apply(kubeconfig: Path, namespace: str, thing: dict[str, Any]) -> None:
    """What ``kubectl apply --server-side --force-conflicts`` sends.

    Raises:
        AssertionError: it is refused; with kubectl's words.
    """
    send(
        kubeconfig,
        "PATCH",
        f"{_folder(namespace, thing['kind'])}/{thing['metadata']['name']}",
        query={"fieldManager": "kubectl", "force": "true", "fieldValidation": "Strict"},
        body=thing,
        content="application/apply-patch+yaml",
    )


def merge(kubeconfig: Path, namespace: str, kind: str, name: str, patch: dict[str, Any]) -> None:
    """What ``kubectl patch --type merge`` sends.

    Raises:
        AssertionError: it is refused; with kubectl's words.
    """
    path = f"{_folder(namespace, kind)}/{name}"
    send(kubeconfig, "PATCH", path, body=patch, content="application/merge-patch+json")


def delete_all(kubeconfig: Path, namespace: str, *kinds: str) -> None:
    """Delete all objects of kinds; one that the server does not know has none."""
    for kind in kinds:
        with contextlib.suppress(NotFoundError):
            send(
                kubeconfig,
                "DELETE",
                _folder(namespace, kind),
                query={"propagationPolicy": "Background"},
            )


def _folder(namespace: str, kind: str) -> str:
    kind = kind.lower()
    return _FOLDERS[_ALSO.get(kind, kind)].format(namespace=namespace)


def send(
    kubeconfig: Path,
    method: str,
    path: str,
    *,
    query: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
    content: str = "application/json",
) -> dict[str, Any]:
    """What the API server answers.

    Raises:
        AssertionError: it refuses; with kubectl's words.
    """
    api = _client(kubeconfig, kubeconfig.stat().st_mtime_ns)
    request = api.param_serialize(
        method,
        path,
        query_params=list((query or {}).items()),
        header_params={"Accept": "application/json", "Content-Type": content},
        body=body,
        auth_settings=["BearerToken"],
    )
    answer = api.call_api(*request, _request_timeout=_SECONDS)
    text: bytes = answer.read()
    told = text.startswith(b"{")
    found: dict[str, Any] = json.loads(text) if told else {}
    if answer.status >= 300 or not told:
        words = text.decode()
        if told:
            words = f"Error from server ({found.get('reason')}): {found.get('message')}"
        kind = NotFoundError if answer.status == 404 else AssertionError
        raise kind(f"{method} {path}: {words}")
    return found


@functools.cache
def _client(kubeconfig: Path, changed: int) -> ApiClient:
    """The client of a kubeconfig as it was written at that time."""
    return new_client_from_config(config_file=str(kubeconfig))

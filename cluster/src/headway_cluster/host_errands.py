"""What joining and leaving ask of the cluster, as the person who joins this machine to it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from headway_api import names

from headway_cluster.errors import ClusterError
from headway_cluster.node.api import ApiError
from headway_cluster.signing import Asks

Json = dict[str, Any]
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


def found(person: Asks, path: str) -> Json | None:
    """An object; None where there is none.

    Raises:
        ClusterError: it may not be read.
    """
    try:
        return person.request("GET", path)
    except ApiError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise ClusterError(f"{path} cannot be read: {error}") from error


def delete(person: Asks, path: str) -> None:
    """Delete an object, if it is there.

    Raises:
        ApiError: it may not be deleted.
    """
    try:
        person.request("DELETE", path)
    except ApiError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise


@dataclass(frozen=True)
class Identity:
    """What tells a cluster from others, and who signs its API server's certificate."""

    uid: str
    authority: str


def identity(person: Asks) -> Identity:
    """Which cluster it is.

    Raises:
        ClusterError: that may not be read.
    """
    path = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"
    try:
        found = person.request("GET", path)
        return Identity(found["metadata"]["uid"], found["data"]["ca.crt"])
    except (ApiError, KeyError) as error:
        raise ClusterError(f"the cluster does not say who signs for it: {error}") from error


def client_authority(person: Asks) -> str:
    """Who signs the API server's own client certificate.

    Raises:
        ClusterError: that may not be read.
    """
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    try:
        return str(person.request("GET", path)["data"]["client-ca-file"])
    except (ApiError, KeyError) as error:
        raise ClusterError(f"the cluster does not say who its API server is: {error}") from error


def is_ready(node: Json | None) -> bool:
    """Whether a Node says that it is ready."""
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def binding(node: str) -> str:
    """Name of the binding of a host's role."""
    return f"{names.HOST_CLUSTER_ROLE}-{node}"


def bind(person: Asks, node: Asks, name: str) -> None:
    """Let a node look up the runs of its pods, and renew its credential.

    Args:
        person: the cluster, as whoever joins.
        node: the cluster, as the node.
        name: the node's.

    Raises:
        ClusterError: it is not allowed, and what somebody else has to type.
    """
    body: Json = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": binding(name)},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": names.HOST_CLUSTER_ROLE,
        },
        "subjects": [
            {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "User",
                "name": f"system:node:{name}",
            }
        ],
    }
    try:
        person.request("POST", _BINDINGS, body)
    except ApiError as error:
        if error.code != HTTPStatus.CONFLICT and not _looks_up_runs(node):
            raise ClusterError(
                f"you may not bind the role {names.HOST_CLUSTER_ROLE}; somebody who may has to "
                f"type: kubectl create clusterrolebinding {binding(name)} --clusterrole="
                f"{names.HOST_CLUSTER_ROLE} --user=system:node:{name}; then join again"
            ) from error


def _looks_up_runs(node: Asks) -> bool:
    """Whether somebody has bound the role already."""
    asked = {"group": names.GROUP, "resource": names.PLURAL, "verb": "get"}
    review: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool((node.request("POST", path, review).get("status") or {}).get("allowed"))


def unbind(person: Asks, name: str) -> None:
    """Take that away again.

    Raises:
        ApiError: it is not allowed.
    """
    delete(person, f"{_BINDINGS}/{binding(name)}")

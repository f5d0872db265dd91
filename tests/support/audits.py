"""What the operator asked of the API server, by its audit log."""

from __future__ import annotations

from collections.abc import Iterator

from clusters import OPERATOR_NAMESPACE, Cluster

OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:headway-operator"
Right = tuple[str, str, str]
"""API group, resource (with its subresource), verb."""


def requests(cluster: Cluster, begin: int = 0) -> Iterator[tuple[str, Right, str]]:
    """Requests of the operator: what the authorizer said, what was asked, and of which path.

    Args:
        cluster: whose audit log is read.
        begin: from which byte on.
    """
    for entry in cluster.audited(begin):
        if entry["user"]["username"] != OPERATOR:
            continue
        target = entry.get("objectRef") or {}
        resource, part = target.get("resource", ""), target.get("subresource")
        right = (
            target.get("apiGroup", ""),
            f"{resource}/{part}" if part else resource,
            entry["verb"],
        )
        said = (entry.get("annotations") or {}).get("authorization.k8s.io/decision", "")
        yield said, right, entry["requestURI"]

"""A host machine that is about to leave: its runs end, or are evicted and go on elsewhere.

Only runs are waited for. What else is bound to the node, such as the pods of DaemonSets that
tolerate every taint, was never taken, and goes with the Node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from headway_api import names

from headway_cluster.node.api import ApiError, ApiUnavailableError
from headway_cluster.signing import Asks

Json = dict[str, Any]
Say = Callable[[str], None]
_POLL = 0.5
_OVER = ("Succeeded", "Failed")


def empty(person: Asks, node: str, say: Say, *, now: bool) -> None:
    """Wait until no run is left on a node that takes no more.

    Args:
        person: the cluster.
        node: the node, cordoned.
        say: told of every run that is waited for or evicted, once.
        now: whether runs are evicted rather than waited for.

    Raises:
        ApiError: it is not allowed.
    """
    told: set[str] = set()

    def tell(what: str) -> None:
        if what not in told:
            told.add(what)
            say(what)

    while True:
        try:
            alive = _runs(person, node)
        except ApiUnavailableError as error:
            # It may take hours until the last run has ended: an outage is no reason to give up.
            tell(f"the cluster does not answer, and is asked again: {error}")
            time.sleep(_POLL)
            continue
        if not alive:
            return
        for pod in alive:
            key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            tell(f"{'evicting' if now else 'waiting for the end of'} {key}")
            if now and not pod["metadata"].get("deletionTimestamp"):
                _evict(person, pod["metadata"])
        time.sleep(_POLL)


def _runs(person: Asks, node: str) -> list[Json]:
    """The pods of runs that are not over on a node."""
    query = f"fieldSelector=spec.nodeName%3D{node}&labelSelector={names.LABEL_OPERATION_UID}"
    found = person.request("GET", f"/api/v1/pods?{query}")
    return [p for p in found.get("items") or () if p["status"].get("phase") not in _OVER]


def _evict(person: Asks, pod: Json) -> None:
    """Evict a pod, unless it is gone; one that a disruption budget protects is tried again."""
    where = {"name": pod["name"], "namespace": pod["namespace"]}
    try:
        person.request(
            "POST",
            f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}/eviction",
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": where},
        )
    except ApiUnavailableError:
        return
    except ApiError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise

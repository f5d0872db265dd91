"""What a host machine takes: runs that asked for it, of namespaces that were named, nothing else.

A process node is no sandbox. On a machine that was joined to a cluster, the boundary is who
may create runs with ``placement: Host`` in one of the namespaces that its owner has named. So a pod
is taken only if it belongs to the Job of such a run, which is looked up: labels prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from headway_api import names
from headway_api.vocabulary import Placement

from headway_cluster.node.api import Api, ApiError
from headway_cluster.node.pods import Pod
from headway_cluster.node.status import Verdict

NOT_ALLOWED = "HostNotAllowed"

Json = dict[str, Any]


class HostRules:
    """Decides whether a host machine takes a pod.

    Args:
        api: the API server, as the node.
        namespaces: namespaces whose runs are taken.
    """

    def __init__(self, api: Api, namespaces: tuple[str, ...]) -> None:
        self._api = api
        self._namespaces = namespaces

    def refusal(self, pod: Pod) -> Verdict | None:
        """Why a pod is not taken; None where it is.

        Raises:
            ApiUnavailableError: nobody answers; the pod waits.
        """
        if pod.namespace not in self._namespaces:
            listed = ", ".join(self._namespaces)
            return _not(f"this host takes runs of {listed} only, not of {pod.namespace}")
        job = self._owner(pod.raw["metadata"], "Job", f"/apis/batch/v1/namespaces/{pod.namespace}")
        if job is None:
            return _not("this host takes only pods that the Job of a run has made")
        run = self._owner(
            job["metadata"],
            names.KIND,
            f"/apis/{names.API_VERSION}/namespaces/{pod.namespace}",
        )
        if run is None:
            return _not("this host takes only pods of a TrainingOperation that exists")
        if run["metadata"]["uid"] != pod.labels.get(names.LABEL_OPERATION_UID):
            return _not("its label names another TrainingOperation than its owner")
        if (run.get("spec") or {}).get("placement") != Placement.HOST:
            return _not(f"{run['metadata']['name']} did not ask for placement: {Placement.HOST}")
        return None

    def _owner(self, metadata: Mapping[str, Any], kind: str, path: str) -> Json | None:
        """The controlling owner of an object, if it is of that kind and still the same."""
        for reference in metadata.get("ownerReferences") or ():
            if not reference.get("controller") or reference["kind"] != kind:
                continue
            plural = {"Job": "jobs", names.KIND: names.PLURAL}[kind]
            try:
                found = self._api.get(f"{path}/{plural}/{reference['name']}")
            except ApiError as error:
                if error.code == HTTPStatus.NOT_FOUND:
                    return None
                raise
            return found if found["metadata"]["uid"] == reference["uid"] else None
        return None


def may_read_logs(api: Api, node: str, user: str, groups: list[str]) -> bool:
    """Whether the API server lets somebody read through this node, as a kubelet would ask it.

    Source: Kubernetes' documentation of kubelet authorization: ``get`` of ``nodes/proxy``.

    Raises:
        ApiError: the node may not ask.
        ApiUnavailableError: nobody answers.
    """
    everybody = [*groups, "system:authenticated"]  # as the API server adds it to who is known
    asked = {"verb": "get", "resource": "nodes", "subresource": "proxy", "name": node}
    review = api.create(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": everybody, "resourceAttributes": asked},
        },
    )
    return bool((review.get("status") or {}).get("allowed"))


def _not(why: str) -> Verdict:
    return Verdict(NOT_ALLOWED, f"{why}.")

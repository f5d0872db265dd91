"""Where the pods of a run may go: into the cluster, or to host machines that have joined it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headway_api import names
from headway_api.vocabulary import Placement

if TYPE_CHECKING:
    from headway_api.models import TrainingOperationSpec


def placed(template: dict[str, Any], spec: TrainingOperationSpec) -> dict[str, Any]:
    """The template for host machines, which nothing else tolerates, or as it is.

    Several workers go to one machine: on hosts they find each other by loopback.
    """
    if spec.placement is Placement.CLUSTER:
        return template
    pod = template["spec"]
    host = {"key": names.LABEL_HOST, "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    chosen = {
        **pod,
        "nodeSelector": {**(pod.get("nodeSelector") or {}), names.LABEL_HOST: "true"},
        "tolerations": [*(pod.get("tolerations") or ()), host],
    }
    if spec.workers > 1:
        chosen["affinity"] = _together(pod.get("affinity") or {}, template["metadata"]["labels"])
    return {**template, "spec": chosen}


def _together(affinity: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """An affinity that also keeps the pods of a run on one machine."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    uid = names.LABEL_OPERATION_UID
    own = {
        "labelSelector": {"matchLabels": {uid: labels[uid]}},
        "topologyKey": "kubernetes.io/hostname",
    }
    others = affinity.get("podAffinity") or {}
    return {**affinity, "podAffinity": {**others, required: [*(others.get(required) or ()), own]}}

"""The objects that an attempt is made of: its Job, and a claim of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway_api import environment, names

from headway_operator.pod_template import (
    claim_name,
    depends_on_the_namespace,
    labels,
    pod_template,
)

if TYPE_CHECKING:
    from headway_api.models import TrainingOperationSpec

    from headway_operator.snapshot import OperationView


def job(
    operation: OperationView, attempt: int, default_image: str, *, restricted: bool = False
) -> dict[str, Any]:
    """The Job of one attempt.

    It runs one pod, or one for each worker, once. A pod that the cluster takes away fails the Job
    with the reason ``PodFailurePolicy``, a crash with ``BackoffLimitExceeded``: that still tells
    them apart when the pod is gone and the controller was away.

    Args:
        operation: the run.
        attempt: the attempt, from 1.
        default_image: image of runs that name none.
        restricted: whether the namespace enforces the restricted Pod Security Standard.

    Raises:
        NotAllowedError: the podTemplate cannot be merged.
    """
    spec = _spec(operation)
    metadata = operation.metadata
    queue = {names.LABEL_QUEUE: spec.queue_name} if spec.queue_name else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(operation.name, attempt),
            "namespace": metadata.namespace,
            "labels": {**labels(operation.name, metadata.uid, attempt, spec.type), **queue},
            "ownerReferences": [owner_reference(operation)],
        },
        "spec": {
            **({"suspend": True} if queue else {}),
            **(_indexed(spec.workers) if spec.workers > 1 else {}),
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    }
                ]
            },
            "template": pod_template(
                name=operation.name,
                namespace=metadata.namespace,
                uid=metadata.uid,
                attempt=attempt,
                spec=spec,
                raw_spec=operation.raw_spec,
                default_image=default_image,
                restricted=restricted,
            ),
        },
    }


def _indexed(workers: int) -> dict[str, Any]:
    return {"completionMode": "Indexed", "completions": workers, "parallelism": workers}


def service(operation: OperationView) -> dict[str, Any] | None:
    """Gives the workers names in DNS, where there are several: also before they are ready."""
    spec, metadata = _spec(operation), operation.metadata
    if spec.workers == 1:
        return None
    ours = {
        names.LABEL_OPERATION: operation.name,
        names.LABEL_OPERATION_UID: metadata.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": operation.name,
            "namespace": metadata.namespace,
            "labels": {**ours, names.LABEL_MANAGED_BY: names.MANAGED_BY},
            "ownerReferences": [owner_reference(operation)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": ours,
            "ports": [{"name": "rendezvous", "port": environment.MASTER_PORT_DEFAULT}],
        },
    }


def claim(operation: OperationView) -> dict[str, Any] | None:
    """The claim of the operation's own, where it asks for one; it is deleted with it."""
    spec = _spec(operation)
    template = spec.storage.claim_template if spec.storage else None
    if template is None:
        return None
    wanted: dict[str, Any] = {
        "accessModes": list(template.access_modes),
        "resources": {"requests": {"storage": template.size}},
    }
    if template.storage_class_name is not None:
        wanted["storageClassName"] = template.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(operation.name),
            "namespace": operation.metadata.namespace,
            "labels": {
                names.LABEL_OPERATION: operation.name,
                names.LABEL_OPERATION_UID: operation.metadata.uid,
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
            },
            "ownerReferences": [owner_reference(operation)],
        },
        "spec": wanted,
    }


def asks_for_the_namespace(operation: OperationView, default_image: str) -> bool:
    """Whether the Job depends on what the namespace enforces."""
    return depends_on_the_namespace(_spec(operation), default_image)


def needs_trainer_account(job: dict[str, Any]) -> bool:
    """Whether the Job's pods run as the account that the controller makes."""
    account = job["spec"]["template"]["spec"].get("serviceAccountName")
    return bool(account == names.TRAINER_SERVICE_ACCOUNT)


def owner_reference(operation: OperationView) -> dict[str, Any]:
    """Makes an object go when its operation goes."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": operation.name,
        "uid": operation.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _spec(operation: OperationView) -> TrainingOperationSpec:
    if operation.spec is None:
        raise ValueError(f"the spec of {operation.name} cannot be read: {operation.spec_problem}")
    return operation.spec

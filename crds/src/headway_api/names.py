"""Names that more than one part of Headway must agree on.

Light: standard library only. Everything here is a protocol between the controller, the trainer
pods, the node and the clients; changing a value is a breaking change.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "headway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "TrainingOperation"
PLURAL: Final = "trainingoperations"
SINGULAR: Final = "trainingoperation"
SHORT_NAME: Final = "trainop"
CRD_NAME: Final = f"{PLURAL}.{GROUP}"

MAX_NAME_LENGTH: Final = 45
"""Characters that an operation's name may have, so that no name derived from it is ever cut."""

# Labels, on every Job and pod of an operation.
LABEL_OPERATION: Final = f"{GROUP}/operation"
LABEL_OPERATION_UID: Final = f"{GROUP}/operation-uid"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_TYPE: Final = f"{GROUP}/type"
ANNOTATION_CANCEL_REQUESTED_BY: Final = f"{GROUP}/cancel-requested-by"
"""Who set ``spec.cancel``, as the API server knew them; stamped by an admission policy only."""

LABEL_HOST: Final = f"{GROUP}/host"
"""Label and taint (NoSchedule) of machines that take runs with ``placement: Host`` only; the value
is ``true``."""

HOST_CLUSTER_ROLE: Final = "headway-host"
"""ClusterRole of such a machine, beside what every node may."""

LABEL_INDEX: Final = "batch.kubernetes.io/job-completion-index"
"""On the pods of an Indexed Job, by Kubernetes: which worker it is, from 0."""

LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""On a Job: Kueue's LocalQueue that it waits in."""

LABEL_RETRY_OF: Final = f"{GROUP}/retry-of"
"""On an operation: the finished one that it runs once more."""

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "headway"

TRAINER_CONTAINER: Final = "trainer"
"""Name of the container that runs the training in every pod of an operation."""

TRAINER_SERVICE_ACCOUNT: Final = "headway-trainer"
"""ServiceAccount that the controller makes in a namespace for its trainers."""

TRAINER_CLUSTER_ROLE: Final = "headway-trainer"
"""ClusterRole that the controller binds to it, in that namespace only."""

OPERATOR_NAMESPACE: Final = "headway-system"
"""Namespace that the controller is installed in unless told otherwise."""

IMAGE_USER: Final = 65532
"""User and group that the containers of our own images run as."""

WORKSPACE_VOLUME: Final = "workspace"
WORKSPACE_PATH: Final = "/workspace"
"""Where the workspace volume (data, models, checkpoints) is mounted in the trainer container."""

SERVICE_ACCOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes mounts a pod's token, CA and namespace."""

TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"
"""Where a container leaves its last words for ``status.containerStatuses[].state.terminated``."""


def job_name(operation: str, attempt: int) -> str:
    """The name of the Job that runs one attempt: ``<operation>-a<attempt>``."""
    return f"{operation}-a{attempt}"


def first_worker(operation: str, attempt: int) -> str:
    """The address of the worker of rank 0, in the namespace of its operation.

    Source: Kubernetes gives the pods of an Indexed Job the host names ``<job>-<index>``.
    """
    return f"{job_name(operation, attempt)}-0.{operation}"


def default_trainer_image(version: str) -> str:
    """The image that runs the built-in services of this version."""
    return f"headway/trainer:{version}"


def default_operator_image(version: str) -> str:
    """The image that runs the controller of this version."""
    return f"headway/operator:{version}"

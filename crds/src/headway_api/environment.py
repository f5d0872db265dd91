"""The environment variables of a trainer container, as the controller sets them.

Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headway_api.vocabulary import Placement

# Who the pod works for. Set in every trainer container; their presence is what "in the pod" means.
OPERATION_NAME: Final = "HEADWAY_OPERATION_NAME"
OPERATION_NAMESPACE: Final = "HEADWAY_OPERATION_NAMESPACE"
OPERATION_UID: Final = "HEADWAY_OPERATION_UID"
OPERATION_TYPE: Final = "HEADWAY_OPERATION_TYPE"
OPERATION_PARAMETERS: Final = "HEADWAY_OPERATION_PARAMETERS"
"""JSON object: the member struct that ``spec.type`` names, as it stands in the spec."""
ATTEMPT: Final = "HEADWAY_ATTEMPT"
POD_NAME: Final = "HEADWAY_POD_NAME"

# torchrun's environment, where there are several workers.
RANK: Final = "RANK"
WORLD_SIZE: Final = "WORLD_SIZE"
LOCAL_RANK: Final = "LOCAL_RANK"
LOCAL_WORLD_SIZE: Final = "LOCAL_WORLD_SIZE"
GROUP_RANK: Final = "GROUP_RANK"
MASTER_ADDR: Final = "MASTER_ADDR"
MASTER_PORT: Final = "MASTER_PORT"
MASTER_PORT_DEFAULT: Final = 29500

WORKSPACE: Final = "HEADWAY_WORKSPACE"
"""Folder for data, models and checkpoints: the workspace volume in a pod, a folder on a laptop."""

# How checkpoints are kept, as spec.checkpoint says.
CHECKPOINT_EVERY_EPOCHS: Final = "HEADWAY_CHECKPOINT_EVERY_EPOCHS"
CHECKPOINT_EVERY_SECONDS: Final = "HEADWAY_CHECKPOINT_EVERY_SECONDS"
CHECKPOINT_KEEP: Final = "HEADWAY_CHECKPOINT_KEEP"
RESUME_FROM: Final = "HEADWAY_RESUME_FROM"
"""Checkpoint, or folder of checkpoints, to begin from; relative to the workspace."""

STRATEGY_PATH: Final = "HEADWAY_STRATEGY_PATH"
"""File with the strategy, where it comes from a ConfigMap."""

# Where a node cannot give a container a file system of its own, it says where things really are.
SERVICE_ACCOUNT_DIR: Final = "HEADWAY_SERVICE_ACCOUNT_DIR"
"""Folder with ``token``, ``ca.crt`` and ``namespace``; unset means the usual mount path."""
TERMINATION_MESSAGE_PATH: Final = "HEADWAY_TERMINATION_MESSAGE_PATH"
"""File for the termination message; unset means ``/dev/termination-log``."""

# What a client chooses.
BACKEND: Final = "HEADWAY_BACKEND"
"""``cluster`` sends ``start_managed_operation`` to Kubernetes; anything else runs it right here."""
NAMESPACE: Final = "HEADWAY_NAMESPACE"
"""Namespace of operations that a client creates; unset means the kubeconfig's."""
USE_HOST: Final = "USE_TRAINING_HOST_SERVICE"
"""``true``, ``1`` or ``yes`` makes runs that a client creates go to host machines."""
HOME: Final = "HEADWAY_HOME"
"""Folder that holds everything Headway keeps on this machine; unset means the XDG folders."""

PROGRESS_FILE: Final = "HEADWAY_PROGRESS_FILE"
"""Without a cluster: file that progress is appended to, a JSON object a line."""


def chosen_placement(env: Mapping[str, str]) -> Placement | None:
    """Where runs of a client go by its environment; None where that says nothing."""
    wanted = env.get(USE_HOST, "").strip().lower() in ("true", "1", "yes")
    return Placement.HOST if wanted else None

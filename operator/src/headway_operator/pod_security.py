"""What the restricted Pod Security Standard asks of a pod, and when a run's pod says it.

Our own image always runs under it, and more strictly still: as a user of its own, with a root file
system that nobody writes to. A user's image is left as it is, unless its namespace enforces the
standard: then what is asked is said for it, except for a user, which only the image knows. The
podTemplate is merged over all of this, so the user has the last word.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway_api import names

ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"
RESTRICTED = "restricted"
TEMPORARY_VOLUME = "headway-tmp"
TEMPORARY_PATH = "/tmp"  # noqa: S108 - a path inside the container

Context = Mapping[str, Any]

_ASKED_OF_A_POD: Context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_ASKED_OF_A_CONTAINER: Context = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
_OUR_POD: Context = {
    **_ASKED_OF_A_POD,
    "runAsUser": names.IMAGE_USER,
    "runAsGroup": names.IMAGE_USER,
    "fsGroup": names.IMAGE_USER,
    # A large workspace is not walked through at every start.
    "fsGroupChangePolicy": "OnRootMismatch",
}
_OUR_CONTAINER: Context = {**_ASKED_OF_A_CONTAINER, "readOnlyRootFilesystem": True}


@dataclass(frozen=True, slots=True)
class Contexts:
    """Security contexts of a pod; empty ones are left out.

    Attributes:
        pod: of the pod.
        trainer: of the trainer's container.
        others: of every other container.
    """

    pod: Context
    trainer: Context
    others: Context

    @property
    def read_only(self) -> bool:
        """Whether the trainer can write to its volumes only."""
        return bool(self.trainer.get("readOnlyRootFilesystem"))


def contexts(*, own_image: bool, restricted: bool) -> Contexts:
    """What is said for a pod.

    Args:
        own_image: whether the trainer runs in our own image.
        restricted: whether the namespace enforces the restricted standard.
    """
    others = _ASKED_OF_A_CONTAINER if restricted else {}
    if own_image:
        return Contexts(_OUR_POD, _OUR_CONTAINER, others)
    return Contexts(_ASKED_OF_A_POD if restricted else {}, others, others)


def enforces_restricted(namespace: Mapping[str, Any]) -> bool:
    """Whether a Namespace object says that its pods must keep to the restricted standard."""
    labels = (namespace.get("metadata") or {}).get("labels") or {}
    return bool(labels.get(ENFORCE_LABEL) == RESTRICTED)

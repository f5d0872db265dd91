"""Whether this node runs a pod at all."""

from __future__ import annotations

from headway_cluster.node import fields
from headway_cluster.node.announcing import About
from headway_cluster.node.api import ApiError
from headway_cluster.node.hosting import HostRules
from headway_cluster.node.images import ImageNotAvailableError, find
from headway_cluster.node.pods import Pod
from headway_cluster.node.status import Verdict
from headway_cluster.node.surroundings import Surroundings

IMAGE_NOT_AVAILABLE = "ImageNotAvailable"
UNSUPPORTED_FIELDS = "UnsupportedFields"
HOST_CANNOT_TELL = "HostCannotTell"


def refusal(pod: Pod, around: Surroundings) -> Verdict | None:
    """Why this node does not run a pod; None where it does.

    Raises:
        ApiError: whose run it is cannot be looked up; the pod waits.
        ApiUnavailableError: nobody answers; the pod waits.
    """
    if around.rules is not None and (no := _not_for_a_host(pod, around.rules, around)):
        return no
    refused = fields.check(pod.raw).refused
    if refused:
        message = "not possible on a process node: " + "; ".join(
            f"{one.path} ({one.note.rstrip('.')})" for one in refused
        )
        return Verdict(UNSUPPORTED_FIELDS, message)
    for container in pod.containers:
        try:
            find(around.config.images, container.image)
        except ImageNotAvailableError as error:
            return Verdict(IMAGE_NOT_AVAILABLE, str(error))
    return None


def _not_for_a_host(pod: Pod, rules: HostRules, around: Surroundings) -> Verdict | None:
    try:
        return rules.refusal(pod)
    except ApiError as error:
        message = f"whose run this is cannot be looked up, so it waits: {error}"
        around.announcer.warning(About.pod(pod), HOST_CANNOT_TELL, message)
        raise

"""What the API server is told of a pod: its status, and at last that it may go."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from headway_cluster.node.api import Api, ApiError, ApiUnavailableError
from headway_cluster.node.pods import Pod
from headway_cluster.node.retries import Retries
from headway_cluster.node.status import as_patch

log = logging.getLogger(__name__)

Json = dict[str, Any]

STATUS = "status"
DELETION = "delete"
_REFUSED_RETRY = 5.0
_UNAVAILABLE_RETRY = 1.0


class Teller:
    """Tells the API server what becomes of one pod; what did not get there is told again.

    Attributes:
        known: the status that the API server has, as far as this node knows.
    """

    def __init__(self, api: Api, pod: Pod, retries: Retries) -> None:
        """Take the API server, and what is tried again."""
        self._api = api
        self._retries = retries
        self._sent: Json | None = None
        self._deleted = False
        self.known: Mapping[str, Any] = pod.raw.get("status") or {}

    @property
    def end_is_known(self) -> bool:
        """Whether the API server knows that the pod has ended, from this node."""
        told = self._sent is not None and self._sent["phase"] in ("Succeeded", "Failed")
        return told and STATUS not in self._retries

    def status(self, pod: Pod, status: Json) -> bool:
        """Write a status, if it is not what was written last; False if the pod is not there."""
        if status == self._sent:
            return True
        try:
            self._api.patch(f"{pod.path}/status", as_patch(status, pod.uid))
        except ApiUnavailableError as error:
            log.debug("status of %s: %s", pod.key, error)
            self._retries.failed(STATUS, _UNAVAILABLE_RETRY)
        except ApiError as error:
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                # Another pod has its name by now, or none: the watch will say so, too.
                return False
            log.warning("status of %s: %s", pod.key, error)
            self._retries.failed(STATUS, _REFUSED_RETRY)
        else:
            self._retries.worked(STATUS)
            self._sent = self.known = status
        return True

    def deletion(self, pod: Pod) -> bool:
        """Say that the pod may go, its last step on a node; False if it is not there."""
        if self._deleted or not self._retries.is_due(DELETION):
            return True
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        try:
            self._api.delete(pod.path, options)
        except ApiUnavailableError:
            self._retries.failed(DELETION, _UNAVAILABLE_RETRY)
        except ApiError as error:
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                return False
            log.warning("pod %s cannot be deleted: %s", pod.key, error)
            self._retries.failed(DELETION, _REFUSED_RETRY)
        else:
            self._retries.worked(DELETION)
            self._deleted = True
        return True

"""Documents to the API server: one JSON Patch on the operation's status, fenced by itself.

The patch first tests the uid and the attempt, so a stale pod is refused by the server. The answer
carries the whole operation: a cancel, or any other stop, rides back on every write.

A refusal alone does not say why: a failed test and a document that is wrong are both 422, and the
admission policy that ties a token to its run answers 403, as a missing role does. So the operation
is read after each; it tells whether this process was fenced.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from headway_api import names
from headway_api.vocabulary import FINAL_PHASES, StopCause

from headway.cancellation import CancellationToken, StopReason
from headway.delivery import Delivery, Outcome
from headway.document import Document
from headway.identity import PodIdentity
from headway.transport import Answer, Transport, UnreachableError

_log = logging.getLogger("headway")
_FORBIDDEN_WAIT = 30.0
_JSON_PATCH = "application/json-patch+json"
_CAUSES = {
    StopCause.SUSPEND.value: StopReason.SUSPENDED,
    StopCause.DEADLINE.value: StopReason.DEADLINE,
    StopCause.PROGRESS_DEADLINE.value: StopReason.STALLED,
}


def sequence_of(operation: Mapping[str, Any]) -> int:
    """The sequence of the progress that an operation holds; 0 where it holds none."""
    progress = (operation.get("status") or {}).get("progress") or {}
    return int(progress.get("sequence") or 0)


def patch_of(identity: PodIdentity, document: Document) -> list[dict[str, Any]]:
    """The JSON Patch of one document.

    Source: RFC 6902; ``add`` on a member that exists replaces it.
    """
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": identity.uid},
        {"op": "test", "path": "/status/attempt", "value": identity.attempt},
        {"op": "add", "path": "/status/progress", "value": document.progress},
    ]
    if document.history is not None:
        patch.append({"op": "add", "path": "/status/history", "value": document.history})
    if document.report is not None:
        patch.append({"op": "add", "path": "/status/report", "value": document.report})
    return patch


def _is_object(answer: Answer) -> bool:
    """Whether it is the object that was asked for, and not the page of something on the way."""
    return answer.status == 200 and bool((answer.body.get("metadata") or {}).get("uid"))


class ApiSink:
    """Writes one attempt's documents, and passes on what the answers say about stopping."""

    def __init__(
        self, identity: PodIdentity, transport: Transport, token: CancellationToken
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._token = token
        self._warned: set[str] = set()
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is wanted from this process."""
        return self._over

    def deliver(self, document: Document) -> Delivery:
        """Send the patch; see :class:`headway.delivery.Outcome` for what can come of it."""
        if self._over:
            return Delivery(Outcome.OVER)
        try:
            answer = self._transport.request(
                "PATCH",
                f"{self._identity.path}/status",
                body=patch_of(self._identity, document),
                content_type=_JSON_PATCH,
            )
        except UnreachableError as error:
            self._warn("unreachable", f"the API server does not answer, will try again: {error}")
            return Delivery(Outcome.RETRY)
        if _is_object(answer):
            self._warned.clear()
            self.heed(answer.body)
            return Delivery(Outcome.OVER if self._over else Outcome.DELIVERED)
        return self._refused(answer, document)

    def read(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The operation as the server holds it, heeded; None where nobody answers.

        Args:
            timeout: seconds to wait for an answer; the transport's own where left out.

        An operation that is gone, or that another attempt has taken over, stops this process.
        """
        try:
            answer = self._transport.request("GET", self._identity.path, timeout=timeout)
        except UnreachableError:
            return None
        if self._says_gone(answer):
            self._end(StopReason.DELETED)
        if not _is_object(answer):
            return None
        self.heed(answer.body)
        return answer.body

    def heed(self, operation: dict[str, Any]) -> None:
        """Stop if the operation says so: it is to stop, gone, run by another attempt, or over."""
        if operation.get("metadata", {}).get("uid", self._identity.uid) != self._identity.uid:
            self._end(StopReason.DELETED)
        status = operation.get("status") or {}
        another = status.get("attempt", self._identity.attempt) != self._identity.attempt
        if another or status.get("phase") in FINAL_PHASES:
            self._end(StopReason.FENCED)
        spec, stop = operation.get("spec") or {}, status.get("stop") or {}
        if spec.get("cancel") is True:
            self._token.cancel(StopReason.CANCELLED, str(spec.get("cancelReason") or ""))
        elif spec.get("suspend") is True:
            self._token.cancel(StopReason.SUSPENDED)
        elif stop.get("attempt") == self._identity.attempt and stop.get("cause") in _CAUSES:
            self._token.cancel(_CAUSES[stop["cause"]])

    def gone(self) -> None:
        """Stop: the operation was deleted."""
        self._end(StopReason.DELETED)

    def _refused(self, answer: Answer, document: Document) -> Delivery:
        found = None
        if self._says_gone(answer):
            self._end(StopReason.DELETED)
        elif answer.status in (403, 422):
            found = self.read()
        if self._over:
            return Delivery(Outcome.OVER)
        if answer.status in (403, 422):
            held = sequence_of(found or {})
            if held >= document.progress["sequence"]:
                # Another process of this pod reports, too: go on from what it said.
                return Delivery(Outcome.RETRY, held=held)
            if answer.status == 422:
                if found is None:
                    return Delivery(Outcome.RETRY)
                self._warn("invalid", f"the API server refuses this progress: {answer.message}")
                return Delivery(Outcome.INVALID)
        if answer.status in (400, 413):
            self._warn("invalid", f"the API server refuses this progress: {answer.message}")
            return Delivery(Outcome.INVALID)
        if answer.status in (401, 403):
            self._warn("forbidden", f"progress may not be written: {answer.message}")
            return Delivery(Outcome.RETRY, _FORBIDDEN_WAIT)
        self._warn("busy", f"the API server answered {answer.status}, will try again")
        return Delivery(Outcome.RETRY, answer.retry_after or 0.0)

    def _says_gone(self, answer: Answer) -> bool:
        """Whether this very operation is not there: any proxy on the way may answer a bare 404."""
        missing = answer.body.get("details") or {}
        named = missing.get("kind") == names.PLURAL and missing.get("name") == self._identity.name
        return answer.status == 404 and named

    def _end(self, reason: StopReason) -> None:
        """Nothing more is wanted from this process, whatever it was asked before."""
        self._over = True
        self._token.cancel(reason)

    def _warn(self, kind: str, text: str) -> None:
        """Say it once, until a write succeeds again."""
        if kind not in self._warned:
            self._warned.add(kind)
            _log.warning("headway: %s: %s", self._identity.name, text)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

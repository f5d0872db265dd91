"""The watch of the operation: a thread that sleeps in a read until it is told to stop.

It watches this one operation by its name, so a cancel, a suspend, a stop by the controller and the
next attempt are seen at once. A watch that breaks, ends or goes silent is rebuilt after a read of
the operation, so nothing between two watches is lost.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import Any
from urllib.parse import urlencode

from headway.api_sink import ApiSink
from headway.cancellation import CancellationToken
from headway.identity import PodIdentity
from headway.transport import Transport, UnreachableError

_log = logging.getLogger("headway")
_SERVER_ENDS_AFTER = 240
_SILENCE = 300.0
"""The server ends a watch after 240 s, so 300 s without a byte mean a dead connection."""
_FIRST_RETRY = 0.2
_LONGEST_RETRY = 10.0


class OperationWatch:
    """Watches one operation and turns what stops it into the token's cancel."""

    def __init__(
        self, identity: PodIdentity, transport: Transport, sink: ApiSink, token: CancellationToken
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._sink = sink
        self._token = token
        self._closed = threading.Event()
        self._known: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._run, name="headway-watch", daemon=True)

    def start(self, operation: dict[str, Any] | None = None) -> None:
        """Begin to watch, from the operation where it has just been read."""
        self._known = operation
        self._thread.start()

    def close(self) -> None:
        """Stop watching; the thread ends with its read."""
        self._closed.set()

    def _run(self) -> None:
        retry = _FIRST_RETRY
        while not (self._closed.is_set() or self._token.asked):
            try:
                operation, self._known = self._known or self._sink.read(), None
                if self._token.asked:
                    return
                if operation is not None and self._watch_from(operation):
                    retry = _FIRST_RETRY
                    continue
            except Exception:  # noqa: BLE001 - whatever was heard, a later cancel must be heard, too
                _log.exception("headway: the watch failed, and begins anew")
            self._closed.wait(retry * random.uniform(0.75, 1.25))
            retry = min(retry * 2, _LONGEST_RETRY)

    def _watch_from(self, operation: dict[str, Any]) -> bool:
        """Watch until the watch ends; returns whether it ended in good order."""
        query = urlencode(
            {
                "watch": "1",
                "fieldSelector": f"metadata.name={self._identity.name}",
                "resourceVersion": operation["metadata"]["resourceVersion"],
                "timeoutSeconds": _SERVER_ENDS_AFTER,
            }
        )
        try:
            for event in self._transport.stream(
                f"{self._identity.collection}?{query}", silence=_SILENCE
            ):
                if event.get("type") == "ERROR":
                    return False
                if event.get("type") == "DELETED":
                    self._sink.gone()
                self._sink.heed(event.get("object", {}))
                if self._token.asked or self._closed.is_set():
                    return True
        except UnreachableError:
            return False
        return True

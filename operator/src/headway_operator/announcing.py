"""Events for people, as ``kubectl describe`` shows them.

They are few: what went wrong, what is waited for, how it ended. One is named after what it says, so
that a second controller, or the same one after a restart, does not say it twice. They are sent in
the background, and a lost one loses nothing: the status has it all.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from headway_api import names
from headway_api.vocabulary import Phase

from headway_operator.api import EVENTS, AlreadyExistsError, ApiClient, ApiError
from headway_operator.policies.case import Note, clip

if TYPE_CHECKING:
    from datetime import datetime

    from headway_operator.snapshot import OperationView

COMPONENT = "headway-operator"
MOST_WAITING = 1000
MESSAGE_LENGTH = 1024
_PHASES = tuple(Phase)

logger = logging.getLogger(__name__)


class Announcer:
    """Sends Events, one after the other."""

    def __init__(self, api: ApiClient, instance: str, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._instance = instance
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue(MOST_WAITING)

    def announce(self, operation: OperationView, note: Note) -> None:
        """Send a note soon. With too many of them waiting, it is dropped."""
        event = self._event(operation, note)
        try:
            self._waiting.put_nowait((operation.metadata.namespace, event))
        except asyncio.QueueFull:
            logger.debug("too many events wait to be sent; dropped one")

    async def run(self) -> None:
        """Send what is announced, until cancelled."""
        while True:
            namespace, event = await self._waiting.get()
            try:
                await self._api.create(EVENTS, namespace, event)
            except AlreadyExistsError:
                pass
            except ApiError as error:
                logger.debug("an event was not sent: %s", error)

    def _event(self, operation: OperationView, note: Note) -> dict[str, object]:
        metadata = operation.metadata
        said = f"{metadata.uid}/{operation.status.attempt}/{note.reason}/{note.message}"
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha256(said.encode()).hexdigest()[:11]
        phase = _PHASES.index(operation.status.phase or Phase.PENDING)
        place = f"{operation.status.attempt or 0:04x}{phase:x}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{operation.name}.{place}{digest}",
                "namespace": metadata.namespace,
            },
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": operation.name,
                "namespace": metadata.namespace,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
            "type": "Warning" if note.warning else "Normal",
            "reason": note.reason,
            "message": clip(note.message, MESSAGE_LENGTH),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

"""Events about pods and claims: what ``kubectl describe`` shows. Best effort, never in the way."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass

from headway_cluster.node.api import Api, ApiError, ApiUnavailableError, Json
from headway_cluster.node.pods import Pod, rfc3339

log = logging.getLogger(__name__)

COMPONENT = "headway-node"
_WAITING = 500
_SILENCE = 300.0
"""Seconds in which the same is not said again of the same object."""
_REMEMBERED = 2000
_MESSAGE_CHARACTERS = 1024


@dataclass(frozen=True)
class About:
    """The object that an event is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    field: str = ""

    @classmethod
    def pod(cls, pod: Pod, container: str = "") -> About:
        """A pod, or one container of it."""
        return cls(
            kind="Pod",
            namespace=pod.namespace,
            name=pod.name,
            uid=pod.uid,
            field=f"spec.containers{{{container}}}" if container else "",
        )


class Announcer:
    """Writes events from a thread of its own. When too many wait, the newest are dropped."""

    def __init__(self, api: Api, host: str) -> None:
        self._api = api
        self._host = host
        self._queue: queue.Queue[tuple[About, Json] | None] = queue.Queue(_WAITING)
        self._said: dict[tuple[About, str, str], float] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what waits, for so many seconds at most."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout)

    def normal(self, about: About, reason: str, message: str) -> None:
        """Something happened as it should."""
        self._say("Normal", about, reason, message)

    def warning(self, about: About, reason: str, message: str) -> None:
        """Something is in the way."""
        self._say("Warning", about, reason, message)

    def _say(self, kind: str, about: About, reason: str, message: str) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._said.get((about, reason, message), -_SILENCE) < _SILENCE:
                return
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            self._said[about, reason, message] = now
        stamp = rfc3339(time.time())
        involved: Json = {
            "apiVersion": "v1",
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        }
        if about.field:
            involved["fieldPath"] = about.field
        event: Json = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{about.name}.{time.time_ns():x}",
                "namespace": about.namespace,
            },
            "involvedObject": involved,
            "type": kind,
            "reason": reason,
            "message": message[:_MESSAGE_CHARACTERS],
            "source": {"component": COMPONENT, "host": self._host},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._host,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        try:
            self._queue.put_nowait((about, event))
        except queue.Full:
            log.debug("too many events wait: %s of %s is dropped", reason, about.name)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            about, event = item
            try:
                self._api.create(f"/api/v1/namespaces/{about.namespace}/events", event)
            except (ApiError, ApiUnavailableError) as error:
                log.debug("event %s of %s was not written: %s", event["reason"], about.name, error)

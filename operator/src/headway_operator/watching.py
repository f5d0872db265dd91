"""Kopf does the watching, and only that.

Its handlers here are all ``on.event``: they take an event into the cache and mark the operation's
key. ``on.create`` and its kin, timers and daemons would put finalizers or annotations on the
objects, and would write in answer to every change.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import kopf
from headway_api import names

from headway_operator.cache import Cache, key_of

if TYPE_CHECKING:
    from headway_operator.connection import Connection, Observer
    from headway_operator.measuring import Metrics
    from headway_operator.workqueue import WorkQueue

OURS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY},{names.LABEL_OPERATION}"
"""Selects the Jobs and pods that belong to operations."""

SILENCE = 70.0
"""Seconds without a word after which a watch is taken for dead. The API server sends a bookmark
every minute at the latest."""
SERVER_TIMEOUT = 290
"""Whole seconds after which the API server ends a watch; it is taken up where it ended."""
EXIT_WITHIN = 5.0
"""Seconds after which a process whose watches are over, but that does not come to its end, is
killed: by itself, with SIGKILL."""

Raw = Mapping[str, Any]


class Feed:
    """Takes watch events into the cache and marks what they concern."""

    def __init__(self, cache: Cache, queue: WorkQueue, metrics: Metrics) -> None:
        self._cache = cache
        self._queue = queue
        self._operations = metrics.events.labels("operations")
        self._jobs = metrics.events.labels("jobs")
        self._pods = metrics.events.labels("pods")

    def operation_matters(self, event: Raw, **_: Any) -> bool:
        """Take an operation in; True where a decision could hang on the change.

        As Kopf's filter this is the only thing of ours that runs for progress.
        """
        self._operations.inc()
        if event["type"] == "DELETED":
            return True
        return self._cache.put_operation(event["object"])

    def operation(self, event: Raw) -> None:
        """An operation appeared, changed or went."""
        metadata = event["object"]["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        if event["type"] == "DELETED":
            self._cache.drop_operation(namespace, name, metadata["uid"])
        self._queue.add(f"{namespace}/{name}")

    def job(self, event: Raw) -> None:
        """A Job of an operation appeared, changed or went."""
        self._jobs.inc()
        raw = event["object"]
        key, metadata = key_of(raw), raw["metadata"]
        if event["type"] == "DELETED":
            self._cache.drop_job(key, metadata["name"], metadata["uid"])
        else:
            self._cache.put_job(raw)
        self._queue.add(key)

    def pod(self, event: Raw) -> None:
        """A pod of an operation appeared, changed or went."""
        self._pods.inc()
        raw = event["object"]
        key, metadata = key_of(raw), raw["metadata"]
        if event["type"] == "DELETED":
            self._cache.drop_pod(key, metadata["name"], metadata["uid"])
        else:
            self._cache.put_pod(raw)
        self._queue.add(key)


def registry(feed: Feed, connection: Connection, observer: Observer) -> kopf.OperatorRegistry:
    """Kopf's handlers: three kinds of events, and the login."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        session = connection.session(observer)
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

    @kopf.on.event(
        names.GROUP,
        names.VERSION,
        names.PLURAL,
        registry=handlers,
        when=feed.operation_matters,
    )
    async def on_operation(event: Raw, **_: Any) -> None:
        feed.operation(event)

    @kopf.on.event("batch", "v1", "jobs", registry=handlers)
    async def on_job(event: Raw, **_: Any) -> None:
        feed.job(event)

    @kopf.on.event("", "v1", "pods", registry=handlers)
    async def on_pod(event: Raw, **_: Any) -> None:
        feed.pod(event)

    return handlers


def settings() -> kopf.OperatorSettings:
    """Kopf told to watch and to keep its hands off."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.persistence.progress_storage = NoProgress()
    chosen.persistence.consistency_timeout = 0
    chosen.watching.label_selectors["batch", "v1", "jobs"] = OURS
    chosen.watching.label_selectors["", "v1", "pods"] = OURS
    chosen.watching.server_timeout = SERVER_TIMEOUT
    chosen.watching.inactivity_timeout = SILENCE
    chosen.watching.connect_timeout = 10.0
    chosen.watching.reconnect_backoff = 0.1
    chosen.watching.chunk_size = 500
    chosen.networking.connect_timeout = 10.0
    chosen.networking.request_timeout = 60.0
    chosen.networking.error_backoffs = Persistently()
    chosen.process.ultimate_exiting_timeout = EXIT_WITHIN
    logging.getLogger("kopf").setLevel(logging.WARNING)
    return chosen


class Persistently:
    """Delays between tries, without an end: an API server that is away comes back."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.2, 0.5, 1.0)
        while True:
            yield 2.0


class NoDiffBase(kopf.DiffBaseStorage):
    """Stores nothing and compares nothing: no annotation on anybody's object, no deep copies."""

    def build(self, **_: Any) -> Any:
        """Nothing is essential."""
        return None

    def fetch(self, **_: Any) -> Any:
        """Nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: event handlers have none."""

    def fetch(self, **_: Any) -> None:
        """Nothing was stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def purge(self, **_: Any) -> None:
        """Nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Never touch an object."""

    def clear(self, *, essence: Any) -> Any:
        """Nothing to leave out."""
        return essence


async def watch(
    feed: Feed, connection: Connection, observer: Observer, namespaces: tuple[str, ...]
) -> None:
    """Watch until a signal says to stop; all namespaces where none is named.

    Raises:
        Exception: Kopf gave up on an error that it does not expect from an API server.
    """
    await kopf.operator(
        registry=registry(feed, connection, observer),
        settings=settings(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        standalone=True,
    )

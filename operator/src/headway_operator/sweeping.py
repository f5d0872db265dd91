"""The safety net under the watches: now and then, compare the cache with what is really there.

A watch may be cut, may fall silent, and tells nothing of what was deleted meanwhile. A sweep
lists metadata only, from the API server's watch cache. What differs gets a moment for its event to
arrive; what still differs then was missed, is read, and is counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway_api import names

from headway_operator.api import JOBS, OPERATIONS, PODS, ApiClient, ApiError, Kind, NotFoundError
from headway_operator.cache import Cache, version
from headway_operator.watching import OURS

if TYPE_CHECKING:
    from headway_operator.measuring import Metrics
    from headway_operator.view import View
    from headway_operator.workqueue import WorkQueue

SHORTEST_PAUSE = 15.0
LONGEST_PAUSE = 300.0
OBJECTS_PER_SECOND = 20
"""How many objects a second all sweeps together may list, roughly."""
GRACE = 3.0
"""Seconds that an event may be on its way."""
DEAD_AFTER = 150.0
"""Seconds of sweeps finding what watches did not tell, after which the watches count as dead."""

logger = logging.getLogger("headway_operator")


@dataclass(frozen=True, slots=True)
class _Source:
    label: str
    kind: Kind
    selector: str


_SOURCES = (
    _Source("operations", OPERATIONS, ""),
    _Source("jobs", JOBS, OURS),
    _Source("pods", PODS, OURS),
)


@dataclass(frozen=True, slots=True)
class _Suspect:
    """An object that the cache knows differently."""

    label: str
    kind: Kind
    name: str
    key: str
    wanted: int | None
    """At least this version should be known; None where the object is gone."""


class Sweeper:
    """Fills the cache once, and then keeps it honest."""

    def __init__(
        self,
        api: ApiClient,
        cache: Cache,
        queue: WorkQueue,
        metrics: Metrics,
        view: View,
        namespaces: tuple[str, ...],
    ) -> None:
        self._api = api
        self._cache = cache
        self._queue = queue
        self._metrics = metrics
        self._view = view
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._stale_since: float | None = None
        self._stale_until = 0.0

    @property
    def staleness(self) -> float:
        """For how long, in seconds, one sweep after the other has found what watches did not tell.

        What a single one found says nothing: the next one may be minutes away.
        """
        return 0.0 if self._stale_since is None else self._stale_until - self._stale_since

    async def fill(self) -> None:
        """Read everything once.

        Raises:
            ApiError: the API server does not answer, or does not know the resource yet.
        """
        for source in _SOURCES:
            for namespace in self._namespaces:
                for raw in await self._api.list_all(source.kind, namespace, labels=source.selector):
                    self._put(source.label, raw)
        for key in self._cache.operations():
            self._queue.add(key)

    async def run(self) -> None:
        """Sweep, until cancelled."""
        while True:
            objects = sum(len(v) for v in self._cache.versions().values())
            await asyncio.sleep(
                min(LONGEST_PAUSE, max(SHORTEST_PAUSE, objects / OBJECTS_PER_SECOND))
            )
            try:
                await self.sweep()
            except ApiError as error:
                logger.debug("a sweep was given up: %s", error)

    async def sweep(self) -> int:
        """Compare once, mend what was missed, and say how many objects that were.

        Raises:
            ApiError: the API server does not answer.
        """
        try:
            suspects = await self._suspects()
        except ApiError:
            self._stale_since = None  # an outage explains what the next one will find
            raise
        missed = 0
        if suspects:
            await asyncio.sleep(GRACE)
            missed = sum([await self._mend(s) for s in suspects if self._still(s)])
        self._stale_until = time.monotonic()
        if not missed:
            self._stale_since = None
        elif self._stale_since is None:
            self._stale_since = self._stale_until
        self._metrics.staleness.set(self.staleness)
        if missed:
            self._view.broken()
            logger.warning("the watches missed something", extra={"objects": missed})
        return missed

    async def _suspects(self) -> list[_Suspect]:
        suspects = []
        for source in _SOURCES:
            listed: dict[str, tuple[str, int]] = {}
            newest = []
            for namespace in self._namespaces:
                items, list_version = await self._api.list_metadata(
                    source.kind, namespace, labels=source.selector
                )
                newest.append(version(list_version))
                for metadata in items:
                    place = f"{metadata['namespace']}/{metadata['name']}"
                    listed[place] = (_key(metadata), version(metadata["resourceVersion"]))
            known = self._cache.versions()[source.label]
            for place, (key, wanted) in listed.items():
                if place not in known or known[place][1] < wanted:
                    suspects.append(_Suspect(source.label, source.kind, place, key, wanted))
            for place, (key, seen) in known.items():
                # What is younger than a list cannot be missing from it.
                if place not in listed and seen <= min(newest):
                    suspects.append(_Suspect(source.label, source.kind, place, key, None))
        return suspects

    def _still(self, suspect: _Suspect) -> bool:
        known = self._cache.versions()[suspect.label].get(suspect.name)
        if suspect.wanted is None:
            return known is not None
        return known is None or known[1] < suspect.wanted

    async def _mend(self, suspect: _Suspect) -> bool:
        namespace, _, name = suspect.name.partition("/")
        try:
            raw = await self._api.get(suspect.kind, namespace, name)
        except NotFoundError:
            if not self._forget(suspect, namespace, name):
                return False
        else:
            self._put(suspect.label, raw)
        self._metrics.missed_events.labels(suspect.label).inc()
        self._queue.add(suspect.key)
        return True

    def _put(self, label: str, raw: dict[str, Any]) -> None:
        if label == "operations":
            self._cache.put_operation(raw)
        elif label == "jobs":
            self._cache.put_job(raw)
        else:
            self._cache.put_pod(raw)

    def _forget(self, suspect: _Suspect, namespace: str, name: str) -> bool:
        if suspect.label == "operations":
            uid = self._cache.uid_of(suspect.key)
            if uid:
                self._cache.drop_operation(namespace, name, uid)
            return uid is not None
        if suspect.label == "jobs":
            jobs = [j for j in self._cache.jobs_of(suspect.key) if j.name == name]
            for job in jobs:
                self._cache.drop_job(suspect.key, name, job.uid)
            return bool(jobs)
        pods = [p for p in self._cache.pods_of(suspect.key) if p.name == name]
        for pod in pods:
            self._cache.drop_pod(suspect.key, name, pod.uid)
        return bool(pods)


def _key(metadata: dict[str, Any]) -> str:
    owner = (metadata.get("labels") or {}).get(names.LABEL_OPERATION)
    return f"{metadata['namespace']}/{owner or metadata['name']}"

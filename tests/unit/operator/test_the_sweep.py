"""The sweep under the watches: what it takes for missed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import snapshots
from headway_operator import sweeping
from headway_operator.api import JOBS, OPERATIONS, NotFoundError, UnavailableError
from headway_operator.cache import Cache
from headway_operator.measuring import Metrics
from headway_operator.view import View
from headway_operator.workqueue import WorkQueue

ELSEWHERE = "other"


class Server:
    """An API server's lists of metadata, one after the other, and its objects."""

    def __init__(self) -> None:
        self.operations: dict[tuple[str, str], dict[str, Any]] = {}
        self.versions = {"team": 10, ELSEWHERE: 10}
        self.away = False

    async def list_metadata(self, kind, namespace, labels=""):
        if self.away:
            raise UnavailableError("away")
        found = self.operations.values() if kind == OPERATIONS else ()
        listed = [o["metadata"] for o in found if o["metadata"]["namespace"] == namespace]
        return listed, str(self.versions[namespace])

    async def get(self, kind, namespace, name):
        assert kind != JOBS
        if (namespace, name) not in self.operations:
            raise NotFoundError("gone", 404)
        return self.operations[namespace, name]


@pytest.fixture
def sweeper(monkeypatch):
    """Sweeps two namespaces of a server."""
    monkeypatch.setattr(sweeping, "GRACE", 0.0)
    server, cache = Server(), Cache(lambda: snapshots.NOW)
    view = View(lambda: snapshots.NOW)
    namespaces = ("team", ELSEWHERE)
    return sweeping.Sweeper(server, cache, WorkQueue(), Metrics(cache), view, namespaces)


@pytest.fixture
def swept(sweeper):
    """A server, a cache, and a sweep that says how much was missed."""
    return sweeper._api, sweeper._cache, lambda: asyncio.run(sweeper.sweep())


@pytest.fixture
def clock(monkeypatch):
    """The seconds that sweeps take for now."""
    seconds = [0.0]
    monkeypatch.setattr(sweeping, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    return seconds


def operation(version: int) -> dict[str, Any]:
    raw = snapshots.raw_operation()
    raw["metadata"]["resourceVersion"] = str(version)
    return raw


def test_what_is_there_and_known_was_not_missed(swept):
    server, cache, missed = swept
    server.operations["team", "run"] = operation(5)
    cache.put_operation(operation(5))
    assert missed() == 0


def test_what_changed_or_went_without_an_event_is_mended(swept):
    server, cache, missed = swept
    cache.put_operation(operation(5))
    server.operations["team", "run"] = operation(6)
    assert missed() == 1
    assert cache.snapshot("team/run").operation.metadata.resource_version == "6"
    server.operations.clear()
    assert missed() == 1
    assert cache.snapshot("team/run") is None


def test_what_was_made_after_its_namespace_was_listed_was_not_missed(swept):
    server, cache, missed = swept
    server.versions[ELSEWHERE] = 12
    cache.put_operation(operation(11))
    assert missed() == 0
    assert cache.snapshot("team/run") is not None


def test_only_sweep_after_sweep_that_finds_something_means_that_the_watches_are_dead(
    swept, sweeper, clock
):
    server, _, missed = swept
    for now, stale in ((0, 0), (1000, 1000), (1500, 1500)):
        server.operations["team", "run"] = operation(6 + now)
        clock[0] = now
        assert missed() == 1
        clock[0] = now + 400
        assert sweeper.staleness == stale
    clock[0] = 2000
    assert missed() == 0
    assert sweeper.staleness == 0


def test_what_is_found_after_an_outage_says_nothing_about_the_watches(swept, sweeper, clock):
    server, _, missed = swept
    for now in (0, 1000):
        server.operations["team", "run"] = operation(6 + now)
        clock[0] = now
        assert missed() == 1
        assert sweeper.staleness == 0
        server.away = True
        with pytest.raises(UnavailableError):
            missed()
        server.away = False

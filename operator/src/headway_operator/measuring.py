"""What the controller tells Prometheus."""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headway_api.vocabulary import Phase
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from datetime import datetime

    from headway_api.models import TrainingOperationStatus

    from headway_operator.cache import Cache

_QUICK = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_STARTS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)
_RUNS = (1, 10, 60, 300, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600)
_CANCELS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 1800)
_RESOURCE = re.compile(
    r"^/apis?/(?:[^/]+/)?v[^/]+/(?:namespaces/[^/]+/)?([^/]+)(?:/[^/]+(/[^/]+)?)?"
)


class Metrics:
    """The controller's metrics, in a registry of their own."""

    def __init__(self, cache: Cache) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series
        self.registry = CollectorRegistry()
        r = self.registry
        self.registry.register(_Operations(cache))
        self.finished = Counter(
            "headway_operations_finished_total",
            "Runs that ended.",
            ["type", "phase", "reason"],
            registry=r,
        )
        self.start_seconds = Histogram(
            "headway_operation_start_seconds",
            "From creation to a running trainer.",
            buckets=_STARTS,
            registry=r,
        )
        self.run_seconds = Histogram(
            "headway_operation_run_seconds",
            "From a running trainer to the end.",
            ["phase"],
            buckets=_RUNS,
            registry=r,
        )
        self.cancel_seconds = Histogram(
            "headway_cancel_seconds",
            "From the request to every pod gone.",
            ["outcome"],
            buckets=_CANCELS,
            registry=r,
        )
        self.reconciles = Counter(
            "headway_reconciles_total", "Looks at an operation.", ["result"], registry=r
        )
        self.reconcile_seconds = Histogram(
            "headway_reconcile_seconds", "Time of one look.", buckets=_QUICK, registry=r
        )
        self.events = Counter(
            "headway_watch_events_total", "Watch events received.", ["kind"], registry=r
        )
        self.missed_events = Counter(
            "headway_watch_missed_total",
            "Changes that a sweep found before the watch told them.",
            ["kind"],
            registry=r,
        )
        self.staleness = Gauge(
            "headway_watch_staleness_seconds",
            "For how long the watches have failed to tell what a sweep found; 0 when all is well.",
            registry=r,
        )
        self.queue_depth = Gauge(
            "headway_queue_depth", "Operations that wait for a worker.", registry=r
        )
        self.queue_scheduled = Gauge(
            "headway_queue_scheduled", "Operations that are looked at later.", registry=r
        )
        self.api_requests = Counter(
            "headway_api_requests_total",
            "Requests to the API server.",
            ["method", "resource", "code"],
            registry=r,
        )
        self.api_seconds = Histogram(
            "headway_api_request_seconds",
            "Time to the response's headers.",
            ["method"],
            buckets=_QUICK,
            registry=r,
        )

    def observe_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one request to the API server."""
        found = _RESOURCE.match(path)
        resource = (found[1] + (found[2] or "")) if found else "other"
        self.api_requests.labels(method, resource, str(status or "none")).inc()
        self.api_seconds.labels(method).observe(seconds)

    def observe_turn(
        self,
        kind: str,
        created: datetime | None,
        before: TrainingOperationStatus,
        after: TrainingOperationStatus,
    ) -> None:
        """Note what a written status means: a start, an end."""
        if created and after.start_time and not before.start_time:
            self.start_seconds.observe(max(0.0, (after.start_time - created).total_seconds()))
        if before.phase is after.phase:
            return
        phase = after.phase or Phase.PENDING
        if not phase.is_final or after.completion_time is None:
            return
        self.finished.labels(kind, phase.value, after.reason or "").inc()
        if after.start_time:
            ran = (after.completion_time - after.start_time).total_seconds()
            self.run_seconds.labels(phase.value).observe(max(0.0, ran))
        receipt = after.cancellation
        if phase is Phase.CANCELLED and receipt and receipt.outcome:
            took = (after.completion_time - receipt.requested_at).total_seconds()
            self.cancel_seconds.labels(receipt.outcome.value).observe(max(0.0, took))


class _Operations(Collector):
    """Counts operations at the moment somebody asks."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "headway_operations",
            "Operations that exist, by namespace, type and phase.",
            labels=["namespace", "type", "phase"],
        )
        for labels, count in Tally(self._cache.phases()).items():
            family.add_metric(list(labels), count)
        yield family

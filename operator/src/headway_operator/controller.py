"""The one reconcile path: observe, plan, apply."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headway_operator.api import (
    OPERATIONS,
    ApiClient,
    ApiError,
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from headway_operator.policies.case import Case, Plan
from headway_operator.policies.chain import plan
from headway_operator.questions import Enquiry

if TYPE_CHECKING:
    from headway_operator.applying import Applier
    from headway_operator.cache import Cache
    from headway_operator.measuring import Metrics
    from headway_operator.snapshot import OperationView, Refusal, Snapshot
    from headway_operator.view import View
    from headway_operator.workqueue import WorkQueue

MOST_ROUNDS = 8
"""Rounds of questions that one look may take; the chain has fewer to ask."""
STUCK_AFTER = 120.0
"""Seconds after which a worker that is still on the same key counts as stuck."""

logger = logging.getLogger("headway_operator")


def utc_now() -> datetime:
    """The controller's clock, in milliseconds as the status shows them."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Controller:
    """Brings operations to where their specs and the world say they are."""

    def __init__(
        self,
        api: ApiClient,
        cache: Cache,
        queue: WorkQueue,
        applier: Applier,
        metrics: Metrics,
        view: View,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._api = api
        self._cache = cache
        self._queue = queue
        self._applier = applier
        self._enquiry = Enquiry(api, cache)
        self._metrics = metrics
        self._view = view
        self._clock = clock
        self._seen: dict[str, tuple[str, dict[str, datetime]]] = {}
        self._refusals: dict[str, tuple[str, Refusal]] = {}
        self._busy_since: dict[str, float] = {}

    @property
    def stuck(self) -> str:
        """A key that a worker does not get away from; empty where there is none."""
        now = time.monotonic()
        return next((k for k, t in self._busy_since.items() if now - t > STUCK_AFTER), "")

    async def work(self) -> None:
        """Take keys from the queue and reconcile them, until cancelled."""
        while True:
            key = await self._queue.take()
            self._busy_since[key] = began = time.monotonic()
            try:
                result = await self._look_at(key)
            finally:
                del self._busy_since[key]
                self._queue.done(key)
            self._metrics.reconciles.labels(result).inc()
            self._metrics.reconcile_seconds.observe(time.monotonic() - began)

    async def _look_at(self, key: str) -> str:
        """Reconcile a key once; says what came of it. Errors end here, with another try planned."""
        try:
            wrote = await self.reconcile(key)
        except (ConflictError, NotFoundError, InvalidError) as error:
            # The world moved on, or a rule of the resource says that it did: see it as it is.
            await self._refresh(key)
            self._queue.failed(key)
            level = logging.WARNING if isinstance(error, InvalidError) else logging.DEBUG
            logger.log(level, "observing again", extra={"operation": key, "error": str(error)})
            return "conflict"
        except UnavailableError as error:
            delay = self._queue.failed(key)
            logger.warning(
                "the API server did not answer",
                extra={"operation": key, "error": str(error), "retry_in": round(delay, 1)},
            )
            return "unavailable"
        except ApiError as error:
            delay = self._queue.failed(key)
            logger.warning(
                "the API server refused a step",
                extra={"operation": key, "error": str(error), "retry_in": round(delay, 1)},
            )
            return "refused"
        except Exception:
            self._queue.failed(key)
            logger.exception("an operation could not be handled", extra={"operation": key})
            return "error"
        self._queue.succeeded(key)
        return "wrote" if wrote else "nothing"

    async def reconcile(self, key: str) -> bool:
        """Look at an operation and do what its plan says; True where something was written.

        Raises:
            ApiError: a read or a step failed.
        """
        snapshot = self._cache.snapshot(key)
        if snapshot is None:
            self._seen.pop(key, None)
            self._refusals.pop(key, None)
            return False
        operation = snapshot.operation
        snapshot = replace(
            snapshot,
            signs=replace(snapshot.signs, view_since=self._view.since),
            seen=self._seen_of(key, operation.metadata.uid),
            refusal=self._refusal_of(key, operation.metadata.uid),
        )
        snapshot, decided, now = await self._decide(snapshot)
        self._remember(key, operation.metadata.uid, decided, now)
        applied = await self._applier.apply(snapshot, decided)
        if applied.refusal is None:
            self._refusals.pop(key, None)
        else:
            self._refusals[key] = (operation.metadata.uid, applied.refusal)
        if applied.refusal is not snapshot.refusal:
            self._queue.add(key)  # what the API server said wants a decision, too
        if decided.status is not None and applied.wrote:
            self._tell(snapshot, decided)
            if decided.status.phase is not operation.status.phase:
                self._queue.add(key)  # a new phase may have something to do at once
        if decided.again_at is not None:
            wait = (decided.again_at - self._clock()).total_seconds()
            self._queue.add_later(key, max(0.0, wait))
        return applied.wrote

    async def _decide(self, snapshot: Snapshot) -> tuple[Snapshot, Plan, datetime]:
        for _ in range(MOST_ROUNDS):
            now = self._clock()
            decided = plan(snapshot, now)
            if not decided.questions:
                return snapshot, decided, now
            snapshot = await self._enquiry.answer(Case(snapshot, now), decided.questions)
        raise AssertionError(f"the plan for {snapshot.operation.name} never stops asking")

    def _refusal_of(self, key: str, uid: str) -> Refusal | None:
        known = self._refusals.get(key)
        return known[1] if known and known[0] == uid else None

    def _seen_of(self, key: str, uid: str) -> dict[str, datetime]:
        known = self._seen.get(key)
        return known[1] if known and known[0] == uid else {}

    def _remember(self, key: str, uid: str, decided: Plan, now: datetime) -> None:
        before = self._seen_of(key, uid)
        if decided.notices:
            self._seen[key] = uid, {notice: before.get(notice, now) for notice in decided.notices}
        else:
            self._seen.pop(key, None)

    async def _refresh(self, key: str) -> None:
        """Read an operation afresh; the watch may be behind."""
        namespace, _, name = key.partition("/")
        uid = self._cache.uid_of(key)
        try:
            self._cache.put_operation(await self._api.get(OPERATIONS, namespace, name))
        except NotFoundError:
            if uid:
                self._cache.drop_operation(namespace, name, uid)
        except ApiError as error:
            logger.debug("%s could not be read afresh: %s", key, error)

    def _tell(self, snapshot: Snapshot, decided: Plan) -> None:
        operation, after = snapshot.operation, decided.status
        if after is None:
            return
        before = operation.status
        kind = str(operation.raw_spec.get("type", ""))
        created = operation.metadata.creation_timestamp
        self._metrics.observe_turn(kind, created, before, after)
        if (before.phase, before.reason) != (after.phase, after.reason):
            logger.info("%s", after.message or after.phase, extra=_fields(operation, decided))


def _fields(operation: OperationView, decided: Plan) -> dict[str, Any]:
    after = decided.status
    fields: dict[str, Any] = {
        "operation": f"{operation.metadata.namespace}/{operation.name}",
        "uid": operation.metadata.uid,
        "type": operation.raw_spec.get("type"),
    }
    if after is not None:
        fields |= {"phase": str(after.phase), "reason": after.reason, "attempt": after.attempt}
        if after.result and after.result.exit_code is not None:
            fields["exit_code"] = after.result.exit_code
        if after.cancellation and after.cancellation.outcome:
            fields["outcome"] = str(after.cancellation.outcome)
    return {name: value for name, value in fields.items() if value is not None}


async def run_workers(controller: Controller, count: int) -> None:
    """Work with several workers, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(controller.work(), name=f"worker {number}")

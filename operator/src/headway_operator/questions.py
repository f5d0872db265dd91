"""Live reads: the answers that a plan asks for before it decides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headway_api import limits, names

from headway_operator.api import (
    CLAIMS,
    CONFIG_MAPS,
    EVENTS,
    JOBS,
    KUEUE,
    NODES,
    OPERATIONS,
    PODS,
    ApiClient,
    ApiError,
    NotFoundError,
)
from headway_operator.cache import Cache, with_children
from headway_operator.policies.facts import decisive_pod, failed_init
from headway_operator.reading import event_view, job_view, pod_view
from headway_operator.snapshot import (
    EventView,
    LogTail,
    PodView,
    Question,
    Snapshot,
)

if TYPE_CHECKING:
    from headway_operator.policies.case import Case

LOG_LINES = 100


class Enquiry:
    """Looks up what plans ask."""

    def __init__(self, api: ApiClient, cache: Cache) -> None:
        self._api = api
        self._cache = cache

    async def answer(self, case: Case, questions: frozenset[Question]) -> Snapshot:
        """The case's snapshot with the answers in it.

        Raises:
            ApiError: the API server did not answer; nothing may be decided then.
        """
        snapshot = case.snapshot
        if Question.OPERATION in questions:
            snapshot = await self._fresh(snapshot)
        if Question.LIVE in questions:
            snapshot = await self._live(snapshot)
        answers = snapshot.answers
        if Question.CLAIM in questions:
            answers = replace(answers, claim_problem=await self._claim_problem(case))
        if Question.STRATEGY in questions:
            answers = replace(answers, strategy_problem=await self._strategy_problem(case))
        if Question.EVENTS in questions:
            answers = replace(answers, events=await self._events(case))
        if Question.NODE in questions:
            lost, unready = await self._nodes(case)
            answers = replace(answers, unreachable_nodes=lost, unready_nodes=unready)
        if Question.KUEUE in questions:
            answers = replace(answers, kueue=await self._api.serves(KUEUE))
        if Question.LOGS in questions:
            answers = replace(answers, logs=await self._logs(case))
        return replace(snapshot, answers=answers)

    async def _fresh(self, snapshot: Snapshot) -> Snapshot:
        """The operation as it is right now; the cache learns, too."""
        metadata = snapshot.operation.metadata
        raw = await self._api.get(OPERATIONS, metadata.namespace, metadata.name)
        self._cache.put_operation(raw)
        found = self._cache.snapshot(f"{metadata.namespace}/{metadata.name}")
        if found is None or found.operation.metadata.uid != metadata.uid:
            raise NotFoundError("it was deleted since it was observed", 404, "NotFound")
        return replace(
            snapshot,
            operation=found.operation,
            signs=replace(found.signs, view_since=snapshot.signs.view_since),
            answers=replace(snapshot.answers, fresh=True),
        )

    async def _live(self, snapshot: Snapshot) -> Snapshot:
        """The current attempt's Job and all pods as they are right now; the cache learns, too."""
        metadata = snapshot.operation.metadata
        key = f"{metadata.namespace}/{metadata.name}"
        attempt = snapshot.operation.status.attempt or 1
        name = names.job_name(metadata.name, attempt)
        raw_job = await self._job(metadata.namespace, name)
        raw_pods = await self._api.list_all(
            PODS, metadata.namespace, labels=f"{names.LABEL_OPERATION_UID}={metadata.uid}"
        )
        pods = [pod_view(p) for p in raw_pods]
        if raw_job is not None and not any(p.attempt == attempt for p in pods):
            # Its pod may have gone between the two reads, and the Job has counted it before that.
            raw_job = await self._job(metadata.namespace, name) or raw_job
        jobs = [j for j in self._cache.jobs_of(key) if j.name != name]
        if raw_job is not None:
            job = job_view(raw_job)
            jobs.append(job)
            if job.owner_uid == metadata.uid:
                self._cache.put_job(raw_job)
        elif snapshot.job is not None:
            self._cache.drop_job(key, name, snapshot.job.uid)
        for raw_pod in raw_pods:
            self._cache.put_pod(raw_pod)
        for gone in {p.uid: p for p in snapshot.pods}.keys() - {p.uid for p in pods}:
            pod = next(p for p in snapshot.pods if p.uid == gone)
            self._cache.drop_pod(key, pod.name, pod.uid)
        fresh = with_children(snapshot.operation, jobs, pods)
        return replace(
            snapshot,
            job=fresh.job,
            pods=fresh.pods,
            stray_jobs=fresh.stray_jobs,
            answers=replace(snapshot.answers, live=True),
        )

    async def _job(self, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return await self._api.get(JOBS, namespace, name)
        except NotFoundError:
            return None

    async def _claim_problem(self, case: Case) -> str:
        storage = case.spec.storage
        if storage is None or storage.existing_claim is None:
            return ""
        name = storage.existing_claim.claim_name
        try:
            claim = await self._api.get(CLAIMS, case.operation.metadata.namespace, name)
        except NotFoundError:
            return f"PersistentVolumeClaim {name} does not exist in this namespace."
        if claim["metadata"].get("deletionTimestamp"):
            return f"PersistentVolumeClaim {name} is being deleted."
        return ""

    async def _strategy_problem(self, case: Case) -> str:
        training = case.spec.training
        reference = training.strategy.config_map_key_ref if training else None
        if reference is None:
            return ""
        try:
            config_map = await self._api.get(
                CONFIG_MAPS, case.operation.metadata.namespace, reference.name
            )
        except NotFoundError:
            return f"ConfigMap {reference.name} does not exist in this namespace."
        keys = sorted({**(config_map.get("data") or {}), **(config_map.get("binaryData") or {})})
        if reference.key not in keys:
            has = f"it has {', '.join(keys)}" if keys else "it is empty"
            return f"ConfigMap {reference.name} has no key {reference.key} ({has})."
        return ""

    async def _events(self, case: Case) -> tuple[EventView, ...]:
        """Warnings about pods that do not run, or about the Job that lacks one; newest first."""
        waiting = [p.uid for p in case.living if not p.started]
        uids = waiting or ([case.job.uid] if case.job else [])
        found = []
        for uid in uids[:4]:
            found += await self._api.list_all(
                EVENTS,
                case.operation.metadata.namespace,
                fields=f"involvedObject.uid={uid},type=Warning",
            )
        found.sort(
            key=lambda e: (
                e.get("lastTimestamp")
                or (e.get("series") or {}).get("lastObservedTime")
                or e.get("eventTime")
                or e["metadata"].get("creationTimestamp")
                or ""
            ),
            reverse=True,
        )
        return tuple(event_view(e) for e in found)

    async def _nodes(self, case: Case) -> tuple[frozenset[str], frozenset[str]]:
        """Nodes of living pods that are lost, and those that are lost or not ready.

        Lost is one that the control plane does not hear of any more, or that is no more.
        """
        lost, unready = set(), set()
        for name in {p.node for p in case.living if p.node}:
            try:
                node = await self._api.get(NODES, None, name)
            except NotFoundError:
                lost.add(name)
                continue
            conditions = (node.get("status") or {}).get("conditions") or ()
            ready = next((c for c in conditions if c["type"] == "Ready"), None)
            if ready is not None and ready["status"] == "Unknown":
                lost.add(name)
            elif ready is None or ready["status"] != "True":
                unready.add(name)
        return frozenset(lost), frozenset(lost | unready)

    async def _logs(self, case: Case) -> LogTail:
        """The end of the log that explains the most; empty where there is none to be had."""
        pod = decisive_pod(case.pods) or next((p for p in case.living if p.started), None)
        if pod is None:
            return LogTail("", "", "")
        container = _telling(pod)
        try:
            text = await self._api.log(
                case.operation.metadata.namespace,
                pod.name,
                container,
                lines=LOG_LINES,
                most=limits.LAST_LOGS_LENGTH * 4,
            )
        except ApiError:
            text = ""  # a lost node, or a container that never ran: the verdict stands without it
        return LogTail(pod.name, container, text.replace("\x00", "")[-limits.LAST_LOGS_LENGTH :])


def _telling(pod: PodView) -> str:
    container = failed_init(pod)
    return container.name if container else names.TRAINER_CONTAINER

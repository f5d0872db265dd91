"""What the watches have brought so far: the latest state of every operation, Job and pod.

Objects may also come from our own writes and live reads. An older version never replaces a newer
one, and what was deleted does not come back by a late answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from headway_api import names
from headway_api.vocabulary import Phase

from headway_operator.reading import controller_of, job_view, operation_view, pod_view
from headway_operator.snapshot import JobView, OperationView, PodView, Signs, Snapshot

Raw = Mapping[str, Any]
REMEMBERED_DELETIONS = 10_000

View = TypeVar("View", JobView, PodView)


def version(raw_version: str) -> int:
    """A resourceVersion as a number: etcd counts them, so they can be compared."""
    return int(raw_version) if raw_version.isdigit() else 0


def key_of(raw: Raw) -> str:
    """``namespace/name`` of the operation that an object is, or belongs to by its labels."""
    metadata = raw["metadata"]
    name = (metadata.get("labels") or {}).get(names.LABEL_OPERATION)
    return f"{metadata['namespace']}/{name}"


class Cache:
    """The controller's picture of the cluster."""

    def __init__(self, clock: Callable[[], datetime], *, record_requesters: bool = False) -> None:
        """Remember what is put in, and by ``clock`` when signs of life were first seen.

        Args:
            clock: the controller's.
            record_requesters: whether to believe what operations say of who cancelled them.
        """
        self._clock = clock
        self._believed = (names.ANNOTATION_CANCEL_REQUESTED_BY,) if record_requesters else ()
        self._signs: dict[str, _Signs] = {}
        self._operations: dict[str, dict[str, Any]] = {}
        self._significance: dict[str, tuple[object, ...]] = {}
        self._jobs: dict[str, dict[str, JobView]] = {}
        self._pods: dict[str, dict[str, PodView]] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """Operations known."""
        return len(self._operations)

    def operations(self) -> list[str]:
        """The keys of all operations."""
        return list(self._operations)

    def phases(self) -> Iterator[tuple[str, str, str]]:
        """Namespace, type and phase of every operation, for metrics."""
        for key, raw in self._operations.items():
            phase = (raw.get("status") or {}).get("phase") or "Pending"
            yield key.partition("/")[0], (raw.get("spec") or {}).get("type", ""), phase

    def put_operation(self, raw: Raw) -> bool:
        """Take in an operation; True where something changed that a decision could hang on.

        Progress is not such a thing, but the first progress of an attempt is: from then on the
        trainer is known to have an SDK.
        """
        metadata = raw["metadata"]
        uid = metadata["uid"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        if uid in self._deleted:
            return False
        known = self._operations.get(key)
        if (
            known is not None
            and known["metadata"]["uid"] == uid
            and version(known["metadata"]["resourceVersion"])
            >= version(metadata["resourceVersion"])
        ):
            return False
        self._operations[key] = _lean(raw, self._believed)
        self._note_signs(key, raw)
        significance = _significance(raw)
        changed = significance != self._significance.get(key)
        self._significance[key] = significance
        return changed

    def drop_operation(self, namespace: str, name: str, uid: str) -> None:
        """Forget an operation that was deleted."""
        self._remember_deletion(uid)
        key = f"{namespace}/{name}"
        known = self._operations.get(key)
        if known is not None and known["metadata"]["uid"] == uid:
            del self._operations[key]
            self._significance.pop(key, None)
            self._signs.pop(key, None)

    def put_job(self, raw: Raw) -> None:
        """Take in a Job."""
        self._put(self._jobs, key_of(raw), job_view(raw))

    def put_pod(self, raw: Raw) -> None:
        """Take in a pod."""
        self._put(self._pods, key_of(raw), pod_view(raw))

    def drop_job(self, key: str, name: str, uid: str) -> None:
        """Forget a Job that was deleted."""
        self._drop(self._jobs, key, name, uid)

    def drop_pod(self, key: str, name: str, uid: str) -> None:
        """Forget a pod that was deleted."""
        self._drop(self._pods, key, name, uid)

    def jobs_of(self, key: str) -> list[JobView]:
        """Jobs that carry the operation's label."""
        return list(self._jobs.get(key, {}).values())

    def pods_of(self, key: str) -> list[PodView]:
        """Pods that carry the operation's label."""
        return list(self._pods.get(key, {}).values())

    def owners(self) -> set[str]:
        """Keys that have Jobs or pods, whether or not their operation exists."""
        return self._jobs.keys() | self._pods.keys()

    def versions(self) -> dict[str, dict[str, tuple[str, int]]]:
        """Per kind: object (``namespace/name``) to its operation's key and resourceVersion."""
        operations = {
            key: (key, version(raw["metadata"]["resourceVersion"]))
            for key, raw in self._operations.items()
        }
        return {
            "operations": operations,
            "jobs": _versions(self._jobs),
            "pods": _versions(self._pods),
        }

    def uid_of(self, key: str) -> str | None:
        """The uid of an operation; None where it is not known."""
        raw = self._operations.get(key)
        return raw["metadata"]["uid"] if raw else None

    def snapshot(self, key: str) -> Snapshot | None:
        """Everything known of one operation; None where there is none.

        Raises:
            ValidationError: its status is not one that any version of ours wrote.
        """
        raw = self._operations.get(key)
        if raw is None:
            return None
        operation = operation_view(raw)
        found = with_children(operation, self.jobs_of(key), self.pods_of(key))
        known = self._signs.get(key)
        if known is None:
            return found
        return replace(found, signs=Signs(known.stepped_at, known.alive_at))

    def _note_signs(self, key: str, raw: Raw) -> None:
        now, step, heartbeat = self._clock(), _step(raw), _heartbeat(raw)
        known = self._signs.get(key)
        if known is None or known.step != step:
            self._signs[key] = _Signs(step, now, heartbeat, now if heartbeat else None)
        elif known.heartbeat != heartbeat:
            self._signs[key] = replace(known, heartbeat=heartbeat, alive_at=now)

    def _put(self, store: dict[str, dict[str, View]], key: str, view: View) -> None:
        if view.uid in self._deleted:
            return
        views = store.setdefault(key, {})
        known = views.get(view.name)
        if (
            known is not None
            and known.uid == view.uid
            and version(known.resource_version) >= version(view.resource_version)
        ):
            return
        views[view.name] = view

    def _drop(self, store: dict[str, dict[str, View]], key: str, name: str, uid: str) -> None:
        self._remember_deletion(uid)
        views = store.get(key, {})
        if name in views and views[name].uid == uid:
            del views[name]
        if not views:
            store.pop(key, None)

    def _remember_deletion(self, uid: str) -> None:
        self._deleted[uid] = None
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)


def with_children(operation: OperationView, jobs: list[JobView], pods: list[PodView]) -> Snapshot:
    """A snapshot of an operation with those of the Jobs and pods that concern it."""
    uid = operation.metadata.uid
    current = names.job_name(operation.name, operation.status.attempt or 1)
    return Snapshot(
        operation=operation,
        job=next((j for j in jobs if j.name == current), None),
        pods=tuple(sorted((p for p in pods if p.operation_uid == uid), key=lambda p: p.name)),
        stray_jobs=tuple(j for j in jobs if j.name != current and j.owner_uid == uid),
    )


@dataclass(frozen=True, slots=True)
class _Signs:
    """The latest step and heartbeat, and when they were first seen."""

    step: tuple[object, ...]
    stepped_at: datetime
    heartbeat: object
    alive_at: datetime | None


def _step(raw: Raw) -> tuple[object, ...]:
    """What differs from step to step, from attempt to attempt, and when a trainer starts to run."""
    status: Raw = raw.get("status") or {}
    progress: Raw = status.get("progress") or {}
    attempt = status.get("attempt")
    made = progress.get("time") if progress.get("attempt") == attempt else None
    return raw["metadata"]["uid"], attempt, status.get("phase") == Phase.RUNNING, made


def _heartbeat(raw: Raw) -> object:
    status: Raw = raw.get("status") or {}
    progress: Raw = status.get("progress") or {}
    return progress.get("heartbeat") if progress.get("attempt") == status.get("attempt") else None


def _lean(raw: Raw, annotations: tuple[str, ...]) -> dict[str, Any]:
    """An operation without what no decision needs: history alone may be most of its size."""
    metadata, status = dict(raw["metadata"]), dict(raw.get("status") or {})
    metadata.pop("managedFields", None)
    said = metadata.pop("annotations", None) or {}
    metadata["annotations"] = {name: said[name] for name in annotations if name in said}
    status.pop("history", None)
    return {"metadata": metadata, "spec": raw.get("spec") or {}, "status": status}


def _significance(raw: Raw) -> tuple[object, ...]:
    metadata, status = raw["metadata"], raw.get("status") or {}
    progress, report = status.get("progress") or {}, status.get("report") or {}
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        status.get("phase"),
        status.get("attempt"),
        progress.get("attempt"),
        report.get("attempt"),
        report.get("status"),
        report.get("cancelAcknowledgedAt"),
    )


def _versions(store: Mapping[str, Mapping[str, View]]) -> dict[str, tuple[str, int]]:
    return {
        f"{key.partition('/')[0]}/{view.name}": (key, version(view.resource_version))
        for key, views in store.items()
        for view in views.values()
    }


def owned_by(raw: Raw, uid: str) -> bool:
    """Whether an object is controlled by the owner of that uid."""
    return bool(uid) and controller_of(raw["metadata"]).get("uid") == uid

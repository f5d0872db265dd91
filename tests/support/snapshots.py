"""What the controller observes, made by hand: raw objects as the API server has them, and views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from headway_api import names
from headway_operator.cache import with_children
from headway_operator.reading import job_view, operation_view, pod_view
from headway_operator.snapshot import Answers, Refusal, Signs, Snapshot

Raw = dict[str, Any]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
NODE = "node-1"


def at(seconds: float) -> datetime:
    """A moment relative to NOW."""
    return NOW + timedelta(seconds=seconds)


def text(moment: datetime) -> str:
    """A moment as the API server writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def raw_operation(name: str = "run", status: Mapping[str, Any] | None = None, **spec: Any) -> Raw:
    """A TrainingOperation: a dummy run unless the spec says otherwise."""
    if "type" not in spec:
        spec = {"type": "Dummy", "dummy": {"iterations": 3}, **spec}
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": UID,
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": text(NOW),
        },
        "spec": spec,
        "status": dict(status or {}),
    }


def attempted(phase: str = "Starting", **status: Any) -> Raw:
    """The status of an operation whose first attempt stands in it."""
    started = {"attempt": 1, "attempts": [{"number": 1, "job": "run-a1"}]}
    return {**started, "phase": phase, **status}


def attempted_again(*ends: Raw, phase: str = "Starting", **status: Any) -> Raw:
    """The status of an operation after attempts that ended so, the next one in it unless resting.

    Args:
        ends: what else stands in the entry of each attempt that is over, such as its reason.
        phase: with Suspended and Retrying, no other attempt has begun.
        status: further fields.
    """
    over = [
        {
            "number": n,
            "job": f"run-a{n}",
            "started": text(NOW),
            "ended": text(NOW),
            "reason": "Disrupted",
            **end,
        }
        for n, end in enumerate(ends, 1)
    ]
    if phase not in ("Suspended", "Retrying"):
        over.append({"number": len(ends) + 1, "job": f"run-a{len(ends) + 1}"})
    return {
        "attempt": len(over),
        "attempts": over,
        "startTime": text(NOW),
        "phase": phase,
        **status,
    }


def progress(attempt: int = 1) -> Raw:
    """The first progress of an attempt."""
    moment = text(NOW)
    return {"attempt": attempt, "sequence": 1, "time": moment, "heartbeat": moment, "step": 1}


def report(status: str, attempt: int = 1, **more: Any) -> Raw:
    """A trainer's claim."""
    return {"attempt": attempt, "status": status, **more}


def _labels(attempt: int) -> Raw:
    return {
        names.LABEL_OPERATION: "run",
        names.LABEL_OPERATION_UID: UID,
        names.LABEL_ATTEMPT: str(attempt),
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
    }


def raw_job(
    attempt: int = 1,
    *,
    decided: str = "",
    failed: str = "",
    complete: bool = False,
    deleting: bool = False,
    owner: str = UID,
) -> Raw:
    """A Job of the operation, or somebody else's of the same name."""
    conditions = []
    if decided:
        conditions.append({"type": decided, "status": "True"})
    if failed:
        conditions.append({"type": "Failed", "status": "True", "reason": failed, "message": "why"})
    if complete:
        conditions.append({"type": "Complete", "status": "True"})
    metadata: Raw = {
        "name": f"run-a{attempt}",
        "namespace": "team",
        "uid": f"job-{attempt}",
        "resourceVersion": "1",
        "labels": _labels(attempt),
    }
    if owner:
        kind = names.KIND if owner == UID else "CronJob"
        metadata["ownerReferences"] = [
            {"kind": kind, "name": "run", "uid": owner, "controller": True}
        ]
    if deleting:
        metadata["deletionTimestamp"] = text(NOW)
    return {"metadata": metadata, "spec": {}, "status": {"conditions": conditions}}


def waiting(reason: str = "ContainerCreating", message: str = "") -> Raw:
    """The state of a container that does not run yet."""
    return {"waiting": {"reason": reason, "message": message}}


def running(since: datetime = NOW) -> Raw:
    """The state of a container that runs."""
    return {"running": {"startedAt": text(since)}}


def ended(
    code: int, reason: str = "", message: str = "", *, ran: bool = True, when: datetime = NOW
) -> Raw:
    """The state of a container that ended."""
    state = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error")}
    if ran:
        state |= {"startedAt": text(NOW), "finishedAt": text(when)}
    return {"terminated": {**state, "message": message}}


def raw_pod(
    phase: str = "Pending",
    state: Raw | None = None,
    *,
    attempt: int = 1,
    number: int = 1,
    index: int | None = None,
    node: str = NODE,
    deleting: bool = False,
    grace: int = 30,
    unschedulable: str = "",
    disrupted: str = "",
    ready: bool | None = None,
    reason: str = "",
    message: str = "",
    more_containers: Mapping[str, Raw] | None = None,
    init: Mapping[str, Raw] | None = None,
    sidecars: Mapping[str, Raw] | None = None,
    memory: str = "",
) -> Raw:
    """A pod of the operation; ``state`` is that of its trainer container."""
    metadata: Raw = {
        "name": f"run-a{attempt}-{number:05d}",
        "namespace": "team",
        "uid": f"pod-{attempt}-{number}",
        "resourceVersion": "1",
        "labels": _labels(attempt),
    }
    if index is not None:
        metadata |= {"name": f"run-a{attempt}-{index}-{number:05d}"}
        metadata["labels"][names.LABEL_INDEX] = str(index)
    if deleting:
        metadata |= {"deletionTimestamp": text(NOW), "deletionGracePeriodSeconds": grace}
    conditions = []
    if unschedulable:
        conditions.append(
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": unschedulable,
            }
        )
    if disrupted:
        conditions.append(
            {"type": "DisruptionTarget", "status": "True", "reason": disrupted, "message": "gone"}
        )
    if ready is not None:
        conditions.append({"type": "Ready", "status": str(ready)})
    states = {**({names.TRAINER_CONTAINER: state} if state else {}), **(more_containers or {})}
    container: Raw = {"name": names.TRAINER_CONTAINER}
    if memory:
        container["resources"] = {"limits": {"memory": memory}}
    return {
        "metadata": metadata,
        "spec": {
            "nodeName": node,
            "containers": [container],
            "initContainers": [
                *({"name": n} for n in init or {}),
                *({"name": n, "restartPolicy": "Always"} for n in sidecars or {}),
            ],
        },
        "status": {
            "phase": phase,
            "reason": reason,
            "message": message,
            "conditions": conditions,
            "containerStatuses": [_container(n, s) for n, s in states.items()],
            "initContainerStatuses": [
                _container(n, s) for n, s in {**(init or {}), **(sidecars or {})}.items()
            ],
        },
    }


def _container(name: str, state: Raw) -> Raw:
    return {"name": name, "image": "an/image:1", "state": state, "ready": "running" in state}


def observed(
    operation: Raw,
    job: Raw | None = None,
    pods: Iterable[Raw] = (),
    *,
    more_jobs: Iterable[Raw] = (),
    signs: Signs | None = None,
    live: bool = False,
    seen: Mapping[str, datetime] | None = None,
    refusal: Refusal | None = None,
    **answers: Any,
) -> Snapshot:
    """A snapshot of raw objects; ``answers`` are those to questions."""
    jobs = [job_view(j) for j in (job, *more_jobs) if j]
    found = with_children(operation_view(operation), jobs, [pod_view(p) for p in pods])
    return replace(
        found,
        signs=signs or Signs(),
        seen=seen or {},
        refusal=refusal,
        answers=Answers(live=live, **answers),
    )

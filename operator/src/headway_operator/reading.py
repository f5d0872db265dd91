"""From the raw JSON of the API server to the frozen views that decisions are made on.

Raw dicts stop here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from headway_api import names
from headway_api.models import TrainingOperationSpec, TrainingOperationStatus
from headway_api.models.operation import Metadata
from pydantic import ValidationError

from headway_operator.snapshot import (
    ContainerState,
    ContainerView,
    EventView,
    JobView,
    OperationView,
    PodView,
)

Raw = Mapping[str, Any]


def operation_view(raw: Raw) -> OperationView:
    """A TrainingOperation.

    Raises:
        ValidationError: its metadata, or our part of its status, is not what any version writes.
    """
    raw_spec: Raw = raw.get("spec") or {}
    spec: TrainingOperationSpec | None = None
    problem = ""
    try:
        spec = TrainingOperationSpec.model_validate(raw_spec)
    except ValidationError as error:
        problem = readable_problem(error)
    return OperationView(
        metadata=Metadata.model_validate(raw["metadata"]),
        raw_spec=raw_spec,
        spec=spec,
        spec_problem=problem,
        status=TrainingOperationStatus.model_validate(raw.get("status") or {}),
    )


def readable_problem(error: ValidationError) -> str:
    """What is wrong with a spec, in a sentence a person can act on."""
    parts = []
    for detail in error.errors(include_url=False, include_context=False)[:3]:
        where = ".".join(str(p) for p in detail["loc"])
        parts.append(f"spec.{where}: {detail['msg']}" if where else f"spec: {detail['msg']}")
    return "; ".join(parts)


def job_view(raw: Raw) -> JobView:
    """A Job."""
    metadata: Raw = raw["metadata"]
    status: Raw = raw.get("status") or {}
    true = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    why: Raw = true.get("Failed") or true.get("FailureTarget") or {}
    failing = _counted_a_failure(status) or bool(why)
    owner = controller_of(metadata)
    return JobView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        owner_uid=owner.get("uid", ""),
        owner=f"{owner['kind']} {owner['name']}" if owner else "",
        attempt=_number((metadata.get("labels") or {}).get(names.LABEL_ATTEMPT)),
        deleting=bool(metadata.get("deletionTimestamp")),
        suspended=bool((raw.get("spec") or {}).get("suspend")),
        queue=(metadata.get("labels") or {}).get(names.LABEL_QUEUE, ""),
        decided=failing or not true.keys().isdisjoint(_SUCCESSFUL),
        failing=failing,
        complete="Complete" in true,
        failed="Failed" in true,
        failed_reason=why.get("reason", ""),
        failed_message=why.get("message", ""),
    )


_SUCCESSFUL = frozenset({"SuccessCriteriaMet", "Complete"})


def _counted_a_failure(status: Raw) -> bool:
    """Whether a pod has failed: ours are never replaced.

    The Job controller writes down how a Job ends before it lets a pod go that is over, or at least
    counts it as failed: what ran is never gone without a trace.
    """
    return bool(status.get("failed") or (status.get("uncountedTerminatedPods") or {}).get("failed"))


def controller_of(metadata: Raw) -> Raw:
    """The owner reference of an object's controller; empty where it has none."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return {}


def pod_view(raw: Raw) -> PodView:
    """A pod of an operation."""
    metadata: Raw = raw["metadata"]
    labels: Raw = metadata.get("labels") or {}
    spec: Raw = raw.get("spec") or {}
    status: Raw = raw.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled: Raw = conditions.get("PodScheduled") or {}
    disruption: Raw = conditions.get("DisruptionTarget") or {}
    disrupted = disruption.get("status") == "True"
    ready: Raw = conditions.get("Ready") or {}
    limits = {
        c["name"]: ((c.get("resources") or {}).get("limits") or {}).get("memory", "")
        for c in spec.get("containers") or ()
    }
    sidecars = {
        c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"
    }
    return PodView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        operation_uid=labels.get(names.LABEL_OPERATION_UID, ""),
        attempt=_number(labels.get(names.LABEL_ATTEMPT)),
        index=_number(labels[names.LABEL_INDEX]) if names.LABEL_INDEX in labels else None,
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        node=spec.get("nodeName") or "",
        ready=None if not ready else ready.get("status") == "True",
        unschedulable=(
            scheduled.get("message") or scheduled.get("reason") or ""
            if scheduled.get("status") == "False"
            else ""
        ),
        disruption_reason=disruption.get("reason", "") if disrupted else "",
        disruption_message=disruption.get("message", "") if disrupted else "",
        deleting=bool(metadata.get("deletionTimestamp")),
        deletion_grace=metadata.get("deletionGracePeriodSeconds"),
        containers=tuple(
            _container(c, limits.get(c["name"], "")) for c in status.get("containerStatuses") or ()
        ),
        init_containers=tuple(
            _container(c, "", sidecar=c["name"] in sidecars)
            for c in status.get("initContainerStatuses") or ()
        ),
    )


def _container(raw: Raw, memory_limit: str, *, sidecar: bool = False) -> ContainerView:
    states: Raw = raw.get("state") or {}
    kind = next((s for s in ContainerState if s and s in states), ContainerState.UNKNOWN)
    state: Raw = states.get(kind) or {}
    return ContainerView(
        name=raw["name"],
        state=kind,
        ready=bool(raw.get("ready")),
        image=raw.get("image") or "",
        reason=state.get("reason") or "",
        message=state.get("message") or "",
        exit_code=state.get("exitCode"),
        started_at=_time(state.get("startedAt")),
        finished_at=_time(state.get("finishedAt")),
        memory_limit=str(memory_limit),
        sidecar=sidecar,
    )


def event_view(raw: Raw) -> EventView:
    """A core/v1 Event."""
    return EventView(
        reason=raw.get("reason") or "",
        message=raw.get("message") or "",
        warning=raw.get("type") == "Warning",
    )


_NEVER = datetime.fromtimestamp(0, UTC)
"""What some container runtimes say of the start of a container that could not be started."""


def _time(text: str | None) -> datetime | None:
    moment = datetime.fromisoformat(text) if text else None
    return None if moment == _NEVER else moment


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0

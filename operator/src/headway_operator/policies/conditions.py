"""The state in Kubernetes' standard form, as kstatus reads it.

``Reconciling`` is True on the way, ``Stalled`` is True where a run will never become ready, and
``Ready`` is True once it succeeded: so ``kubectl wait --for=condition=Ready`` waits for success,
and a GitOps tool sees a failed or cancelled run as failed. Of the first two, the one that is True
carries the message, because that is the one that kstatus shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway_api.models.status import Condition
from headway_api.vocabulary import Phase, Reason

if TYPE_CHECKING:
    from datetime import datetime

    from headway_api.models import TrainingOperationStatus

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
POD_READY = "PodReady"
CANCELLED = "Cancelled"
PROGRESSING = "Progressing"


def with_conditions(
    status: TrainingOperationStatus, now: datetime, generation: int
) -> TrainingOperationStatus:
    """A status with the conditions that follow from its phase, reason and message."""
    before = {c.type: c for c in status.conditions or ()}
    wanted = _wanted(status, before)
    conditions = [
        Condition(
            type=kind,
            status=value,
            reason=reason,
            message=message,
            last_transition_time=_since(before.get(kind), value, now),
        )
        for kind, (value, reason, message) in wanted.items()
    ]
    return status.model_copy(update={"conditions": conditions, "observed_generation": generation})


Wanted = dict[str, tuple[str, str, str]]


def _wanted(status: TrainingOperationStatus, before: dict[str, Condition]) -> Wanted:
    phase = status.phase or Phase.PENDING
    reason, message = status.reason or phase.value, status.message or ""
    succeeded = phase is Phase.SUCCEEDED
    wanted: Wanted = {
        READY: ("True" if succeeded else "False", reason, message),
        RECONCILING: _abnormal(not phase.is_final, reason, message),
        STALLED: _abnormal(phase.is_final and not succeeded, reason, message),
        POD_READY: _pod_ready(phase, reason, message),
    }
    if progressing := _progressing(status, before.get(PROGRESSING)):
        wanted[PROGRESSING] = progressing
    if status.cancellation is not None or CANCELLED in before:
        done = phase is Phase.CANCELLED
        wanted[CANCELLED] = ("True" if done else "False", reason, "")
    return wanted


def _progressing(
    status: TrainingOperationStatus, before: Condition | None
) -> tuple[str, str, str] | None:
    """Whether the trainer makes steps: said once that was in doubt, and from then on."""
    reason, message = status.reason or "", status.message or ""
    if reason == Reason.PROGRESS_DEADLINE_EXCEEDED:
        return "False", reason, message
    if reason == Reason.NODE_UNREACHABLE:
        return "Unknown", reason, message
    if before is None:
        return None
    if status.phase is Phase.RUNNING:
        return "True", Reason.STARTED, ""
    return before.status, before.reason, before.message


def _abnormal(true: bool, reason: str, message: str) -> tuple[str, str, str]:
    return ("True", reason, message) if true else ("False", reason, "")


def _pod_ready(phase: Phase, reason: str, message: str) -> tuple[str, str, str]:
    if reason == Reason.NODE_UNREACHABLE:
        return "Unknown", reason, message
    if phase is Phase.RUNNING:
        return "True", reason, ""
    return "False", reason, ""


def _since(before: Condition | None, status: str, now: datetime) -> datetime:
    return before.last_transition_time if before and before.status == status else now

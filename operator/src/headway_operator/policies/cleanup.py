"""After an end: a final phase never changes, and nothing of what is over goes on behind it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from headway_api.vocabulary import CancelOutcome

from headway_operator.policies.case import DONE, Action, Case, DeleteJob, Plan, ask
from headway_operator.policies.finish import new_receipt
from headway_operator.snapshot import Question

if TYPE_CHECKING:
    from datetime import datetime

    from headway_api.models import TrainingOperationStatus

    from headway_operator.snapshot import JobView

LOOK_AGAIN = 2.0


def leave_what_is_being_deleted(case: Case) -> Plan | None:
    """Owner references take the Job, its pods and an owned claim along."""
    return DONE if case.operation.metadata.deletion_timestamp else None


def keep_what_is_final(case: Case) -> Plan | None:
    """Record a cancel that came too late, stop what should not run any more, change nothing."""
    if not case.phase.is_final:
        return None
    strays = _stop_strays(case, case.job, *case.snapshot.stray_jobs)
    if strays and not case.live:
        # The pods that are over may not have been seen yet; with their Job their logs would go.
        return ask(Question.LIVE)
    expiry = _expiry(case)
    if expiry is not None and case.now >= expiry:
        jobs = [j for j in (case.job, *case.snapshot.stray_jobs) if j and not j.deleting]
        strays = [DeleteJob(j.name, j.uid) for j in jobs]
        expiry = None
    return Plan(status=_too_late(case), actions=tuple(strays), again_at=expiry)


def _expiry(case: Case) -> datetime | None:
    """When what the run left in the cluster is removed; its TrainingOperation stays."""
    spec, ended = case.operation.spec, case.status.completion_time
    if spec is None or spec.ttl_seconds_after_finished is None or ended is None:
        return None
    return ended + timedelta(seconds=spec.ttl_seconds_after_finished)


def _too_late(case: Case) -> TrainingOperationStatus | None:
    spec, status = case.operation.spec, case.status
    if spec and spec.cancel and status.cancellation is None:
        late = {"outcome": CancelOutcome.TOO_LATE, "pods_gone_at": status.completion_time}
        receipt = new_receipt(case).model_copy(update=late)
        return status.model_copy(update={"cancellation": receipt})
    if status.observed_generation != case.operation.metadata.generation:
        return status
    return None


def stop_what_came_late(case: Case) -> Plan | None:
    """An attempt that is over makes no pod any more; another one waits until none of it is left."""
    behind = [j for j in case.snapshot.stray_jobs if j.attempt < case.attempt]
    if case.between_attempts and case.job:
        behind.append(case.job)
    strays = _stop_strays(case, *behind)
    if strays and not case.live:
        return ask(Question.LIVE)
    if strays or (case.between_attempts and case.living):
        return Plan(actions=tuple(strays), again_at=case.in_seconds(LOOK_AGAIN))
    return None


def _stop_strays(case: Case, *candidates: JobView | None) -> list[Action]:
    """Those of the Jobs that still run, or would, although they should not.

    A pod that can never start is still there when its run has failed; and two controllers may have
    crossed each other's way.
    """
    jobs = [j for j in candidates if j and not j.over]
    busy = {p.attempt for p in case.living}
    over = {p.attempt for p in case.snapshot.pods} | {j.attempt for j in jobs if j.decided}
    return [
        DeleteJob(j.name, j.uid) for j in jobs if not j.deleting and j.attempt not in over - busy
    ]

"""The whole policy of the controller, in one list.

Each policy answers with a plan or passes; the first answer counts. A promise of the documentation
is found by the name of its policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway_api.models.status import Workers
from headway_api.vocabulary import Phase, Reason

from headway_operator.policies import (
    admission,
    cancel,
    cleanup,
    deadlines,
    finish,
    queue,
    start,
    suspend,
    wait,
)
from headway_operator.policies.case import DONE, Case, Note, Plan, Policy, no_later, with_more
from headway_operator.policies.conditions import with_conditions
from headway_operator.snapshot import ContainerState

if TYPE_CHECKING:
    from datetime import datetime

    from headway_api.models import TrainingOperationStatus

    from headway_operator.snapshot import Snapshot

CHAIN: tuple[Policy, ...] = (
    cleanup.leave_what_is_being_deleted,
    cleanup.keep_what_is_final,
    admission.refuse_a_spec_that_cannot_be_read,
    finish.end_what_is_over,
    cancel.cancel_before_there_is_a_pod,
    cancel.stop_what_runs,
    cleanup.stop_what_came_late,
    deadlines.end_what_is_out_of_time,
    suspend.suspend_what_has_no_pod,
    suspend.go_on_with_a_stop,
    suspend.stop_for_a_suspend,
    deadlines.stop_what_stalls,
    admission.refuse_a_pod_template_that_is_not_allowed,
    start.wait_for_what_the_spec_names,
    start.wait_out_a_job_of_the_same_name,
    admission.tell_what_the_server_refused,
    start.begin_the_first_attempt,
    start.begin_the_next_attempt,
    start.make_the_job,
    queue.wait_in_the_queue,
    wait.follow_the_trainer,
    wait.explain_the_waiting,
)

_TOLD = frozenset(
    {Phase.SUCCEEDED, Phase.CANCELLED, Phase.CANCELLING, Phase.SUSPENDING, Phase.SUSPENDED}
)

_WORTH_A_WARNING = {
    Reason.DISRUPTED,
    Reason.DEADLINE_EXCEEDED,
    Reason.PROGRESS_DEADLINE_EXCEEDED,
    Reason.UNSCHEDULABLE,
    Reason.IMAGE_PULL,
    Reason.VOLUME_MOUNT,
    Reason.NODE_UNREACHABLE,
    Reason.NAME_TAKEN,
    Reason.QUOTA_EXCEEDED,
    Reason.FORBIDDEN,
    Reason.CONFIG_NOT_FOUND,
    Reason.CLAIM_NOT_FOUND,
    Reason.CANNOT_START,
    Reason.IMAGE_NOT_AVAILABLE,
    Reason.INVALID_SPEC,
}


def plan(snapshot: Snapshot, now: datetime) -> Plan:
    """What to do about an operation, given what is known of it.

    Pure: the same snapshot and moment give the same plan.

    Args:
        snapshot: everything that is known.
        now: the controller's clock, UTC.
    """
    case = Case(snapshot, now)
    for policy in CHAIN:
        answer = policy(case)
        if answer is not None:
            return _complete(case, _in_time(case, finish.wait_for_the_job(case, answer)))
    return DONE


def _in_time(case: Case, answer: Plan) -> Plan:
    """Look again at the latest when a deadline is due."""
    if answer.questions or case.phase.is_final or case.operation.spec is None:
        return answer
    due = deadlines.next_deadline(case)
    return no_later(answer, due) if due else answer


def _complete(case: Case, answer: Plan) -> Plan:
    """Conditions follow from the phase; a status that says nothing new is not written."""
    if answer.status is None:
        return answer
    generation = case.operation.metadata.generation
    status = answer.status.model_copy(update={**_clock(case, answer.status), **_workers(case)})
    status = with_conditions(status, case.now, generation)
    if status == case.status:
        return with_more(answer, status=None)
    return with_more(answer, status=status, notes=(*answer.notes, *_notes(case.status, status)))


def _clock(case: Case, status: TrainingOperationStatus) -> dict[str, object]:
    """The time that counts towards the active deadline passes, or stands still."""
    phase = status.phase or Phase.PENDING
    if phase.is_final or phase in _WITHOUT_TIME:
        return case.clock_off()
    return case.clock_on()


_WITHOUT_TIME = frozenset({Phase.PENDING, Phase.QUEUED, Phase.SUSPENDED})


def _workers(case: Case) -> dict[str, object]:
    """How the workers stand, where there are several."""
    if case.operation.spec is None or case.spec.workers == 1 or not case.attempt:
        return {}
    if case.phase.is_final:
        return {}  # their pods may be gone by now
    pods = case.pods
    return {
        "workers": Workers(
            desired=case.spec.workers,
            running=sum(p.trainer.state is ContainerState.RUNNING for p in pods),
            succeeded=sum(p.phase == "Succeeded" for p in pods),
            failed=sum(p.phase == "Failed" for p in pods),
        )
    }


def _notes(before: TrainingOperationStatus, after: TrainingOperationStatus) -> list[Note]:
    """Events are for what a person should notice; the status itself tells the smooth path."""
    if (before.phase, before.reason) == (after.phase, after.reason):
        return []
    phase, reason, message = after.phase, after.reason or "", after.message or ""
    if phase is Phase.FAILED:
        return [Note(reason, message, warning=True)]
    if phase is Phase.RETRYING and reason != Reason.NODE_UNREACHABLE:
        return []  # the policy says it, with what comes next
    if phase in _TOLD:
        return [Note(reason, message, warning=reason == Reason.NODE_UNREACHABLE)]
    return [Note(reason, message, warning=True)] if reason in _WORTH_A_WARNING else []

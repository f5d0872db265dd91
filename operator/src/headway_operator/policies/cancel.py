"""A cancel is quick and polite, and Cancelled means stopped. It beats everything else.

How the trainer is stopped is in :mod:`headway_operator.policies.stopping`. Before there is a Job,
and between two attempts, none is made any more.
"""

from __future__ import annotations

from datetime import timedelta

from headway_api.models.status import Cancellation
from headway_api.vocabulary import CancelOutcome, Phase, Reason

from headway_operator.policies.case import Case, Plan, say
from headway_operator.policies.finish import conclude, new_receipt
from headway_operator.policies.stopping import Stopping, nothing_is_left, stop
from headway_operator.policies.verdict import Verdict, checkpoint_of


def cancel_before_there_is_a_pod(case: Case) -> Plan | None:
    """Nothing was made, or it is gone already: nothing is made any more."""
    if not case.cancel_requested:
        return None
    nothing = nothing_is_left(case)
    if isinstance(nothing, Plan):
        return nothing
    if not nothing:
        return None
    if not case.ever_started:
        outcome, message = CancelOutcome.BEFORE_START, "Cancelled before the trainer started."
    else:
        outcome = CancelOutcome.GRACEFUL
        message = f"Cancelled {_when(case)}; no trainer ran."
    return conclude(case, Verdict(Phase.CANCELLED, Reason.CANCELLED, message, outcome=outcome))


def _when(case: Case) -> str:
    if case.phase is Phase.SUSPENDED:
        return "while the run was suspended"
    return "between two attempts" if case.between_attempts else f"before attempt {case.attempt} ran"


def stop_what_runs(case: Case) -> Plan | None:
    """Ask politely first; past the deadline, do not ask."""
    if not case.cancel_requested:
        return None
    receipt = _receipt(case)
    new = case.status.cancellation is None and case.stop is None
    if new and case.living and not case.spec.cancel_grace_period_seconds:
        # Before anything is looked up: by then the trainer may have stopped by itself.
        message = "Cancelling: there is no grace period."
        return say(case, Phase.CANCELLING, Reason.CANCEL_REQUESTED, message, cancellation=receipt)

    def fields(forced: bool) -> dict[str, object]:
        outcome = CancelOutcome.FORCED if forced else receipt.outcome
        return {"cancellation": receipt.model_copy(update={"outcome": outcome})}

    return stop(
        case,
        Stopping(
            phase=Phase.CANCELLING,
            reason=Reason.CANCEL_REQUESTED,
            doing="Cancelling",
            end="cancelled",
            deadline=receipt.deadline or case.now,
            forced=receipt.outcome is CancelOutcome.FORCED,
            fields=fields,
        ),
    )


def _receipt(case: Case) -> Cancellation:
    """The receipt as it should be; its deadline moves with the spec."""
    receipt = case.status.cancellation or new_receipt(case)
    requested = case.no_later_than_now(receipt.requested_at)
    deadline = requested + timedelta(seconds=case.spec.cancel_grace_period_seconds)
    if case.stop and (case.stop.forced or not case.reported):
        # Its pod is deleted already, with what was left until then: nobody can give it more.
        deadline = min(deadline, max(case.stop.deadline, requested))
    acknowledged = case.report.cancel_acknowledged_at if case.report else None
    return receipt.model_copy(
        update={
            "requested_at": requested,
            "deadline": deadline,
            "acknowledged_at": acknowledged,
            "checkpoint": checkpoint_of(case, case.report),
        }
    )

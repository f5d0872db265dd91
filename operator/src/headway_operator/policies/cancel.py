"""A cancel is quick and polite, and Cancelled means stopped.

A trainer that has reported stops by itself, within the grace period; past it, its pods are deleted.
A pod that never reported has no SDK: it is deleted at once, with the whole grace. A pod that no
node has yet goes with its Job. Before there is a Job, none is made.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from headway_api import limits
from headway_api.models.status import Cancellation, LastLogs
from headway_api.vocabulary import CancelOutcome, Phase, Reason

from headway_operator.policies.case import Action, Case, DeleteJob, DeletePod, Plan, ask, say
from headway_operator.policies.finish import conclude
from headway_operator.policies.verdict import Verdict
from headway_operator.policies.wait import unreachable
from headway_operator.snapshot import Question

LOOK_AGAIN = 2.0
"""Seconds until a live read is worth another try while something is on its way out."""
RETRY_FORCE = 15.0
"""Seconds until pods that should be dead are looked at again."""


def cancel_before_there_is_a_pod(case: Case) -> Plan | None:
    """Nothing was made, or it is gone already: nothing is made any more."""
    if not case.cancel_requested or case.living or case.started:
        return None
    if case.attempt and not case.live:
        # Its Job may have been made a moment ago, or be on its way out.
        return ask(Question.LIVE) if case.job is None else None
    if case.job is not None:
        return None
    message = "Cancelled before the trainer started."
    end = Verdict(Phase.CANCELLED, Reason.CANCELLED, message, outcome=CancelOutcome.BEFORE_START)
    return conclude(case, end)


def stop_what_runs(case: Case) -> Plan | None:
    """Ask politely first; past the deadline, do not ask."""
    if not case.cancel_requested:
        return None
    receipt = _receipt(case)
    deadline = receipt.deadline or case.now
    if case.now < deadline:
        return _wait_for_the_trainer(case, receipt, deadline)
    return _force(case, receipt)


def _receipt(case: Case) -> Cancellation:
    """The receipt as it should be; its deadline moves with the spec."""
    receipt = case.status.cancellation or Cancellation(
        requested_at=case.now, reason=case.spec.cancel_reason
    )
    grace = timedelta(seconds=case.spec.cancel_grace_period_seconds)
    acknowledged = case.report.cancel_acknowledged_at if case.report else None
    return receipt.model_copy(
        update={"deadline": receipt.requested_at + grace, "acknowledged_at": acknowledged}
    )


def _wait_for_the_trainer(case: Case, receipt: Cancellation, deadline: datetime) -> Plan:
    left = max(1, math.ceil((deadline - case.now).total_seconds()))
    actions: list[Action] = []
    until = f"it has until {_clock(deadline)}"
    message = f"Cancelling: the trainer was asked to stop; {until}."
    if not any(p.scheduled for p in case.living):
        message = "Cancelling: no trainer runs yet, and its Job is taken back."
        if case.job and not case.job.deleting and not case.job.over:
            actions.append(DeleteJob(case.job.name, case.job.uid))
    elif not case.reported:
        message = f"Cancelling: the trainer never reported, so its pod was told to end; {until}."
        actions += [DeletePod(p.name, p.uid, left) for p in case.living if not p.deleting]
    plan = say(
        case,
        Phase.CANCELLING,
        Reason.CANCEL_REQUESTED,
        message,
        cancellation=receipt,
    )
    vanishing = not case.living or any(p.deleting for p in case.living)
    again = min(deadline, case.in_seconds(LOOK_AGAIN)) if vanishing else deadline
    return Plan(status=plan.status, actions=tuple(actions), again_at=again)


def _force(case: Case, receipt: Cancellation) -> Plan:
    """Past the grace period. That is written down before it is done: it decides the outcome."""
    if case.living and case.snapshot.answers.unreachable_nodes is None:
        return ask(Question.NODE)
    first = receipt.outcome is not CancelOutcome.FORCED
    if first and any(p.started for p in case.living) and case.snapshot.answers.logs is None:
        return ask(Question.LOGS)
    actions: list[Action] = [
        DeletePod(p.name, p.uid, limits.FORCED_DELETE_GRACE)
        for p in case.living
        if not p.deleting or (p.deletion_grace or 0) > limits.FORCED_DELETE_GRACE
    ]
    if case.job and not any(p.scheduled for p in case.living) and not case.job.deleting:
        actions.append(DeleteJob(case.job.name, case.job.uid))
    message = "Cancelling: the grace period is over and the trainer's pod is being killed."
    tail = case.snapshot.answers.logs
    logs = case.status.last_logs
    if tail and tail.text:
        text = tail.text[-limits.LAST_LOGS_LENGTH :]
        logs = LastLogs(pod=tail.pod, container=tail.container, text=text)
    lost = unreachable(case)
    if lost:
        message = (
            f"Cancelling: node {lost.node} of pod {lost.name} cannot be reached; the run is called "
            "cancelled when the pod is gone. If the machine is off for good, delete its Node."
        )
    plan = say(
        case,
        Phase.CANCELLING,
        Reason.NODE_UNREACHABLE if lost else Reason.CANCEL_REQUESTED,
        message,
        cancellation=receipt.model_copy(update={"outcome": CancelOutcome.FORCED}),
        last_logs=logs,
    )
    return Plan(status=plan.status, actions=tuple(actions), again_at=case.in_seconds(RETRY_FORCE))


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S UTC")

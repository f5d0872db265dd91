"""How a trainer is stopped, whoever wants it: asked first; past the deadline, not asked.

A trainer that has reported stops by itself, within the grace period; past it, its pods are deleted.
A pod that never reported has no SDK: it is deleted at once, with the whole grace. A pod that no
node has yet goes with its Job. The Job of a trainer that ran stays, and says how that ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headway_api import limits
from headway_api.vocabulary import Phase, Reason

from headway_operator.policies.case import Action, Case, DeleteJob, DeletePod, Plan, ask, say
from headway_operator.policies.finish import last_logs
from headway_operator.policies.wait import running_since, unreachable
from headway_operator.snapshot import Question

LOOK_AGAIN = 2.0
"""Seconds until a live read is worth another try while something is on its way out."""
RETRY_FORCE = 15.0
"""Seconds until pods that should be dead are looked at again."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """A stop under way: what it is called, and where it is written down."""

    phase: Phase
    reason: Reason
    doing: str
    """What messages begin with, such as ``Cancelling``."""
    end: str
    """What the run is called when its pod is gone, such as ``cancelled``."""
    deadline: datetime
    forced: bool
    """Whether it was written down before that the grace period is over."""
    fields: Callable[[bool], dict[str, Any]]
    """The fields of the status that tell of it; the argument says whether it is forced."""


def nothing_is_left(case: Case) -> Plan | bool:
    """Whether the current attempt has neither a pod nor a Job, and left no end to judge.

    A plan where only a live read can tell.
    """
    if case.living:
        return False
    if not case.attempt:
        return True
    if case.between_attempts:
        return case.live or ask(Question.LIVE)
    if case.started:
        return False
    if not case.live:
        # Its Job may have been made a moment ago, or be on its way out.
        return ask(Question.LIVE) if case.job is None else False
    return case.job is None


def stop(case: Case, stopping: Stopping) -> Plan:
    """The next step of a stop."""
    if case.job and not case.live and not _on_a_node(case):
        # A trainer that runs may be news that has not come yet; with its Job its logs would go.
        return ask(Question.LIVE)
    if _tells_to_end(case, stopping) and not case.live:
        # So may be one that has ended: told to end after that, it would not seem to have finished.
        return ask(Question.LIVE)
    if case.now < stopping.deadline or _counting(case):
        return _wait_for_the_trainer(case, stopping)
    return _force(case, stopping)


def _wait_for_the_trainer(case: Case, stopping: Stopping) -> Plan:
    deadline = stopping.deadline
    left = max(1, math.ceil((deadline - case.now).total_seconds()))
    actions: list[Action] = []
    until = f"it has until {clock(deadline)}"
    message = f"{stopping.doing}: the trainer was asked to stop; {until}."
    if _counting(case):
        message = f"{stopping.doing}: the trainer's pod is gone, and its Job is about to say so."
    elif not _on_a_node(case):
        message = f"{stopping.doing}: no trainer runs yet, and its Job is taken back."
        actions += _take_back(case)
    elif not case.reported:
        asked_now = [p for p in case.living if not p.deleting]
        if any(p.started for p in asked_now) and case.snapshot.answers.logs is None:
            return ask(Question.LOGS)  # with its pod, its log will go
        message = (
            f"{stopping.doing}: the trainer never reported, so its pod was told to end; {until}."
        )
        actions += [DeletePod(p.name, p.uid, left) for p in asked_now]
    plan = say(
        case,
        stopping.phase,
        stopping.reason,
        message,
        last_logs=last_logs(case),
        **_started(case),
        **stopping.fields(False),
    )
    vanishing = not case.living or any(p.deleting for p in case.living)
    again = case.in_seconds(LOOK_AGAIN) if vanishing else deadline
    if case.now < deadline:
        again = min(again, deadline)
    return Plan(status=plan.status, actions=tuple(actions), again_at=again)


def _tells_to_end(case: Case, stopping: Stopping) -> bool:
    """Whether a trainer that nobody has told to end will be told."""
    asked_only = case.reported and case.now < stopping.deadline
    return not asked_only and any(p.started and not p.deleting for p in case.living)


def _on_a_node(case: Case) -> bool:
    return any(p.scheduled for p in case.living)


def _counting(case: Case) -> bool:
    """Whether all pods are over or gone, and the Job says in a moment what that means for it."""
    job = case.job
    return bool(job and not job.suspended and not case.living and (case.pods or job.decided))


def _take_back(case: Case) -> list[Action]:
    """Delete a Job that may still make a pod."""
    job = case.job
    return [DeleteJob(job.name, job.uid)] if job and not job.deleting and not job.decided else []


def _force(case: Case, stopping: Stopping) -> Plan:
    """Past the grace period. That is written down before it is done: it decides the outcome."""
    if case.living and case.snapshot.answers.unreachable_nodes is None:
        return ask(Question.NODE)
    first = not stopping.forced
    if first and any(p.started for p in case.living) and case.snapshot.answers.logs is None:
        return ask(Question.LOGS)
    actions: list[Action] = [
        DeletePod(p.name, p.uid, limits.FORCED_DELETE_GRACE)
        for p in case.living
        if not p.deleting or (p.deletion_grace or 0) > limits.FORCED_DELETE_GRACE
    ]
    if not _on_a_node(case):
        actions += _take_back(case)
    lost = unreachable(case)
    message = f"{stopping.doing}: the grace period is over and the trainer's pod is being killed."
    if lost:
        message = (
            f"{stopping.doing}: node {lost.node} of pod {lost.name} cannot be reached; the run is "
            f"called {stopping.end} when the pod is gone. If the machine is off for good, delete "
            "its Node."
        )
    plan = say(
        case,
        stopping.phase,
        Reason.NODE_UNREACHABLE if lost else stopping.reason,
        message,
        last_logs=last_logs(case),
        **_started(case),
        **stopping.fields(True),
    )
    return Plan(status=plan.status, actions=tuple(actions), again_at=case.in_seconds(RETRY_FORCE))


def _started(case: Case) -> dict[str, object]:
    """That the trainer ran is written down before its pod can be gone."""
    pod = next((p for p in case.pods if p.started), None)
    return running_since(case, pod) if pod else {}


def clock(moment: datetime) -> str:
    """A moment as messages say it."""
    return moment.strftime("%H:%M:%S UTC")

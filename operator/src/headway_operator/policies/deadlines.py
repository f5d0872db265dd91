"""A run that takes too long, or makes no step, is stopped.

Ages are measured from when this controller saw a change. Silence is a stall only while the node of
the pod is ready and this controller's view was unbroken; what it cannot see it never ends.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from headway_api import limits
from headway_api.vocabulary import Phase, Reason, StopCause

from headway_operator.policies.case import Case, Plan, ask, say
from headway_operator.policies.finish import conclude
from headway_operator.policies.stopping import nothing_is_left
from headway_operator.policies.suspend import begin_to_stop
from headway_operator.policies.verdict import Verdict
from headway_operator.policies.wait import unreachable
from headway_operator.snapshot import ContainerState, Question

HEARD_WITHIN = limits.HEARTBEAT_INTERVAL * 2 + 10
"""Seconds after a heartbeat in which the trainer is alive."""
A_NODE_IS_MISSED_WITHIN = 60.0
"""Seconds after which a control plane calls a node that is gone not ready (50 by default)."""
LOOK_AGAIN = 10.0


def end_what_is_out_of_time(case: Case) -> Plan | None:
    """Past activeDeadlineSeconds the run has failed, whatever retries are left."""
    most = case.spec.active_deadline_seconds
    if most is None or not case.attempt or case.active_seconds < most:
        return None
    if case.phase is Phase.SUSPENDED and case.suspend_requested:
        return None  # it holds nothing, and its time stands still
    nothing = nothing_is_left(case)
    if isinstance(nothing, Plan):
        return nothing
    if nothing:
        return conclude(
            case, Verdict(Phase.FAILED, Reason.DEADLINE_EXCEEDED, out_of_time(case, "it ended"))
        )
    if case.stop is not None:
        return None
    return begin_to_stop(case, StopCause.DEADLINE)


def out_of_time(case: Case, end: str) -> str:
    """What is said of a run that ran out of time."""
    most = case.spec.active_deadline_seconds
    return f"The run took more than its activeDeadlineSeconds of {most}, and {end}."


def stop_what_stalls(case: Case) -> Plan | None:
    """A trainer that makes no step within progressDeadlineSeconds is stopped."""
    most = case.spec.progress_deadline_seconds
    pod = next((p for p in case.living if p.trainer.state is ContainerState.RUNNING), None)
    since = _without_a_step_since(case)
    if most is None or pod is None or pod.deleting or since is None:
        return None
    if case.spec.workers > 1 and case.phase is not Phase.RUNNING:
        return None  # those that run wait for the others
    due = since + timedelta(seconds=most)
    if case.now < due:
        return None
    if not case.snapshot.answers.fresh:
        return ask(Question.OPERATION)
    if _heard(case) and case.spec.workers == 1:
        return begin_to_stop(case, StopCause.PROGRESS_DEADLINE)
    unready = case.snapshot.answers.unready_nodes
    if unready is None:
        return ask(Question.NODE)
    away = next((p for p in case.living if p.node in unready), None)
    if away is not None:
        return _silent_on_a_lost_node(case, away.name, away.node)
    notice = f"{pod.uid}:silent"
    if _heard(case) or case.age(notice).total_seconds() >= A_NODE_IS_MISSED_WITHIN:
        return begin_to_stop(case, StopCause.PROGRESS_DEADLINE)
    again = min(case.moment(notice, A_NODE_IS_MISSED_WITHIN), case.in_seconds(LOOK_AGAIN))
    return Plan(notices=frozenset({notice}), again_at=again)


def _silent_on_a_lost_node(case: Case, pod: str, node: str) -> Plan:
    lost = unreachable(case) is not None
    told = "cannot be reached" if lost else "is not ready"
    plan = say(
        case,
        Phase.RUNNING,
        Reason.NODE_UNREACHABLE,
        f"No step is heard of, and node {node} of pod {pod} {told}: the trainer may well be at "
        "work. The run goes on when the node is back, and elsewhere when the pod is gone.",
    )
    return Plan(status=plan.status, again_at=case.in_seconds(LOOK_AGAIN))


def _without_a_step_since(case: Case) -> datetime | None:
    """Since when this controller would have seen a step, had there been one."""
    signs = case.snapshot.signs
    if signs.stepped_at is None or signs.view_since is None:
        return None
    return max(signs.stepped_at, signs.view_since)


def _heard(case: Case) -> bool:
    """Whether a heartbeat came after the last step: the trainer lives, and makes no step."""
    signs = case.snapshot.signs
    if signs.alive_at is None or signs.stepped_at is None or signs.alive_at <= signs.stepped_at:
        return False
    return (case.now - signs.alive_at).total_seconds() < HEARD_WITHIN


def next_deadline(case: Case) -> datetime | None:
    """When one of the deadlines will be due, as things stand.

    One that has passed has had its say: who still waits then says when to look again.
    """
    moments = []
    if case.spec.active_deadline_seconds is not None and case.status.active_since:
        left = case.spec.active_deadline_seconds - case.active_seconds
        if left > 0:
            moments.append(case.in_seconds(max(0.1, left)))
    since = _without_a_step_since(case)
    if case.spec.progress_deadline_seconds is not None and since is not None:
        due = since + timedelta(seconds=case.spec.progress_deadline_seconds)
        if case.now < due:
            moments.append(max(due, case.in_seconds(0.1)))
    return min(moments, default=None)

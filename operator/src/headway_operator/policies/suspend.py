"""A suspend frees what the run holds; a resume goes on from its checkpoint, as the next attempt."""

from __future__ import annotations

from datetime import timedelta

from headway_api.models.status import Attempt, Stop
from headway_api.vocabulary import Phase, Reason, StopCause

from headway_operator.policies.case import Case, Plan, say
from headway_operator.policies.finish import after_the_attempt
from headway_operator.policies.stopping import Stopping, nothing_is_left, stop
from headway_operator.policies.verdict import Verdict

_NAMES = {
    StopCause.SUSPEND: (Phase.SUSPENDING, Reason.SUSPEND_REQUESTED, "Suspending", "suspended"),
    StopCause.DEADLINE: (None, Reason.DEADLINE_EXCEEDED, "Out of time", "failed"),
    StopCause.PROGRESS_DEADLINE: (
        None,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
        "Stalled",
        "over",
    ),
}


def suspend_what_has_no_pod(case: Case) -> Plan | None:
    """Nothing was made, or it is gone already: the run rests until somebody resumes it."""
    wanted = case.suspend_requested or (
        case.stop is not None and case.stop.cause is StopCause.SUSPEND
    )
    if not wanted:
        return None
    if case.phase is Phase.SUSPENDED and not case.living:
        return _rest(case)
    nothing = nothing_is_left(case)
    if isinstance(nothing, Plan):
        return nothing
    return _rest(case) if nothing else None


def _rest(case: Case) -> Plan | None:
    if case.phase is Phase.SUSPENDED and not case.suspend_requested:
        return None
    if case.phase is Phase.SUSPENDED:
        return say(case, Phase.SUSPENDED, Reason.SUSPENDED, case.status.message or "")
    message = (
        "Suspended before the trainer started; set spec.suspend to false to start it."
        if case.status.start_time is None
        else "Suspended between two attempts; set spec.suspend to false to go on."
    )
    return say(
        case,
        Phase.SUSPENDED,
        Reason.SUSPENDED,
        message,
        attempts=_ended(case),
        stop=None,
        next_attempt_time=None,
    )


def _ended(case: Case) -> list[Attempt] | None:
    """The attempts; one that never started is over now."""
    return [
        a.model_copy(update={"ended": case.now, "reason": Reason.SUSPENDED.value})
        if a.number == case.attempt and a.ended is None
        else a
        for a in case.status.attempts or ()
    ] or None


def go_on_with_a_stop(case: Case) -> Plan | None:
    """A stop that was begun is finished, whatever the spec says by now; its deadline follows it."""
    begun = case.stop
    if begun is None or case.between_attempts:
        return None
    nothing = nothing_is_left(case)
    if isinstance(nothing, Plan):
        return nothing
    if nothing:
        what = _NAMES[begun.cause][2]
        end = Verdict(Phase.FAILED, begun.cause.value, f"{what}: its pod was stopped and is gone.")
        return after_the_attempt(case, end)
    grace = timedelta(seconds=case.spec.cancel_grace_period_seconds)
    requested = case.no_later_than_now(begun.requested_at)
    moments = {"requested_at": requested, "deadline": requested + grace}
    return _carry_out(case, begun.model_copy(update=moments))


def stop_for_a_suspend(case: Case) -> Plan | None:
    """What runs is stopped, in the way of a cancel."""
    if not case.suspend_requested or case.between_attempts or not case.attempt:
        return None
    return begin_to_stop(case, StopCause.SUSPEND)


def begin_to_stop(case: Case, cause: StopCause) -> Plan:
    """Stop the current attempt for a cause that is no cancel."""
    grace = timedelta(seconds=case.spec.cancel_grace_period_seconds)
    stop_ = Stop(
        cause=cause, attempt=case.attempt, requested_at=case.now, deadline=case.now + grace
    )
    return _carry_out(case, stop_)


def _carry_out(case: Case, stop_: Stop) -> Plan:
    phase, reason, doing, end = _NAMES[stop_.cause]
    running = Phase.RUNNING if case.started else Phase.STARTING

    def fields(forced: bool) -> dict[str, object]:
        return {"stop": stop_.model_copy(update={"forced": forced or stop_.forced})}

    return stop(
        case,
        Stopping(
            phase=phase or running,
            reason=reason,
            doing=doing,
            end=end,
            deadline=stop_.deadline,
            forced=bool(stop_.forced),
            fields=fields,
        ),
    )

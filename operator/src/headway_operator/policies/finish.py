"""The end of a run: when it is over, and what is then written once and for all."""

from __future__ import annotations

from headway_api import limits
from headway_api.models.status import Attempt, Cancellation, LastLogs, Report, Result
from headway_api.vocabulary import CancelOutcome, Phase

from headway_operator.policies.case import Case, Plan, ask, clip, say
from headway_operator.policies.verdict import Verdict, verdict
from headway_operator.snapshot import Question


def end_what_is_over(case: Case) -> Plan | None:
    """Every pod of the attempt is over or gone, and so is the run."""
    if not case.attempt or case.living or not _over(case):
        return None
    # A terminal pod stays terminal. Everything else rests on absence, and a Cancelled promises
    # that nothing runs any more: both are confirmed by a live read first.
    if not case.live and (case.cancel_requested or not case.pods):
        return ask(Question.LIVE)
    end = verdict(case)
    if _wants_logs(end) and case.pods and case.snapshot.answers.logs is None:
        return ask(Question.LOGS)
    return conclude(case, end)


def _over(case: Case) -> bool:
    if case.pods:
        return True  # none of them lives
    if case.job:
        return case.job.over
    return case.started  # no Job, no pod, and yet it ran: both were deleted


def _wants_logs(end: Verdict) -> bool:
    return end.phase is Phase.FAILED or end.outcome is CancelOutcome.CRASHED


def failed(case: Case, reason: str, message: str) -> Plan:
    """The run cannot be had: it ends before its trainer ran."""
    return conclude(case, Verdict(Phase.FAILED, reason, clip(message, limits.MESSAGE_LENGTH)))


def conclude(case: Case, end: Verdict) -> Plan:
    """Write down how the run ended."""
    started = case.status.start_time or end.started_at
    message = clip(end.message, limits.MESSAGE_LENGTH)
    return say(
        case,
        end.phase,
        end.reason,
        message,
        start_time=started,
        completion_time=case.now,
        attempts=_attempts(case, end),
        cancellation=_receipt(case, end),
        result=Result(
            reason=end.reason,
            message=message,
            exit_code=end.exit_code,
            signal=end.signal,
            report=_explanation(case, end.report),
        ),
        last_logs=_last_logs(case),
    )


def _attempts(case: Case, end: Verdict) -> list[Attempt] | None:
    if not case.attempt:
        return case.status.attempts
    before = [a for a in case.status.attempts or () if a.number != case.attempt]
    current = next((a for a in case.status.attempts or () if a.number == case.attempt), None)
    ended = Attempt(
        number=case.attempt,
        job=case.job_name,
        started=(current.started if current else None) or end.started_at,
        ended=case.now,
        reason=end.reason,
        exit_code=end.exit_code,
    )
    return [*before, ended][-10:]


def _receipt(case: Case, end: Verdict) -> Cancellation | None:
    spec = case.operation.spec
    if spec is None or not spec.cancel:
        return case.status.cancellation
    receipt = case.status.cancellation or Cancellation(
        requested_at=case.now, reason=spec.cancel_reason
    )
    claim = end.report
    return receipt.model_copy(
        update={
            "outcome": end.outcome or CancelOutcome.TOO_LATE,
            "acknowledged_at": claim.cancel_acknowledged_at if claim else None,
            "pods_gone_at": case.now,
        }
    )


def _explanation(case: Case, claim: Report | None) -> Report | None:
    """The claim beside the verdict.

    Where status.report has it in full, the traceback and the summary are not said twice.
    """
    if claim is None or case.report is None:
        return claim
    error = claim.error.model_copy(update={"traceback": None}) if claim.error else None
    return claim.model_copy(update={"error": error, "summary": None})


def _last_logs(case: Case) -> LastLogs | None:
    tail = case.snapshot.answers.logs
    if tail is None or not tail.text:
        return case.status.last_logs
    return LastLogs(
        pod=tail.pod, container=tail.container, text=tail.text[-limits.LAST_LOGS_LENGTH :]
    )

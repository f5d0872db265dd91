"""The end of an attempt, and of a run: when it is over, and what is then written down."""

from __future__ import annotations

from dataclasses import replace

from headway_api import limits, names
from headway_api.models.status import Attempt, Cancellation, LastLogs, Report, Result
from headway_api.vocabulary import CancelOutcome, Phase, Reason

from headway_operator.policies.case import Case, Note, Plan, ask, clip, no_later, say, with_more
from headway_operator.policies.verdict import Verdict, checkpoint_of, earlier_checkpoint, verdict
from headway_operator.snapshot import Question

_DISRUPTIONS = frozenset({Reason.DISRUPTED, Reason.EVICTED})
_HOPELESS = frozenset(
    {
        Reason.IMAGE_NOT_AVAILABLE,
        Reason.INVALID_IMAGE_NAME,
        Reason.INVALID_POD,
        Reason.CONFIG_NOT_FOUND,
        Reason.CLAIM_NOT_FOUND,
    }
)
"""What runs cannot be changed, so another attempt would end in the same way."""
PATIENCE_WITH_A_JOB = 20.0
"""Seconds that a Job whose failed pod is gone may take to say that it failed.

That takes milliseconds. But a Job controller that missed the news of a pod holds it back for five
minutes, or until something else happens to the Job (its "expectations").
"""
_LONGEST_PAUSE = 60.0
"""Seconds between a disruption and the next attempt, at most."""


def end_what_is_over(case: Case) -> Plan | None:
    """Every pod of the attempt is over or gone, and so is the attempt, and mostly the run."""
    if not case.attempt or case.between_attempts or case.living or not _over(case):
        return None
    # A terminal pod stays terminal, but another one may have come, and absence proves nothing: that
    # nothing of the attempt runs is confirmed by a live read, where something hangs on it.
    end = verdict(case)
    ends_well = end.phase is Phase.SUCCEEDED and case.pods and not case.cancel_requested
    if not case.live and not ends_well:
        return ask(Question.LIVE)
    if _wants_logs(case, end) and case.pods and case.snapshot.answers.logs is None:
        return ask(Question.LOGS)
    return after_the_attempt(case, end)


def after_the_attempt(case: Case, end: Verdict) -> Plan:
    """What follows an attempt: the end of the run, a rest, or another attempt."""
    if end.phase is Phase.SUSPENDED:
        return _rest(case, end)
    if end.phase is not Phase.FAILED or end.reason == Reason.DEADLINE_EXCEEDED:
        return conclude(case, end)
    if end.reason in _DISRUPTIONS:
        return _after_a_disruption(case, end)
    policy = case.spec.retry_policy
    spent = case.status.retries or 0
    if policy is None or spent >= policy.limit or end.reason in _HOPELESS:
        return conclude(case, end)
    pause = min(policy.backoff_seconds * 2.0**spent, limits.LONGEST_BACKOFF)
    return _try_again(
        case,
        end,
        pause,
        f"Attempt {case.attempt} failed",
        f"retry {spent + 1} of {policy.limit}",
        retries=spent + 1,
        disruptions=None,
    )


def _after_a_disruption(case: Case, end: Verdict) -> Plan:
    """Disruptions spend no retry; ten of them in a row without a newer checkpoint are enough."""
    reached = checkpoint_of(case, end.report)
    newer = reached is not None and reached != earlier_checkpoint(case)
    in_a_row = 1 if newer else (case.status.disruptions or 0) + 1
    if in_a_row >= limits.DISRUPTIONS_IN_A_ROW:
        message = (
            f"Disrupted {in_a_row} times in a row without a newer checkpoint. The last time: "
            f"{end.message}"
        )
        return conclude(case, replace(end, reason=Reason.DISRUPTED_REPEATEDLY, message=message))
    pause = 0.0 if in_a_row == 1 else min(2.0 ** (in_a_row - 2), _LONGEST_PAUSE)
    return _try_again(
        case,
        end,
        pause,
        f"Attempt {case.attempt} was disrupted",
        "no retry is spent",
        disruptions=in_a_row,
    )


def _try_again(
    case: Case, end: Verdict, pause: float, what: str, count: str, **fields: object
) -> Plan:
    begins = case.in_seconds(pause)
    when = f"at {begins:%H:%M:%S} UTC" if pause else "at once"
    text = clip(end.message, limits.MESSAGE_LENGTH - 200).rstrip(".")
    message = f"{what}: {text}. Attempt {case.attempt + 1} begins {when} ({count})."
    plan = say(
        case,
        Phase.RETRYING,
        end.reason,
        message,
        next_attempt_time=begins,
        **_between_attempts(case, end),
        **fields,
    )
    return Plan(
        status=plan.status,
        notes=(Note(end.reason, message, warning=True),),
        again_at=max(begins, case.in_seconds(0.1)),
    )


def _rest(case: Case, end: Verdict) -> Plan:
    reached = checkpoint_of(case, end.report)
    where = f" Its checkpoint is {reached}." if reached else " It left no checkpoint."
    if not case.keeps_its_workspace:
        where = " Its workspace went with its pod (see spec.storage), so it will begin anew."
    return say(
        case,
        Phase.SUSPENDED,
        end.reason,
        f"{end.message}{where} Set spec.suspend to false to go on.",
        **_between_attempts(case, end),
    )


def _between_attempts(case: Case, end: Verdict) -> dict[str, object]:
    """What is written down of an attempt that is not the last."""
    return {
        "start_time": case.status.start_time or end.started_at,
        "attempts": _attempts(case, end),
        "last_logs": last_logs(case),
        "stop": None,
    }


def _over(case: Case) -> bool:
    if case.job and not (case.job.over or case.job.failing):
        if case.job.suspended:
            return False  # its pods were taken away, and come again
        if case.job.queue and all(p.deleting for p in case.pods):
            return False  # its queue may have done that, and started it again: the Job knows
    if case.pods and (len(case.pods) >= case.spec.workers or case.job is None):
        return True  # none of them lives
    if case.job:
        return case.job.over or (
            _owes_a_word(case) and case.now >= case.moment(_silence(case), PATIENCE_WITH_A_JOB)
        )
    return case.started  # no Job, no pod, and yet it ran: both were deleted


def wait_for_the_job(case: Case, answer: Plan) -> Plan:
    """Beside what else is to do, note since when the Job owes a word, and look again in time."""
    if not _owes_a_word(case) or answer.questions or case.phase.is_final or case.between_attempts:
        return answer
    silence = _silence(case)
    due = max(case.moment(silence, PATIENCE_WITH_A_JOB), case.in_seconds(0.1))
    return with_more(no_later(answer, due), notices=answer.notices | {silence})


def _owes_a_word(case: Case) -> bool:
    """Whether the Job had a pod that failed, has none that lives, and does not say so."""
    return bool(case.job and case.job.failing and not case.job.over and not case.living)


def _silence(case: Case) -> str:
    """The notice that tells since when."""
    return f"{case.job.uid if case.job else ''}:failing"


def _wants_logs(case: Case, end: Verdict) -> bool:
    """Where the run failed; and where it was stopped, and its log is all that it had to say."""
    if end.phase in (Phase.CANCELLED, Phase.SUSPENDED) and not case.reported:
        return True
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
        stop=None,
        next_attempt_time=None,
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
        last_logs=last_logs(case),
    )


def _attempts(case: Case, end: Verdict) -> list[Attempt] | None:
    if not case.attempt or case.between_attempts:
        return case.status.attempts
    before = [a for a in case.status.attempts or () if a.number != case.attempt]
    ended = Attempt(
        number=case.attempt,
        job=case.job_name,
        started=(case.entry.started if case.entry else None) or end.started_at,
        ended=case.now,
        reason=end.reason,
        exit_code=end.exit_code,
        message=clip(end.message, limits.ATTEMPT_MESSAGE_LENGTH) or None,
        checkpoint=checkpoint_of(case, end.report),
    )
    return [*before, ended][-limits.ATTEMPTS_LISTED :]


def _receipt(case: Case, end: Verdict) -> Cancellation | None:
    spec = case.operation.spec
    if spec is None or not spec.cancel:
        return case.status.cancellation
    receipt = case.status.cancellation or new_receipt(case)
    claim = end.report
    return receipt.model_copy(
        update={
            "outcome": end.outcome or CancelOutcome.TOO_LATE,
            "acknowledged_at": claim.cancel_acknowledged_at if claim else None,
            "checkpoint": checkpoint_of(case, claim),
            "pods_gone_at": case.now,
        }
    )


def new_receipt(case: Case) -> Cancellation:
    """The receipt of a cancel that was seen just now."""
    by = case.operation.metadata.annotations.get(names.ANNOTATION_CANCEL_REQUESTED_BY, "")
    return Cancellation(
        requested_at=case.now,
        requested_by=clip(by, limits.REQUESTER_LENGTH) or None,
        reason=case.spec.cancel_reason,
    )


def _explanation(case: Case, claim: Report | None) -> Report | None:
    """The claim beside the verdict.

    Where status.report has it in full, what may be long is not said twice.
    """
    if claim is None or claim is not case.report:
        return claim
    error = claim.error.model_copy(update={"traceback": None}) if claim.error else None
    return claim.model_copy(update={"error": error, "summary": None, "artifacts": None})


def last_logs(case: Case) -> LastLogs | None:
    """What is kept of a log: what was read just now, else what was kept before."""
    tail = case.snapshot.answers.logs
    if tail is None or not tail.text:
        return case.status.last_logs
    return LastLogs(
        pod=tail.pod, container=tail.container, text=tail.text[-limits.LAST_LOGS_LENGTH :]
    )

"""How a run ended: what happened decides, claims only explain.

Exit codes, signals and pod conditions give the verdict; the trainer's report explains it. A claim
of success with exit code 1 has failed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from headway_api.models.status import Report, Stop
from headway_api.vocabulary import CancelOutcome, Phase, Reason, ReportStatus, StopCause

from headway_operator.policies.case import Case
from headway_operator.policies.facts import (
    Facts,
    claim_in,
    decisive_pod,
    done_by,
    from_job,
    from_pod,
)
from headway_operator.snapshot import PodView

KILLED = 137
"""128 + SIGKILL: what a container exits with that did not end within its grace period."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

_SUSPENDED = "suspended"
"""What the SDK calls the reason of a stop for ``spec.suspend``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of an attempt. Suspended and Failed need not be the end of the run."""

    phase: Phase
    reason: str
    message: str
    exit_code: int | None = None
    signal: str | None = None
    report: Report | None = None
    outcome: CancelOutcome | None = None
    """How the cancel ended, where there was one."""
    started_at: datetime | None = None


def verdict(case: Case) -> Verdict:
    """How the current attempt ended.

    Asked only when every pod of the attempt is over or gone.
    """
    pod = decisive_pod(case.pods)
    if pod and pod.phase == "Succeeded" and len(case.pods) < case.spec.workers:
        pod = None  # it did its part; of the others the Job has to tell
    claim = _claim(case, pod)
    facts = from_pod(pod, claim, ran=case.started) if pod else from_job(case, claim)
    if _cancelling(case, claim):
        return _with_cancel(case, pod, facts, claim)
    stop = case.stop or _suspend_by_itself(case, claim)
    if stop is not None:
        return _with_stop(case, stop, pod, facts, claim)
    return _without_cancel(facts, claim)


def _claim(case: Case, pod: PodView | None) -> Report | None:
    own = claim_in(pod.trainer.message) if pod else None
    if pod and pod.index and pod.phase == "Failed":
        return own  # what the first worker said is about itself
    if case.report is None or (own and own.status is not case.report.status):
        # The pod's last words. They did not reach the API server, or say more than was said there.
        return own
    return case.report


def _cancelling(case: Case, claim: Report | None) -> bool:
    """Whether the cancel was in time to have a say in how the run ended."""
    if not case.cancel_requested:
        return False
    in_time = case.phase is Phase.CANCELLING
    return in_time or bool(claim and (claim.cancel_acknowledged_at or _stopped(claim)))


def _stopped(claim: Report | None) -> bool:
    return claim is not None and claim.status in (ReportStatus.CANCELLED, ReportStatus.INTERRUPTED)


def _told_to_end(case: Case, pod: PodView | None, *, forced: bool) -> bool:
    """Whether our SIGTERM reached a trainer that was asked to stop.

    Where no pod is left to tell: one that never reported got it at once, one that did report gets
    it past the grace period only. The Job goes, too, where a stop finds that nothing runs: its
    queue had taken the pods away.
    """
    return pod.deleting if pod else forced or not case.reported or case.job is None


def _with_cancel(case: Case, pod: PodView | None, facts: Facts, claim: Report | None) -> Verdict:
    receipt = case.status.cancellation
    forced = receipt is not None and receipt.outcome is CancelOutcome.FORCED
    told_to_end = _told_to_end(case, pod, forced=forced)
    out_of_memory = facts.reason == Reason.OOM_KILLED
    if facts.succeeded:
        claims_success = claim is not None and claim.status is ReportStatus.SUCCESS
        if not _stopped(claim) and (claims_success or not told_to_end):
            return _too_late(_without_cancel(facts, claim))
        outcome = CancelOutcome.FORCED if forced else CancelOutcome.GRACEFUL
    elif not case.ever_started:
        outcome = CancelOutcome.BEFORE_START
    elif not case.started:
        outcome = CancelOutcome.GRACEFUL
    elif forced or (told_to_end and facts.code == KILLED and not out_of_memory):
        outcome = CancelOutcome.FORCED
    elif (told_to_end and not out_of_memory) or (pod is None and _stopped(claim)):
        outcome = CancelOutcome.GRACEFUL  # where no pod is left, its claim is all that explains
    else:
        outcome = CancelOutcome.CRASHED
    return Verdict(
        phase=Phase.CANCELLED,
        reason=Reason.CANCELLED,
        message=_cancel_message(case, outcome, facts, claim),
        exit_code=facts.code,
        signal=facts.signal,
        report=claim,
        outcome=outcome,
        started_at=facts.started_at,
    )


def _cancel_message(case: Case, outcome: CancelOutcome, facts: Facts, claim: Report | None) -> str:
    done = done_by(claim)
    if outcome is CancelOutcome.BEFORE_START:
        return "Cancelled before the trainer started."
    if not case.started:
        return f"Cancelled before attempt {case.attempt} ran; no trainer ran."
    if outcome is CancelOutcome.FORCED:
        return f"Cancelled: the trainer did not stop within its grace period and was killed{done}."
    if outcome is CancelOutcome.CRASHED:
        return f"Cancelled, but the trainer did not stop cleanly: {facts.message}"
    return f"Cancelled: the trainer stopped when asked{done}."


def _suspend_by_itself(case: Case, claim: Report | None) -> Stop | None:
    """The trainer saw the suspend, and was gone before this controller had written it down."""
    if claim is None or claim.stop_reason != _SUSPENDED or not _stopped(claim):
        return None
    return Stop(
        cause=StopCause.SUSPEND, attempt=case.attempt, requested_at=case.now, deadline=case.now
    )


def _with_stop(
    case: Case, stop: Stop, pod: PodView | None, facts: Facts, claim: Report | None
) -> Verdict:
    """The end of an attempt that was stopped for a suspend, a deadline or a stall."""
    told_to_end = _told_to_end(case, pod, forced=bool(stop.forced))
    plain = _without_cancel(facts, claim)
    if facts.succeeded:
        claims_success = claim is not None and claim.status is ReportStatus.SUCCESS
        if not _stopped(claim) and (claims_success or not told_to_end):
            return plain
    elif not told_to_end or facts.reason == Reason.OOM_KILLED:
        return plain
    if stop.cause is StopCause.SUSPEND:
        how = "was killed past its grace period" if stop.forced else "stopped when asked"
        message = f"Suspended: the trainer {how}{done_by(claim)}."
        return replace(plain, phase=Phase.SUSPENDED, reason=Reason.SUSPENDED, message=message)
    return replace(
        plain,
        phase=Phase.FAILED,
        reason=stop.cause.value,
        message=f"{_why_stopped(case, stop)}, and was stopped{done_by(claim)}.",
    )


def _why_stopped(case: Case, stop: Stop) -> str:
    if stop.cause is StopCause.DEADLINE:
        most = case.spec.active_deadline_seconds
        return f"The run took more than its activeDeadlineSeconds of {most}"
    most = case.spec.progress_deadline_seconds
    return f"The trainer made no step within its progressDeadlineSeconds of {most}"


def checkpoint_of(case: Case, claim: Report | None) -> str | None:
    """The newest checkpoint that outlives its pod: a path in the workspace."""
    if not case.keeps_its_workspace:
        return None
    told = [said.checkpoint for said in (claim, case.report) if said and said.checkpoint]
    # The pod's last words may be newer than the report, and another worker's older.
    newest = max(told, key=lambda c: c.time or _LONG_AGO, default=None)
    return newest.path if newest else earlier_checkpoint(case)


def earlier_checkpoint(case: Case) -> str | None:
    """The newest checkpoint when the attempts before ended."""
    told = [a.checkpoint for a in case.status.attempts or () if a.checkpoint]
    return told[-1] if told else None


def _too_late(end: Verdict) -> Verdict:
    return replace(end, outcome=CancelOutcome.TOO_LATE)


def _without_cancel(facts: Facts, claim: Report | None) -> Verdict:
    return Verdict(
        phase=Phase.SUCCEEDED if facts.succeeded else Phase.FAILED,
        reason=facts.reason,
        message=facts.message,
        exit_code=facts.code,
        signal=facts.signal,
        report=claim,
        started_at=facts.started_at,
    )

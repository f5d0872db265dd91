"""How a run ended: what happened decides, claims only explain.

Exit codes, signals and pod conditions give the verdict; the trainer's report explains it. A claim
of success with exit code 1 has failed.
"""

from __future__ import annotations

import json
import signal as signals
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from headway_api import limits
from headway_api.models.status import Report, Stop
from headway_api.vocabulary import CancelOutcome, Phase, Reason, ReportStatus, StopCause
from pydantic import ValidationError

from headway_operator.policies.case import Case, clip
from headway_operator.snapshot import ContainerState, ContainerView, PodView

KILLED = 137
"""128 + SIGKILL: what a container exits with that did not end within its grace period."""

TERMINATED = 143
"""128 + SIGTERM: what a program exits with that lets the signal end it, and what the SDK exits with
after a SIGTERM that no cancel sent."""

_LOST_TRACK = {"Unknown", "ContainerStatusUnknown"}
"""What a node says (with exit code 255 or 137) of a container whose end it did not see: it was
rebooted, or its runtime lost the container. A program that exits with 255 itself says ``Error``."""

_NEVER_RAN = {"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"}
_SIGNAL_BASE = 128
_LATE = datetime.max.replace(tzinfo=UTC)
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


@dataclass(frozen=True, slots=True)
class _Facts:
    """What happened, of all that can be known."""

    reason: str
    message: str
    code: int | None
    signal: str | None
    succeeded: bool
    started_at: datetime | None


def verdict(case: Case) -> Verdict:
    """How the current attempt ended.

    Asked only when every pod of the attempt is over or gone.
    """
    pod = decisive_pod(case.pods)
    if pod and pod.phase == "Succeeded" and len(case.pods) < case.spec.workers:
        pod = None  # it did its part; of the others the Job has to tell
    claim = _claim(case, pod)
    facts = _from_pod(pod, claim) if pod else _from_job(case, claim)
    if _cancelling(case, claim):
        return _with_cancel(case, pod, facts, claim)
    stop = case.stop or _suspend_by_itself(case, claim)
    if stop is not None:
        return _with_stop(case, stop, pod, facts, claim)
    return _without_cancel(facts, claim)


def decisive_pod(pods: tuple[PodView, ...]) -> PodView | None:
    """The pod whose end is the attempt's end.

    Of several workers it is the one that failed first, by itself: what ends after it was taken
    down with it.
    """
    over = sorted(
        (p for p in pods if p.over),
        key=lambda p: (
            p.phase != "Failed",
            not p.disruption_reason,
            p.deleting,
            p.trainer.finished_at or _LATE,
            p.name,
        ),
    )
    return over[0] if over else None


def claim_in(message: str) -> Report | None:
    """The report in a termination message; None where there is none.

    The format is ``{"headway": 1, "report": {...}}``. Anything else is the end of a log, which
    Kubernetes puts there when a container fails without a message.
    """
    try:
        said: Any = json.loads(message)
        if not isinstance(said, dict) or "headway" not in said:
            return None
        return Report.model_validate(said.get("report"))
    except (ValueError, ValidationError):
        return None


def _claim(case: Case, pod: PodView | None) -> Report | None:
    own = claim_in(pod.trainer.message) if pod else None
    if pod and pod.index and pod.phase == "Failed":
        return own  # what the first worker said is about itself
    return case.report or own


def _cancelling(case: Case, claim: Report | None) -> bool:
    """Whether the cancel was in time to have a say in how the run ended."""
    if not case.cancel_requested:
        return False
    in_time = case.phase is Phase.CANCELLING
    return in_time or bool(claim and (claim.cancel_acknowledged_at or _stopped(claim)))


def _stopped(claim: Report | None) -> bool:
    return claim is not None and claim.status in (ReportStatus.CANCELLED, ReportStatus.INTERRUPTED)


def _with_cancel(case: Case, pod: PodView | None, facts: _Facts, claim: Report | None) -> Verdict:
    receipt = case.status.cancellation
    forced = receipt is not None and receipt.outcome is CancelOutcome.FORCED
    # Whether our SIGTERM reached it. Where no pod is left to tell: one that never reported got it
    # at once, one that did report gets it past the grace period only.
    told_to_end = pod.deleting if pod else forced or not case.reported
    out_of_memory = facts.reason == Reason.OOM_KILLED
    if facts.succeeded:
        claims_success = claim is not None and claim.status is ReportStatus.SUCCESS
        if not _stopped(claim) and (claims_success or not told_to_end):
            return _too_late(_without_cancel(facts, claim))
        outcome = CancelOutcome.FORCED if forced else CancelOutcome.GRACEFUL
    elif not case.started:
        outcome = CancelOutcome.BEFORE_START
    elif forced or (told_to_end and facts.code == KILLED and not out_of_memory):
        outcome = CancelOutcome.FORCED
    elif told_to_end and not out_of_memory:
        outcome = CancelOutcome.GRACEFUL
    else:
        outcome = CancelOutcome.CRASHED
    return Verdict(
        phase=Phase.CANCELLED,
        reason=Reason.CANCELLED,
        message=_cancel_message(outcome, facts, claim),
        exit_code=facts.code,
        signal=facts.signal,
        report=claim,
        outcome=outcome,
        started_at=facts.started_at,
    )


def _cancel_message(outcome: CancelOutcome, facts: _Facts, claim: Report | None) -> str:
    done = _done(claim)
    if outcome is CancelOutcome.BEFORE_START:
        return "Cancelled before the trainer started."
    if outcome is CancelOutcome.FORCED:
        return f"Cancelled: the trainer did not stop within its grace period and was killed{done}."
    if outcome is CancelOutcome.CRASHED:
        return f"Cancelled, but the trainer did not stop cleanly: {facts.message}"
    return f"Cancelled: the trainer stopped when asked{done}."


def _done(claim: Report | None) -> str:
    """What was finished, as the trainer says: ``, after 3 epochs and 20 batches``."""
    if claim is None:
        return ""
    parts = [
        f"{count} {unit}{'' if count == 1 else more}"
        for count, unit, more in (
            (claim.epochs_completed, "epoch", "s"),
            (claim.batches_completed, "batch", "es"),
            (claim.iterations_completed, "iteration", "s"),
        )
        if count is not None
    ]
    return f", after {' and '.join(parts)}" if parts else ""


def _suspend_by_itself(case: Case, claim: Report | None) -> Stop | None:
    """The trainer saw the suspend, and was gone before this controller had written it down."""
    if claim is None or claim.stop_reason != _SUSPENDED or not _stopped(claim):
        return None
    return Stop(
        cause=StopCause.SUSPEND, attempt=case.attempt, requested_at=case.now, deadline=case.now
    )


def _with_stop(
    case: Case, stop: Stop, pod: PodView | None, facts: _Facts, claim: Report | None
) -> Verdict:
    """The end of an attempt that was stopped for a suspend, a deadline or a stall."""
    told_to_end = pod.deleting if pod else bool(stop.forced) or not case.reported
    plain = _without_cancel(facts, claim)
    if facts.succeeded:
        claims_success = claim is not None and claim.status is ReportStatus.SUCCESS
        if not _stopped(claim) and (claims_success or not told_to_end):
            return plain
    elif not told_to_end or facts.reason == Reason.OOM_KILLED:
        return plain
    if stop.cause is StopCause.SUSPEND:
        how = "was killed past its grace period" if stop.forced else "stopped when asked"
        message = f"Suspended: the trainer {how}{_done(claim)}."
        return replace(plain, phase=Phase.SUSPENDED, reason=Reason.SUSPENDED, message=message)
    return replace(
        plain,
        phase=Phase.FAILED,
        reason=stop.cause.value,
        message=f"{_why_stopped(case, stop)}, and was stopped{_done(claim)}.",
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
    for said in (case.report, claim):  # of several workers only the first writes them
        if said is not None and said.checkpoint is not None:
            return said.checkpoint.path
    return earlier_checkpoint(case)


def earlier_checkpoint(case: Case) -> str | None:
    """The newest checkpoint when the attempts before ended."""
    told = [a.checkpoint for a in case.status.attempts or () if a.checkpoint]
    return told[-1] if told else None


def _too_late(end: Verdict) -> Verdict:
    return replace(end, outcome=CancelOutcome.TOO_LATE)


def _without_cancel(facts: _Facts, claim: Report | None) -> Verdict:
    return Verdict(
        phase=Phase.SUCCEEDED if facts.succeeded else Phase.FAILED,
        reason=facts.reason,
        message=facts.message,
        exit_code=facts.code,
        signal=facts.signal,
        report=claim,
        started_at=facts.started_at,
    )


def _from_pod(pod: PodView, claim: Report | None) -> _Facts:
    trainer = pod.trainer
    started = trainer.started_at

    def facts(reason: str, message: str, code: int | None = None, sig: str | None = None) -> _Facts:
        return _Facts(reason, message, code, sig, succeeded=False, started_at=started)

    if pod.phase == "Succeeded":
        message = f"Completed{_done(claim)}."
        return _Facts(Reason.COMPLETED, message, trainer.exit_code, None, True, started)
    broken = failed_init(pod)
    ended = broken or trainer
    code = ended.exit_code if ended.state is ContainerState.TERMINATED else None
    if ended.reason == "OOMKilled":
        return facts(Reason.OOM_KILLED, _oom_message(ended), code, "SIGKILL")
    if pod.reason == "Evicted":
        return facts(
            Reason.EVICTED, f"Pod {pod.name} was evicted from node {pod.node}: {pod.message}", code
        )
    if pod.disruption_reason:
        why = pod.disruption_message or pod.disruption_reason
        return facts(
            Reason.DISRUPTED,
            f"Pod {pod.name} was taken away by the cluster ({pod.disruption_reason}): {why}",
            code,
        )
    if pod.reason == "DeadlineExceeded":
        return facts(Reason.ERROR, f"Pod {pod.name} ran into its deadline: {pod.message}", code)
    if _lost_track_of(ended) and not pod.deleting:
        return facts(
            Reason.DISRUPTED,
            f"Node {pod.node} was rebooted, or lost track of container {ended.name} of pod "
            f"{pod.name}: how it ended is not known{_done(claim)}.",
            code,
        )
    if broken:
        return facts(
            Reason.ERROR,
            f"Init container {ended.name} exited with code {code}{_last_words(ended)}.",
            code,
        )
    if ended.state is not ContainerState.TERMINATED:
        return _never_ran(pod, ended, started)
    if ended.reason in _NEVER_RAN:
        return facts(
            Reason.CANNOT_START,
            f"The trainer container could not be started: {ended.message}",
            code,
        )
    if ended.reason == Reason.IMAGE_NOT_AVAILABLE:
        return facts(Reason.IMAGE_NOT_AVAILABLE, ended.message or pod.message, code)
    if _interrupted(claim) or (pod.deleting and code != 0) or code == TERMINATED:
        return facts(Reason.DISRUPTED, _interruption_message(pod, claim), code, _signal(code))
    if code == 0:
        # The trainer is content, but another container of its pod failed.
        return facts(Reason.ERROR, _other_container_message(pod), code)
    return _crash(pod, claim, started)


def _never_ran(pod: PodView, ended: ContainerView, started: datetime | None) -> _Facts:
    """A pod that failed without its trainer having run: the node would not have it."""
    known = {r.value: r for r in Reason}
    named = next((r for r in (pod.reason, ended.reason) if r in known), None)
    said = pod.message or ended.message or pod.reason or "its node gave no reason"
    if pod.deleting and not pod.reason:
        return _Facts(
            Reason.DISRUPTED,
            f"Pod {pod.name} was deleted before the trainer started.",
            None,
            None,
            succeeded=False,
            started_at=started,
        )
    return _Facts(
        known[named] if named else Reason.CANNOT_START,
        f"Pod {pod.name} could not start: {said}",
        None,
        None,
        succeeded=False,
        started_at=started,
    )


def _crash(pod: PodView, claim: Report | None, started: datetime | None) -> _Facts:
    trainer, who = pod.trainer, _who(pod)
    code = trainer.exit_code
    name = _signal(code)
    if name:
        message = f"{who} was ended by {name} (exit code {code}){_last_words(trainer)}."
        return _Facts(Reason.SIGNALLED, message, code, name, False, started)
    if claim and claim.error:
        said = (
            f"{claim.error.type}: {claim.error.message}"
            if claim.error.message
            else (claim.error.type)
        )
        message = f"{who} failed with exit code {code}: {said}"
    else:
        message = f"{who} failed with exit code {code}{_last_words(trainer)}."
    return _Facts(Reason.ERROR, message, code, None, False, started)


def _from_job(case: Case, claim: Report | None) -> _Facts:
    """No pod is left to tell; the Job's own reason and the last report are all there is."""
    job = case.job
    failed = job.failed_reason if job else ""

    def facts(reason: str, message: str, succeeded: bool = False) -> _Facts:
        return _Facts(reason, message, 0 if succeeded else None, None, succeeded, None)

    if job and job.complete:
        return facts(Reason.COMPLETED, f"Completed{_done(claim)}.", succeeded=True)
    if failed == "PodFailurePolicy":
        return facts(
            Reason.DISRUPTED,
            "The trainer's pod was taken away by the cluster (an eviction, a preemption or a lost "
            f"node), and is gone: {job.failed_message if job else ''}",
        )
    if _interrupted(claim):
        return facts(
            Reason.DISRUPTED,
            "The trainer was told to stop by something other than a cancel, and its pod is gone"
            f"{_done(claim)}.",
        )
    if claim and claim.error:
        return facts(
            Reason.ERROR,
            f"The trainer failed: {claim.error.type}: {claim.error.message}",
        )
    if job and job.failed:
        return facts(
            Reason.POD_LOST,
            f"Job {job.name} failed ({failed}) and its pod is gone, so its exit code is not known: "
            f"{job.failed_message}",
        )
    return facts(
        Reason.POD_LOST,
        f"Job {case.job_name} and its pod were deleted while the run was not over.",
    )


def _who(pod: PodView) -> str:
    return "The trainer" if pod.index is None else f"Worker {pod.index}, pod {pod.name},"


def failed_init(pod: PodView) -> ContainerView | None:
    """The init container that kept the trainer from starting."""
    return next((c for c in pod.init_containers if c.failed and not c.sidecar), None)


def _lost_track_of(container: ContainerView) -> bool:
    return container.state is ContainerState.TERMINATED and container.reason in _LOST_TRACK


def _interrupted(claim: Report | None) -> bool:
    return claim is not None and claim.status is ReportStatus.INTERRUPTED


def _interruption_message(pod: PodView, claim: Report | None) -> str:
    if pod.deleting and not pod.started:
        return f"Pod {pod.name} was deleted before the trainer started."
    if pod.deleting:
        return f"Pod {pod.name} was deleted while the trainer ran{_done(claim)}."
    return f"The trainer was told to stop (SIGTERM) by something other than a cancel{_done(claim)}."


def _oom_message(container: ContainerView) -> str:
    limit = f" of {container.memory_limit}" if container.memory_limit else ""
    return (
        f"Container {container.name} used more memory than its limit{limit} and was killed; raise "
        "spec.resources.limits.memory, or make the batches smaller."
    )


def _other_container_message(pod: PodView) -> str:
    failed = [c for c in pod.containers if c.exit_code and c.name != pod.trainer.name]
    told = ", ".join(f"{c.name} exited with code {c.exit_code}" for c in failed)
    return f"The trainer ended well, but its pod failed: {told or pod.message or pod.reason}."


def _last_words(container: ContainerView) -> str:
    """The last line of a container's termination message, where that is the end of its log."""
    if claim_in(container.message):
        return ""
    lines = [line.strip() for line in container.message.splitlines() if line.strip()]
    return f": {clip(lines[-1], limits.MESSAGE_LENGTH // 2)}" if lines else ""


def _signal(code: int | None) -> str | None:
    """The signal's name behind an exit code above 128, as shells and runtimes count."""
    if code is None or code <= _SIGNAL_BASE:
        return None
    try:
        return signals.Signals(code - _SIGNAL_BASE).name
    except ValueError:
        return None

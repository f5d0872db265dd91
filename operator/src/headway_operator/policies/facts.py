"""What happened to an attempt, in one word, a sentence and an exit code.

Pods tell it by their containers' ends and conditions. Where no pod is left, the Job's own reason
and the trainer's report are all there is.
"""

from __future__ import annotations

import json
import math
import signal as signals
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headway_api import limits
from headway_api.models.status import Report
from headway_api.vocabulary import Reason, ReportStatus

from headway_operator.policies.case import Case, clip
from headway_operator.snapshot import ContainerState, ContainerView, PodView

TERMINATED = 143
"""128 + SIGTERM: what a program exits with that lets the signal end it, and what the SDK exits with
after a SIGTERM that no cancel sent."""

_LOST_TRACK = {"Unknown", "ContainerStatusUnknown"}
"""What a node says (with exit code 255 or 137) of a container whose end it did not see: it was
rebooted, or its runtime lost the container. A program that exits with 255 itself says ``Error``."""

_TAKEN_AWAY = {Reason.DISRUPTED, Reason.NODE_UNREACHABLE}
"""Reasons of a run whose attempt goes on, and yet its pod will not be seen to end."""

_SHUTS_DOWN = "NodeShutdown"
"""Reason of a pod that its node turned away because it was shutting down. The scheduler hears of
that a moment later, and the attempt after one that such a node has ended begins at once."""

_NEVER_RAN = {"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"}
_SIGNAL_BASE = 128
_INTEGERS = 2**63
_LATE = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Facts:
    """What happened, of all that can be known."""

    reason: str
    message: str
    code: int | None
    signal: str | None
    succeeded: bool
    started_at: datetime | None


def decisive_pod(pods: tuple[PodView, ...]) -> PodView | None:
    """The pod whose end is the attempt's end.

    Of several workers it is the one that failed first, by itself: what ends after it was taken
    down with it. The others may notice within the same second, and nodes tell whole ones: what the
    cluster or the kernel did to a pod goes before what a program made of it.
    """
    return min(
        (p for p in pods if p.over),
        key=lambda p: (
            p.phase != "Failed",
            not (p.disruption_reason or _lost_track_of(p.trainer)),
            p.deleting,
            p.trainer.reason != "OOMKilled",
            p.trainer.finished_at or _LATE,
            _signal(p.trainer.exit_code) is None,
            p.name,
        ),
        default=None,
    )


def claim_in(message: str) -> Report | None:
    """The report in a termination message; None where there is none.

    The format is ``{"headway": 1, "report": {...}}``. Anything else is the end of a log, which
    Kubernetes puts there when a container fails without a message. A report that the API server
    would refuse is none, either: written into the result, it would keep the run from ever ending.
    """
    try:
        said: Any = json.loads(
            message, parse_constant=_nothing, parse_float=_finite, parse_int=_storable
        )
        if not isinstance(said, dict) or "headway" not in said:
            return None
        claim = Report.model_validate(said.get("report"))
        claim.to_wire()  # not everything that can be read can be written: it may be nested too deep
    except (ValueError, RecursionError):
        return None
    return claim


def _nothing(_constant: str) -> None:
    """NaN and infinities: JSON has none."""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _storable(text: str) -> float | None:
    """As the API server reads it: what no 64-bit integer can hold is a floating point number."""
    number = int(text)
    return number if -_INTEGERS <= number < _INTEGERS else _finite(text)


def done_by(claim: Report | None) -> str:
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


def from_pod(pod: PodView, claim: Report | None, *, ran: bool = False) -> Facts:
    """What a pod that is over tells.

    Args:
        pod: the pod.
        claim: what its trainer said.
        ran: whether its trainer is known to have run, whatever the pod says by now.
    """
    trainer = pod.trainer
    started = trainer.started_at

    def facts(reason: str, message: str, code: int | None = None, sig: str | None = None) -> Facts:
        return Facts(reason, message, code, sig, succeeded=False, started_at=started)

    if pod.phase == "Succeeded":
        message = f"Completed{done_by(claim)}."
        return Facts(Reason.COMPLETED, message, trainer.exit_code, None, True, started)
    broken = failed_init(pod)
    ended = broken or trainer
    code = ended.exit_code if ended.state is ContainerState.TERMINATED else None
    out_of_memory = ended.reason == "OOMKilled"
    if pod.reason == "Evicted":
        return facts(
            Reason.EVICTED, f"Pod {pod.name} was evicted from node {pod.node}: {pod.message}", code
        )
    if pod.disruption_reason:
        why = pod.disruption_message or pod.disruption_reason
        told = f"Pod {pod.name} was taken away by the cluster ({pod.disruption_reason}): {why}"
        if out_of_memory:
            told += f" {_oom_message(ended)}"
        return facts(Reason.DISRUPTED, told, code)
    if out_of_memory:
        return facts(Reason.OOM_KILLED, _oom_message(ended), code, "SIGKILL")
    if pod.reason == "DeadlineExceeded":
        return facts(Reason.ERROR, f"Pod {pod.name} ran into its deadline: {pod.message}", code)
    if _lost_track_of(ended) and not pod.deleting:
        return facts(
            Reason.DISRUPTED,
            f"Node {pod.node} was rebooted, or lost track of container {ended.name} of pod "
            f"{pod.name}: how it ended is not known{done_by(claim)}.",
            code,
        )
    if broken:
        return facts(
            Reason.ERROR,
            f"Init container {ended.name} exited with code {code}{_last_words(ended)}.",
            code,
        )
    if ended.state is not ContainerState.TERMINATED and ran:
        # A node that was rebooted takes its pods up anew, and may not have what they need by then.
        said = pod.message or ended.message or pod.reason or "it gave no reason"
        return facts(
            Reason.DISRUPTED,
            f"Node {pod.node} would not go on with pod {pod.name} ({said}): how its trainer ended "
            f"is not known{done_by(claim)}.",
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


def _never_ran(pod: PodView, ended: ContainerView, started: datetime | None) -> Facts:
    """A pod that failed without its trainer having run: the node would not have it."""
    known = {r.value: r for r in Reason}
    named = next((r for r in (pod.reason, ended.reason) if r in known), None)
    said = pod.message or ended.message or pod.reason or "its node gave no reason"
    disruption = ""
    if pod.deleting and not pod.reason:
        disruption = f"Pod {pod.name} was deleted before the trainer started."
    if pod.reason == _SHUTS_DOWN:
        disruption = f"Node {pod.node} was shutting down, and turned pod {pod.name} away: {said}"
    if disruption:
        return Facts(
            Reason.DISRUPTED,
            disruption,
            None,
            None,
            succeeded=False,
            started_at=started,
        )
    return Facts(
        known[named] if named else Reason.CANNOT_START,
        f"Pod {pod.name} could not start: {said}",
        None,
        None,
        succeeded=False,
        started_at=started,
    )


def _crash(pod: PodView, claim: Report | None, started: datetime | None) -> Facts:
    trainer, who = pod.trainer, _who(pod)
    code = trainer.exit_code
    name = _signal(code)
    if name:
        message = f"{who} was ended by {name} (exit code {code}){_last_words(trainer)}."
        return Facts(Reason.SIGNALLED, message, code, name, False, started)
    if claim and claim.error:
        said = (
            f"{claim.error.type}: {claim.error.message}"
            if claim.error.message
            else (claim.error.type)
        )
        message = f"{who} failed with exit code {code}: {said}"
    else:
        message = f"{who} failed with exit code {code}{_last_words(trainer)}."
    return Facts(Reason.ERROR, message, code, None, False, started)


def from_job(case: Case, claim: Report | None) -> Facts:
    """No pod is left to tell; the Job's own reason and the last report are all there is."""
    job = case.job
    failed = job.failed_reason if job else ""

    def facts(reason: str, message: str, succeeded: bool = False) -> Facts:
        return Facts(reason, message, 0 if succeeded else None, None, succeeded, None)

    if job and job.complete:
        return facts(Reason.COMPLETED, f"Completed{done_by(claim)}.", succeeded=True)
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
            f"{done_by(claim)}.",
        )
    if claim and claim.error:
        return facts(
            Reason.ERROR,
            f"The trainer failed: {claim.error.type}: {claim.error.message}",
        )
    if case.status.reason in _TAKEN_AWAY:
        return facts(
            Reason.DISRUPTED,
            "The trainer's pod was being taken away when it was seen last, and is gone: "
            f"{case.status.message}",
        )
    if job and job.failing:
        why = f"{failed}: {job.failed_message}" if failed else "it does not say why"
        return facts(
            Reason.POD_LOST,
            f"Job {job.name} failed and its pod is gone, so its exit code is not known ({why}).",
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
        return f"Pod {pod.name} was deleted while the trainer ran{done_by(claim)}."
    return (
        f"The trainer was told to stop (SIGTERM) by something other than a cancel{done_by(claim)}."
    )


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

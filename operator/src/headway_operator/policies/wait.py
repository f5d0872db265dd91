"""Between the Job and its end: say what a run is waiting for, and fail what can never start.

What cannot heal by itself and is the user's to mend fails within about half a minute. What may heal
(a full cluster, a slow volume) is told, and waited for. A registry that does not answer may heal,
too, but is waited for only so long: a typing error in its name looks just like an outage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headway_api import names
from headway_api.vocabulary import Phase, Reason

from headway_operator.policies.case import Case, MakeJob, Plan, ask, say
from headway_operator.policies.finish import failed
from headway_operator.snapshot import ContainerState, ContainerView, EventView, PodView, Question

PATIENCE_WITH_AN_IMAGE = 20.0
PATIENCE_WITH_A_REGISTRY = 600.0
"""Seconds that a registry may be away, or say no for a reason that may pass."""
PATIENCE_WITH_A_MISSING_OBJECT = 20.0
PATIENCE_WITH_A_CONTAINER = 30.0
PATIENCE_WITH_A_POD_THAT_IS_NOT_ALLOWED = 20.0
"""What runs cannot be changed, so only a namespace whose level is being changed could heal it."""
PATIENCE_WITH_AN_IMAGES_USER = 1.0
TELL_AFTER = 1.0
"""Seconds that a step on the way to a trainer may take before it is told. Most take far less, and
each write would hold the next one up."""
ASK_FOR_EVENTS_AFTER = 4.0
"""Seconds that a pod may take without a word before its Events are read."""
ASK_AGAIN = 5.0
ASK_RARELY = 30.0
SLOW_RESYNC = 300.0
"""Seconds after which a run is looked at although nothing happened."""

_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|does not exist|denied|unauthori[sz]ed|no basic auth|"
    r"insufficient_scope|name unknown|invalid reference",
    re.IGNORECASE,
)
_NO_ACCOUNT = f'serviceaccount "{names.TRAINER_SERVICE_ACCOUNT}" not found'
_RUN_AS_NON_ROOT = "runAsNonRoot"
"""In the kubelet's words about an image whose user is root, or has a name only."""
_POD_SECURITY = "violates PodSecurity"
_MISSING_OBJECT = re.compile(r'(configmap|secret) "?[^" ]*"? not found', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a pod is waiting for."""

    reason: str
    message: str
    patience: float | None = None
    """Seconds until it is hopeless; None where it may heal by itself."""


def follow_the_trainer(case: Case) -> Plan | None:
    """The trainer runs: say so once, then keep quiet."""
    own = [p for p in case.pods if not p.over]
    pod = next((p for p in own if p.started), None)
    if pod is None or _missing_workers(case):
        return None
    lost = unreachable(case)
    if lost is not None and lost.deleting:
        return _given_up(case, lost, Phase.RETRYING)
    suspicious = any((p.ready is False and p.trainer.ready) or p.deleting for p in own)
    if suspicious and case.snapshot.answers.unreachable_nodes is None:
        return ask(Question.NODE)
    if lost is not None:
        return Plan(
            status=say(
                case,
                Phase.RUNNING,
                Reason.NODE_UNREACHABLE,
                f"Node {lost.node} of pod {lost.name} cannot be reached; the trainer may well be "
                "running. The run goes on when the node is back, and ends when the pod is gone.",
                **running_since(case, pod),
            ).status,
            again_at=case.in_seconds(ASK_AGAIN * 2),
        )
    leaving = next((p for p in own if p.deleting and _runs(p)), None)
    if any(p.phase == "Failed" for p in case.pods):
        leaving = None  # its Job takes the other workers down
    status = say(
        case,
        Phase.RUNNING,
        Reason.DISRUPTED if leaving else Reason.STARTED,
        _why_it_leaves(leaving) if leaving else _what_runs(case, pod),
        **running_since(case, pod),
    ).status
    again = ASK_AGAIN * 2 if suspicious else SLOW_RESYNC
    return Plan(status=status, again_at=case.in_seconds(again))


def _missing_workers(case: Case) -> bool:
    """Whether some of several workers have not started yet: only together do they begin."""
    return case.phase is not Phase.RUNNING and _begun(case) < case.spec.workers


def _begun(case: Case) -> int:
    return sum(p.started for p in case.pods)


def _given_up(case: Case, pod: PodView, phase: Phase) -> Plan:
    """The cluster has given a pod up whose node cannot be seen: it may run until that is back."""
    plan = say(
        case,
        phase,
        Reason.NODE_UNREACHABLE,
        f"Node {pod.node} of pod {pod.name} cannot be reached, and the cluster has given the pod "
        "up. The next attempt begins when it is known to be gone. If the machine is off for good, "
        "delete its Node.",
        **_running_since(case),
    )
    return Plan(status=plan.status, again_at=case.in_seconds(ASK_AGAIN * 2))


def _why_it_leaves(pod: PodView) -> str:
    why = f" ({pod.disruption_reason})" if pod.disruption_reason else ""
    return f"Pod {pod.name} is being taken away{why}; the run goes on in another one."


def _what_runs(case: Case, pod: PodView) -> str:
    wanted = case.spec.workers
    if wanted > 1:
        running = [p for p in case.pods if p.trainer.state is ContainerState.RUNNING]
        nodes = ", ".join(sorted({p.node for p in running}))
        return f"{len(running)} of {wanted} workers run, on {nodes or 'no node'}."
    if pod.trainer.state is not ContainerState.TERMINATED:
        return f"Pod {pod.name} runs on node {pod.node}."
    others = [c.name for c in pod.containers if c.state is ContainerState.RUNNING]
    told = f", but {' and '.join(others)} still runs" if others else ""
    return f"The trainer of pod {pod.name} has ended{told}; the run ends with its pod."


def running_since(case: Case, pod: PodView) -> dict[str, object]:
    """The fields of the status that say since when the trainer has run."""
    started = pod.trainer.started_at or case.now
    attempts = [
        a.model_copy(update={"started": a.started or started}) if a.number == case.attempt else a
        for a in case.status.attempts or ()
    ]
    return {"start_time": case.status.start_time or started, "attempts": attempts}


def _running_since(case: Case) -> dict[str, object]:
    """The same where it is not known whether it runs: what ran must not be called never started."""
    pod = next((p for p in case.pods if p.started), None)
    return running_since(case, pod) if pod else {}


def unreachable(case: Case) -> PodView | None:
    """A living pod whose node cannot be seen; one that the cluster has given up comes first."""
    nodes = case.snapshot.answers.unreachable_nodes or frozenset()
    lost = [p for p in case.living if p.node in nodes]
    return min(lost, key=lambda p: not p.deleting, default=None)


def explain_the_waiting(case: Case) -> Plan | None:
    """There is a Job, and its trainer does not run yet."""
    if case.job is None and not case.living:
        return None
    ran = case.started and case.phase not in (Phase.QUEUED, Phase.STARTING)
    if not case.living and (ran or (case.job and case.job.failing)):
        # Its pods are gone, and its Job has not said yet how it ended.
        return Plan(again_at=case.in_seconds(ASK_AGAIN))
    pod = next((p for p in case.living if not p.started), None)
    if pod and pod.deleting and pod.scheduled:
        if case.snapshot.answers.unreachable_nodes is None:
            return ask(Question.NODE)
        lost = unreachable(case)
        if lost is not None:
            return _given_up(case, lost, Phase.STARTING)
    subject = pod.uid if pod else (case.job.uid if case.job else "")
    quiet = f"{subject}:quiet"
    waiting = _of_pod(pod) if pod else Waiting(Reason.CREATED, f"Job {case.job_name} is made.")
    if waiting.reason in (Reason.CREATED, Reason.PULLING):
        # Nothing is wrong as far as the pod tells. If that lasts, its Events may know more.
        if case.age(quiet).total_seconds() < TELL_AFTER and _only_starts(case):
            return Plan(notices=frozenset({quiet}), again_at=case.moment(quiet, TELL_AFTER))
        if case.age(quiet).total_seconds() < ASK_FOR_EVENTS_AFTER:
            return _tell(case, waiting, quiet, ASK_FOR_EVENTS_AFTER, quiet)
        if case.snapshot.answers.events is None:
            return ask(Question.EVENTS)
        if not pod and any(_NO_ACCOUNT in e.message for e in case.snapshot.answers.events[:1]):
            return Plan(
                actions=(MakeJob(case.attempt, account_missing=True),),
                again_at=case.in_seconds(ASK_AGAIN),
            )
        waiting = _from_events(case.snapshot.answers.events) or waiting
    notice = f"{subject}:{waiting.reason}"
    if waiting.patience is not None and case.age(notice).total_seconds() >= waiting.patience:
        if not case.live:
            return ask(Question.LIVE)  # it may have been mended, and that be news on its way
        return failed(case, waiting.reason, waiting.message)
    return _tell(case, waiting, notice, waiting.patience, quiet)


def _only_starts(case: Case) -> bool:
    """Whether all that there is to tell is told: that it starts."""
    told = case.status.observed_generation == case.operation.metadata.generation
    return told and case.phase is Phase.STARTING and not any(p.started for p in case.pods)


def _runs(pod: PodView) -> bool:
    return pod.trainer.state is ContainerState.RUNNING


def _tell(case: Case, waiting: Waiting, notice: str, after: float | None, quiet: str) -> Plan:
    status = say(
        case, Phase.STARTING, waiting.reason, waiting.message, **_running_since(case)
    ).status
    # Events cost the API server a lot: the longer it takes, the less often they are read.
    pause = min(max(ASK_AGAIN, case.age(quiet).total_seconds() / 4), ASK_RARELY)
    again = case.in_seconds(pause)
    if after is not None:
        again = min(case.moment(notice, after), again)
    elif waiting.reason == Reason.UNSCHEDULABLE:
        again = case.in_seconds(SLOW_RESYNC)  # the scheduler says when that changes
    return Plan(
        status=status,
        notices=frozenset({notice, quiet}),
        again_at=max(again, case.in_seconds(0.1)),
    )


def _of_pod(pod: PodView) -> Waiting:
    if pod.unschedulable and not pod.scheduled:
        return Waiting(
            Reason.UNSCHEDULABLE, f"No node can take pod {pod.name} yet: {pod.unschedulable}"
        )
    if not pod.scheduled:
        return Waiting(Reason.CREATED, f"Pod {pod.name} waits for the scheduler.")
    for container in (*pod.init_containers, *pod.containers):
        if container.state is ContainerState.WAITING:
            waiting = _of_container(pod, container)
            if waiting:
                return waiting
    return Waiting(Reason.PULLING, f"Pod {pod.name} is prepared on node {pod.node}.")


def _of_container(pod: PodView, container: ContainerView) -> Waiting | None:
    said = container.message or container.reason
    image = container.image or "its image"
    match container.reason:
        case "InvalidImageName":
            return Waiting(
                Reason.INVALID_IMAGE_NAME, f"{image!r} is not the name of an image: {said}", 0
            )
        case "ErrImageNeverPull":
            return Waiting(Reason.IMAGE_NOT_AVAILABLE, f"Node {pod.node}: {said}", 5)
        case "ImageNotAvailable":
            return Waiting(Reason.IMAGE_NOT_AVAILABLE, said, 1)
        case "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError":
            hopeless = _NO_SUCH_IMAGE.search(container.message) is not None
            return Waiting(
                Reason.IMAGE_PULL,
                f"Image {image} cannot be pulled on node {pod.node}: {said}",
                PATIENCE_WITH_AN_IMAGE if hopeless else PATIENCE_WITH_A_REGISTRY,
            )
        case "CreateContainerConfigError" if _RUN_AS_NON_ROOT in container.message:
            return Waiting(
                Reason.CANNOT_START,
                f"Container {container.name} of pod {pod.name} may not run as root, and its image "
                f"names no other user by number ({said}). Use an image that does, or set "
                "podTemplate.spec.securityContext.runAsUser.",
                PATIENCE_WITH_AN_IMAGES_USER,
            )
        case "CreateContainerConfigError":
            return Waiting(
                Reason.CONFIG_NOT_FOUND,
                f"Container {container.name} of pod {pod.name} cannot be configured: {said}",
                PATIENCE_WITH_A_MISSING_OBJECT,
            )
        case "CreateContainerError" | "RunContainerError" | "PreCreateHookError":
            return Waiting(
                Reason.CANNOT_START,
                f"Container {container.name} of pod {pod.name} cannot be started: {said}",
                PATIENCE_WITH_A_CONTAINER,
            )
        case "CrashLoopBackOff":
            return Waiting(
                Reason.CANNOT_START,
                f"Container {container.name} of pod {pod.name} crashes again and again: {said}",
            )
        case _:
            return None


def _from_events(events: tuple[EventView, ...]) -> Waiting | None:
    """What Events say about a pod that does not start, or a Job that gets no pod; newest first."""
    for event in events:
        if event.reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
            missing = _MISSING_OBJECT.search(event.message)
            if missing:
                return Waiting(
                    Reason.CONFIG_NOT_FOUND,
                    f"A volume cannot be mounted: {event.message}",
                    PATIENCE_WITH_A_MISSING_OBJECT,
                )
            return Waiting(Reason.VOLUME_MOUNT, f"A volume cannot be mounted yet: {event.message}")
        if event.reason == "FailedCreate" and _POD_SECURITY in event.message:
            return Waiting(
                Reason.INVALID_POD,
                f"The namespace's Pod Security level does not allow the pod: {event.message}. Set "
                "what it asks for in podTemplate, and make the operation again.",
                PATIENCE_WITH_A_POD_THAT_IS_NOT_ALLOWED,
            )
        if event.reason == "FailedCreate":
            quota = "exceeded quota" in event.message
            return Waiting(
                Reason.QUOTA_EXCEEDED if quota else Reason.FORBIDDEN,
                f"The pod cannot be made yet: {event.message}",
            )
    return None

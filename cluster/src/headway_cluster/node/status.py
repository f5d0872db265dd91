"""The status of a pod, built from what its containers have done: a pure function.

Field meanings and the order of phases follow Kubernetes' pod lifecycle
(https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_cluster.node.lifecycle import Past, Plan, finished
from headway_cluster.node.pods import Container, Pod, Role, rfc3339
from headway_cluster.node.runs import Exit

Json = dict[str, Any]
RUNTIME = "process"
UNAPPLIED_CONDITION = "headway.dev/UnappliedFields"
"""Condition of a pod with fields that this node accepts without carrying them out."""


@dataclass(frozen=True)
class Verdict:
    """Why a pod as a whole has failed, whatever its containers did."""

    reason: str
    message: str
    disrupted: bool = False


@dataclass(frozen=True)
class Circumstances:
    """What the status says beside the containers.

    Attributes:
        pod_ip: the pod's address.
        host_ip: the node's.
        accepted: when the node took the pod, in seconds since the epoch.
        verdict: the pod has failed as a whole.
        warned: names of fields that are not carried out.
        messages: termination messages by container and run number.
        volumes_made: whether the volumes are there.
    """

    pod_ip: str
    host_ip: str
    accepted: float
    verdict: Verdict | None = None
    warned: tuple[str, ...] = ()
    messages: Mapping[tuple[str, int], str] | None = None
    volumes_made: bool = False


def build(
    pod: Pod,
    pasts: Mapping[str, Past],
    plan: Plan,
    around: Circumstances,
    previous: Mapping[str, Any],
    now: float,
) -> Json:
    """The pod's status as it should be at the API server.

    Args:
        pod: the pod.
        pasts: what each container has done.
        plan: what was decided from that.
        around: what the status says beside.
        previous: the status as it was, whose conditions keep their times where they did not change.
        now: seconds since the epoch.
    """
    phase = phase_of(pod, pasts, plan, around.verdict)
    final = phase in ("Succeeded", "Failed")
    mains, inits = pod.of(Role.MAIN), pod.of(Role.INIT, Role.SIDECAR)

    def statuses(containers: Sequence[Container]) -> list[Json]:
        return [_container_status(pod, one, pasts[one.name], plan, around) for one in containers]

    status: Json = {
        "phase": phase,
        "conditions": _conditions(pod, pasts, plan, around, phase, previous, now),
        "hostIP": around.host_ip,
        "hostIPs": [{"ip": around.host_ip}],
        "podIP": around.pod_ip,
        "podIPs": [{"ip": around.pod_ip}],
        "startTime": rfc3339(around.accepted),
        "qosClass": (pod.raw.get("status") or {}).get("qosClass") or "BestEffort",
        "containerStatuses": statuses(mains),
    }
    if generation := pod.raw["metadata"].get("generation"):
        status["observedGeneration"] = generation
    if inits:
        status["initContainerStatuses"] = statuses(inits)
    if around.verdict is not None and final:
        status["reason"] = around.verdict.reason
        status["message"] = around.verdict.message
    return status


def as_patch(status: Json, uid: str) -> Json:
    """A strategic merge patch that writes a status, and only to the pod with this uid.

    Conditions are merged by type, so that those of others stay. What a condition no longer says
    has to be taken away in words.
    """
    conditions = [{"reason": None, "message": None, **one} for one in status["conditions"]]
    return {"metadata": {"uid": uid}, "status": {**status, "conditions": conditions}}


def phase_of(pod: Pod, pasts: Mapping[str, Past], plan: Plan, verdict: Verdict | None) -> str:
    """Pending, Running, Succeeded or Failed."""
    if plan.over:
        ends = [pasts[main.name].exit for main in pod.of(Role.MAIN)]
        clean = all(end is not None and _clean(end) for end in ends)
        return "Succeeded" if clean and verdict is None else "Failed"
    if plan.initialized and all(
        pasts[main.name].started is not None
        or pasts[main.name].exit is not None
        or pasts[main.name].previous is not None
        for main in pod.of(Role.MAIN)
    ):
        return "Running"
    return "Pending"


def _clean(end: Exit) -> bool:
    return end.code == 0 and end.error is None


def _container_status(
    pod: Pod, container: Container, past: Past, plan: Plan, around: Circumstances
) -> Json:
    messages = around.messages or {}
    running = past.active and past.started is not None
    status: Json = {
        "name": container.name,
        "image": container.image,
        "imageID": f"{RUNTIME}://{container.image}" if past.number >= 0 else "",
        "ready": running and past.ready,
        "started": running and past.passed_startup,
        "restartCount": max(past.number, 0),
        "state": {},
        "lastState": {},
    }
    if container.role is Role.INIT:
        # An init container that has done its part is ready.
        status["ready"] = past.exit is not None and _clean(past.exit)
    if past.number >= 0:
        status["containerID"] = container_id(pod, container.name, past.number)
    if running:
        assert past.started is not None  # noqa: S101 - `running` says so; for the type checker
        status["state"] = {"running": {"startedAt": rfc3339(past.started)}}
    elif past.exit is not None:
        message = messages.get((container.name, past.number), "")
        ended = _terminated(pod, container, past.number, past.started, past.exit, message)
        if around.verdict is None and not plan.over and _restarts(container, past):
            status["state"] = {"waiting": _backing_off(pod, container, past, plan)}
            status["lastState"] = {"terminated": ended}
        else:
            status["state"] = {"terminated": ended}
    else:
        status["state"] = {"waiting": _waiting(pod, past, plan, around.verdict)}
    if past.previous is not None and not status["lastState"]:
        number = past.number - 1
        status["lastState"] = {
            "terminated": _terminated(
                pod,
                container,
                number,
                past.previous_started,
                past.previous,
                messages.get((container.name, number), ""),
            )
        }
    return status


def _restarts(container: Container, past: Past) -> bool:
    if container.role is Role.INIT and past.exit is not None and _clean(past.exit):
        return False
    return not finished(container, past)


def _backing_off(pod: Pod, container: Container, past: Past, plan: Plan) -> Json:
    if past.waiting is not None:
        return {"reason": past.waiting[0], "message": past.waiting[1]}
    at = (plan.restart_at or {}).get(container.name)
    if at is None or past.exit is None:
        return {"reason": "ContainerCreating"}
    seconds = round(at - past.exit.time)
    return {
        "reason": "CrashLoopBackOff",
        "message": f"back-off {seconds}s restarting failed container={container.name}"
        f" pod={pod.name}_{pod.namespace}({pod.uid})",
    }


def _waiting(pod: Pod, past: Past, plan: Plan, verdict: Verdict | None) -> Json:
    if verdict is not None:
        return {"reason": verdict.reason, "message": verdict.message}
    if past.waiting is not None:
        return {"reason": past.waiting[0], "message": past.waiting[1]}
    waits_for_init = pod.of(Role.INIT, Role.SIDECAR) and not plan.initialized
    return {"reason": "PodInitializing" if waits_for_init else "ContainerCreating"}


def container_id(pod: Pod, name: str, number: int) -> str:
    """Names one run of one container for good."""
    return f"{RUNTIME}://{pod.uid}/{name}/{number}"


def _terminated(
    pod: Pod, container: Container, number: int, started: float | None, end: Exit, message: str
) -> Json:
    state: Json = {
        "exitCode": end.code,
        "reason": reason_of(end),
        "startedAt": rfc3339(started if started is not None else end.time),
        "finishedAt": rfc3339(end.time),
        "containerID": container_id(pod, container.name, number),
    }
    if end.signal is not None:
        state["signal"] = end.signal
    text = end.error or message
    if end.lost:
        text = "The container's supervisor went down with it, so nobody saw how it ended"
    if text:
        state["message"] = text
    return state


def reason_of(end: Exit) -> str:
    """The word for an end, as runtimes and kubelet use it."""
    if end.lost:
        return "ContainerStatusUnknown"
    if end.error is not None:
        return "StartError"
    if end.oom:
        return "OOMKilled"
    return "Completed" if end.code == 0 else "Error"


def _conditions(
    pod: Pod,
    pasts: Mapping[str, Past],
    plan: Plan,
    around: Circumstances,
    phase: str,
    previous: Mapping[str, Any],
    now: float,
) -> list[Json]:
    before = {one["type"]: one for one in previous.get("conditions") or ()}
    final = phase in ("Succeeded", "Failed")
    containers = pod.of(Role.MAIN, Role.SIDECAR)
    unready = [
        one.name
        for one in containers
        if not (pasts[one.name].active and pasts[one.name].started and pasts[one.name].ready)
    ]
    not_done = [one.name for one in pod.of(Role.INIT, Role.SIDECAR) if pasts[one.name].number < 0]
    sandboxed = around.volumes_made and not plan.over
    conditions = [_condition("PodReadyToStartContainers", sandboxed)]
    if plan.initialized:
        reason = "PodCompleted" if phase == "Succeeded" else ""
        conditions.append(_condition("Initialized", True, reason))
    else:
        message = f"containers with incomplete status: [{' '.join(not_done)}]"
        conditions.append(_condition("Initialized", False, "ContainersNotInitialized", message))
    if phase == "Succeeded":
        ready = _condition("ContainersReady", False, "PodCompleted")
    elif final:
        ready = _condition("ContainersReady", False, "PodFailed")
    elif unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        ready = _condition("ContainersReady", False, "ContainersNotReady", message)
    else:
        ready = _condition("ContainersReady", True)
    conditions += [ready, _ready(pod, ready, before)]
    if around.warned:
        message = "accepted, but not carried out on a process node: " + ", ".join(around.warned)
        conditions.append(_condition(UNAPPLIED_CONDITION, True, "ProcessNode", message))
    if around.verdict is not None and around.verdict.disrupted:
        conditions.append(
            _condition("DisruptionTarget", True, "TerminationByKubelet", around.verdict.message)
        )
    for condition in conditions:
        old = before.get(condition["type"])
        same = old is not None and old.get("status") == condition["status"]
        condition["lastTransitionTime"] = (
            old["lastTransitionTime"] if same and old else rfc3339(now)
        )
    return conditions


def _ready(pod: Pod, containers_ready: Json, before: Mapping[str, Any]) -> Json:
    ready = {**containers_ready, "type": "Ready"}
    if ready["status"] == "True":
        for gate in pod.readiness_gates:
            condition = (_reported(pod, gate) or before.get(gate) or {}).get("status")
            if condition != "True":
                message = f'corresponding condition of pod readiness gate "{gate}" is not True'
                return _condition("Ready", False, "ReadinessGatesNotReady", message)
    return ready


def _reported(pod: Pod, kind: str) -> Mapping[str, Any] | None:
    for condition in (pod.raw.get("status") or {}).get("conditions") or ():
        if condition["type"] == kind:
            return dict(condition)
    return None


def _condition(kind: str, value: bool, reason: str = "", message: str = "") -> Json:
    condition: Json = {"type": kind, "status": "True" if value else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition

"""What a pod needs next: a pure decision from what its containers have done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headway_cluster.node.pods import Container, Pod, RestartPolicy, Role
from headway_cluster.node.runs import Exit

BACKOFF_RESET = 600.0
"""A container that ran for so many seconds has its backoff forgotten."""


@dataclass(frozen=True)
class Backoff:
    """How long a container that keeps ending waits before it is started again."""

    initial: float = 10.0
    limit: float = 300.0

    def delay(self, crashes: int) -> float:
        """Seconds to wait after so many ends in a row: the first restart is at once."""
        if crashes <= 1:
            return 0.0
        return float(min(self.initial * 2 ** min(crashes - 2, 30), self.limit))


@dataclass(frozen=True)
class Past:
    """What one container has done so far.

    Attributes:
        number: the number of its latest run, which is also its restart count; -1 before the first.
        started: when the latest run started; None before it has.
        exit: how the latest run ended; None while it has not.
        previous: how the run before it ended.
        previous_started: and when that had started.
        crashes: runs in a row that ended before the backoff was forgotten.
        passed_startup: its startup probe has passed, or it has none and runs.
        ready: its readiness probe says so, or it has none and runs.
        waiting: why it cannot be started now: reason and message.
    """

    number: int = -1
    started: float | None = None
    exit: Exit | None = None
    previous: Exit | None = None
    previous_started: float | None = None
    crashes: int = 0
    passed_startup: bool = False
    ready: bool = False
    waiting: tuple[str, str] | None = None

    @property
    def active(self) -> bool:
        """Whether there is a run that has not ended."""
        return self.number >= 0 and self.exit is None


@dataclass(frozen=True)
class Plan:
    """The next steps.

    Attributes:
        start: containers to start now.
        stop: containers to stop now.
        restart_at: for containers that wait for their backoff: when it is over.
        initialized: whether every init container has done its part.
        over: nothing runs and nothing will be started any more.
    """

    start: tuple[Container, ...] = ()
    stop: tuple[Container, ...] = ()
    restart_at: Mapping[str, float] | None = None
    initialized: bool = False
    over: bool = False

    @property
    def wake_at(self) -> float | None:
        """When to decide again even if nothing happens."""
        return min(self.restart_at.values()) if self.restart_at else None


def plan(
    pod: Pod, pasts: Mapping[str, Past], now: float, backoff: Backoff, *, stopping: bool
) -> Plan:
    """Decide the next steps of a pod.

    Init containers run one after the other; a sidecar among them only has to have started. Main
    containers start together afterwards. Sidecars are stopped when the last main container has
    ended for good.

    Args:
        pod: the pod.
        pasts: what each container has done, by name.
        now: the time, in seconds since the epoch.
        backoff: the delays between restarts.
        stopping: the pod is to end; nothing is started any more.
    """
    mains = pod.of(Role.MAIN)
    if stopping:
        return _stopping(pod, pasts)
    waits: dict[str, float] = {}
    starts: list[Container] = []

    def consider(container: Container) -> None:
        past = pasts[container.name]
        if past.active:
            return
        if past.exit is None:
            starts.append(container)
            return
        if finished(container, past):
            return
        at = past.exit.time + backoff.delay(past.crashes)
        if at <= now or past.exit.time > now:  # the latter: the clock was set back since
            starts.append(container)
        else:
            waits[container.name] = at

    under_way = any(pasts[main.name].number >= 0 for main in mains)
    initialized = True
    for container in pod.of(Role.INIT, Role.SIDECAR):
        past = pasts[container.name]
        if container.role is Role.SIDECAR:
            consider(container)
            if past.passed_startup or under_way:
                continue
        elif under_way or (past.exit is not None and _succeeded(past.exit)):
            continue
        else:
            consider(container)
        initialized = False
        if container.role is Role.INIT and finished(container, past):
            # It failed for good: what runs beside it is stopped, nothing else is started.
            return _stopping(pod, pasts)
        break
    if initialized:
        for container in mains:
            consider(container)
        if all(finished(main, pasts[main.name]) for main in mains):
            return _stopping(pod, pasts)
    return Plan(tuple(starts), (), waits, initialized)


def finished(container: Container, past: Past) -> bool:
    """Whether a container has ended and is not started again."""
    if past.exit is None:
        return False
    if container.restart_policy is RestartPolicy.ON_FAILURE:
        return _succeeded(past.exit)
    return container.restart_policy is RestartPolicy.NEVER


def crashes_after(past: Past) -> int:
    """How many ends in a row there are with the one that has just been seen."""
    if past.exit is None:
        return past.crashes
    ran = past.exit.time - (past.started or past.exit.time)
    return 1 if ran >= BACKOFF_RESET else past.crashes + 1


def _succeeded(end: Exit) -> bool:
    return end.code == 0 and end.error is None


def _stopping(pod: Pod, pasts: Mapping[str, Past]) -> Plan:
    running = [one for one in pod.of(Role.MAIN, Role.INIT) if pasts[one.name].active]
    if not running:
        # Sidecars go last, in the reverse of the order they came in.
        sidecars = [one for one in pod.of(Role.SIDECAR) if pasts[one.name].active]
        running = sidecars[-1:]
    initialized = any(pasts[main.name].number >= 0 for main in pod.of(Role.MAIN))
    return Plan(stop=tuple(running), initialized=initialized, over=not running)

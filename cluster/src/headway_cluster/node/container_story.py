"""What is known of one container of a pod: its runs, how they went, and what is under way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway_cluster.node import log_lines
from headway_cluster.node.lifecycle import Past, crashes_after
from headway_cluster.node.pod_folder import PodFolder
from headway_cluster.node.pods import Container, Pod
from headway_cluster.node.probing import Prober
from headway_cluster.node.runs import Command, Exit, Run, RunState
from headway_cluster.node.status import container_id

_NOTHING_YET = RunState(None, None)
_FALLBACK_LINES = 80
_FALLBACK_BYTES = 2048


@dataclass
class Story:
    """The story of one container so far.

    Attributes:
        run: its latest run.
        state: of that run, as it was read at the beginning of the turn: all of a turn decides on
            the same.
        before: the run before that.
        crashes: how many runs in a row have ended badly.
        counted: whether the end of the latest run is taken into account.
        announced: whether its start is.
        passed_startup: whether it has started, by its probe.
        ready: whether it is ready, by its probe.
        waiting: why it has not been started: a reason, and the whole of it.
        prober: what asks its probes.
        stop_by: when it is killed, if it has been told to stop; on the monotonic clock.
        silent: whether nobody is left who would tell that it has ended.
        messages: termination messages of its runs, by their numbers.
    """

    run: Run | None = None
    state: RunState = _NOTHING_YET
    before: Run | None = None
    crashes: int = 0
    counted: bool = False
    announced: bool = False
    passed_startup: bool = False
    ready: bool = False
    waiting: tuple[str, str] | None = None
    prober: Prober | None = None
    stop_by: float | None = None
    silent: bool = False
    messages: dict[int, str] = field(default_factory=dict)

    @property
    def under_way(self) -> Run | None:
        """Its run, unless that had ended when the turn began."""
        return self.run if self.state.exit is None else None

    def past(self) -> Past:
        """The story as the plan wants it."""
        if self.run is None:
            return Past(waiting=self.waiting)
        before = self.before.state() if self.before is not None else None
        return Past(
            number=self.run.number,
            started=self.state.started,
            exit=self.state.exit,
            previous=before.exit if before else None,
            previous_started=before.started if before else None,
            crashes=self.crashes,
            passed_startup=self.passed_startup,
            ready=self.ready,
            waiting=self.waiting,
        )

    def take_up(self, pod: Pod, container: Container, folder: PodFolder) -> None:
        """Find what another agent, before this one, has started."""
        runs = folder.runs(container.name)
        if runs and not runs[-1].begun and not runs[-1].supervised:
            # It never began: the agent died on the way. It is started as if for the first time.
            runs.pop().remove()
        told = _told(pod, container)
        if not runs and told is not None:
            number = int(str(told["containerID"]).rsplit("/", 1)[-1])
            lost = folder.run(container.name, number)
            lost.count_as_lost()
            runs = [lost]
        if not runs:
            return
        self.run = runs[-1]
        self.before = runs[-2] if len(runs) > 1 else None
        self.crashes = _count(self.run.folder)
        self.announced = True
        if self.before is not None and (end := self.before.state().exit):
            self.messages[self.before.number] = _last_words(container, self.before, end)
        if told is not None and told["containerID"] == container_id(
            pod, container.name, self.run.number
        ):
            self.passed_startup = bool(told.get("started"))
            self.ready = bool(told.get("ready"))

    def begin(self, run: Run, command: Command) -> None:
        """Start another run."""
        _write_count(run.folder, self.crashes)
        try:
            run.start(command)
        except OSError:
            run.close()  # the next try is another one's
            raise
        if self.before is not None:
            self.messages.pop(self.before.number, None)
            self.before.remove()
        self.before, self.run, self.state = self.run, run, _NOTHING_YET
        self.waiting = None
        self.counted = self.announced = self.silent = False

    def stop(self, grace: float) -> None:
        """Order the run to stop, unless it has been told to do so no later than that."""
        by = time.monotonic() + grace
        if self.run is None or (self.stop_by is not None and self.stop_by <= by):
            return
        if self.run.stop(grace):
            self.stop_by = by

    def end(self, container: Container, end: Exit) -> None:
        """Take into account that the run has ended."""
        run = self.run
        assert run is not None  # noqa: S101 - it has ended; for the type checker
        self.crashes = crashes_after(self.past())
        self.counted = True
        self.ready = self.passed_startup = False
        self.stop_by = None
        self.messages[run.number] = _last_words(container, run, end)
        if self.prober is not None:
            self.prober.stop()
            self.prober = None
        probes = (container.startup, container.readiness, container.liveness)
        if any(probe is not None and probe.exec_command is not None for probe in probes):
            run.end_strays()
        run.close()

    def close(self) -> None:
        """Nothing is asked of its runs any more."""
        for run in (self.run, self.before):
            if run is not None:
                run.close()


def _told(pod: Pod, container: Container) -> Mapping[str, Any] | None:
    """What the API server has of a container that has run on this node."""
    status = pod.raw.get("status") or {}
    for group in ("containerStatuses", "initContainerStatuses"):
        for one in status.get(group) or ():
            mark = f"/{pod.uid}/{container.name}/"
            if one["name"] == container.name and mark in (one.get("containerID") or ""):
                return dict(one)
    return None


def _last_words(container: Container, run: Run, end: Exit) -> str:
    """The termination message of a run that has ended."""
    message = run.termination_message()
    if not message and container.logs_as_message and end.code != 0 and end.error is None:
        message = log_lines.tail(run.log, _FALLBACK_LINES, _FALLBACK_BYTES)
    return message


def _count(folder: Path) -> int:
    """How many runs in a row had ended when this one was started."""
    try:
        return int((folder / "crashes").read_text())
    except (OSError, ValueError):
        return 0


def _write_count(folder: Path, crashes: int) -> None:
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    (folder / "crashes").write_text(str(crashes))

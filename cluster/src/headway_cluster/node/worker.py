"""One pod on this node, from the moment it is bound until nothing of it is left.

A worker is a loop in a thread: take what the API server says, look at what the containers have
done, ask ``lifecycle.plan`` what comes next, do it, and tell the API server. It sleeps until
something happens: a supervisor writes to its FIFO, the pod changes, or a time has come. When
nothing is left to do, the thread ends; the next change of the pod starts another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from headway_cluster.node import fields, log_lines
from headway_cluster.node.addresses import Addresses, NoAddressLeftError
from headway_cluster.node.announcing import About, Announcer
from headway_cluster.node.api import (
    Api,
    ApiError,
    ApiUnavailableError,
    pause_after,
)
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.environment import ConfigurationError, Facts
from headway_cluster.node.hosting import HostRules
from headway_cluster.node.images import ImageNotAvailableError, find
from headway_cluster.node.launching import Launcher
from headway_cluster.node.lifecycle import Backoff, Past, Plan, crashes_after, plan
from headway_cluster.node.pod_folder import Accepted, PodFolder
from headway_cluster.node.pods import Container, Pod, RestartPolicy
from headway_cluster.node.probing import Kind, Outcome, Prober, Target
from headway_cluster.node.references import NotYetAllowedError, References
from headway_cluster.node.runs import Exit, Run, RunState
from headway_cluster.node.status import Circumstances, Verdict, as_patch, build, container_id
from headway_cluster.node.volumes import VolumeError, Volumes

log = logging.getLogger(__name__)

Json = dict[str, Any]

IMAGE_NOT_AVAILABLE = "ImageNotAvailable"
UNSUPPORTED_FIELDS = "UnsupportedFields"
HOST_CANNOT_TELL = "HostCannotTell"
_SETTLING = 0.3
"""Seconds that a start may take before the status says that it is under way."""
_LOOK_AGAIN = 0.05
_ORPHAN_GRACE = 2.0
"""Seconds that containers get whose pod no longer exists: nobody waits for them."""
_LEAST_GRACE = 1.0
"""A deleted pod's containers get at least this, as kubelet grants."""
_CONFIG_RETRY = 5.0
_TOKEN_RETRY = 10.0
_FALLBACK_LINES = 80
_FALLBACK_BYTES = 2048
_VOLUMES = ""
"""Key of the volumes among the things that are tried again; containers have their names."""


@dataclass(frozen=True)
class Surroundings:
    """What the workers of one node share.

    Attributes:
        config: the node's configuration.
        api: the API server, as the node.
        addresses: the pod network.
        announcer: writes events.
        cpu: cores of the node.
        memory: bytes of memory of the node.
        rules: what a host machine takes; None takes every pod.
    """

    config: NodeConfig
    api: Api
    addresses: Addresses
    announcer: Announcer
    cpu: int
    memory: int
    rules: HostRules | None = None


_NOTHING_YET = RunState(None, None)


@dataclass
class _Story:
    """What is known of one container of the pod.

    ``state`` is what was read at the beginning of the turn: all of a turn decides on the same.
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


@dataclass
class _Retry:
    at: float
    failures: int = 1


class PodWorker:
    """Runs one pod. ``update``, ``gone`` and ``shut_down`` may be called from any thread."""

    def __init__(
        self,
        around: Surroundings,
        folder: PodFolder,
        pod: Pod,
        forget: Callable[[PodWorker], None],
    ) -> None:
        """Take a pod.

        Args:
            around: what the workers share.
            folder: where the pod is kept; what lies there is taken up.
            pod: the pod as it was last seen.
            forget: called when nothing is left of the pod.
        """
        self._around = around
        self._folder = folder
        self._pod = pod
        self._forget = forget
        self._lock = threading.Lock()
        self._news: Pod | None = None
        self._gone = False
        self._shutdown_grace: float | None = None
        self._outcomes: list[tuple[str, int, Outcome]] = []
        self._roused = False
        self._bell: int | None = None
        self._thread: threading.Thread | None = None

        self._accepted = folder.accepted()
        self._stories: dict[str, _Story] = {one.name: _Story() for one in pod.containers}
        self._volumes: Volumes | None = None
        self._folders: dict[str, Path] | None = None
        self._retries: dict[str, _Retry] = {}
        self._warned: tuple[str, ...] = ()
        self._sent: Json | None = None
        self._status: Mapping[str, Any] = pod.raw.get("status") or {}
        self._settle_at: float | None = None
        self._closed = False
        self._deleted = False
        self._forgotten = False
        self._prepared = False

    @property
    def key(self) -> str:
        """``namespace/name`` of the pod."""
        return self._pod.key

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return self._pod.uid

    @property
    def done(self) -> bool:
        """Whether nothing of the pod runs or will run, and the API server knows it."""
        return self._forgotten or self._closed

    def update(self, pod: Pod) -> None:
        """The API server says this of the pod now."""
        with self._lock:
            self._news = pod
        self._rouse()

    def gone(self) -> None:
        """The API server no longer has the pod."""
        with self._lock:
            self._gone = True
        self._rouse()

    def shut_down(self, grace: float) -> None:
        """The node goes: end the pod within so many seconds."""
        with self._lock:
            before = self._shutdown_grace
            self._shutdown_grace = grace if before is None else min(before, grace)
        self._rouse()

    def begin(self) -> None:
        """Look at the pod."""
        self._rouse()

    def join(self, deadline: float) -> bool:
        """Wait until the pod is done, up to a monotonic time; returns whether it is."""
        while not self.done and time.monotonic() < deadline:
            thread = self._thread
            if thread is None:
                return self.done
            thread.join(min(0.05, max(deadline - time.monotonic(), 0.0)))
        return self.done

    def container(self, name: str) -> tuple[Run | None, Run | None, str] | None:
        """A container's latest run, the run before it, and why it has none; for its logs."""
        story = self._stories.get(name)
        if story is None:
            return None
        return story.run, story.before, (story.waiting or ("ContainerCreating", ""))[0]

    # The loop

    def _rouse(self) -> None:
        with self._lock:
            if self._forgotten:
                return
            self._roused = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._live, name=self.key, daemon=True)
                self._thread.start()
            elif self._bell is not None:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._bell, b".")

    def _live(self) -> None:
        ear, bell = os.pipe()
        for end in (ear, bell):
            os.set_blocking(end, False)
        with self._lock:
            self._bell = bell
        failures = 0
        try:
            while True:
                with self._lock:
                    self._roused = False
                try:
                    wake_at = self._turn()
                    failures = 0
                except Exception:
                    # A mistake of ours must not leave a pod without anybody who looks after it.
                    log.exception("pod %s: trying again", self.key)
                    failures += 1
                    wake_at = time.time() + pause_after(failures)
                if wake_at is None and self._leave():
                    return
                self._sleep(ear, wake_at)
        finally:
            with self._lock:
                self._bell = None
                os.close(ear)
                os.close(bell)

    def _leave(self) -> bool:
        """End the thread, unless there is something to do."""
        if not self.done:
            return False
        with self._lock:
            if self._roused and not self._forgotten:
                return False
            self._thread = None
            return True

    def _sleep(self, ear: int, wake_at: float | None) -> None:
        poll = select.poll()
        poll.register(ear, select.POLLIN)
        listening: dict[int, _Story] = {}
        for story in self._stories.values():
            if story.run is None or story.state.exit is not None:
                continue
            if not story.silent:
                with contextlib.suppress(OSError):
                    events = story.run.open_events()
                    poll.register(events, select.POLLIN)
                    listening[events] = story
            if story.run.state() != story.state:
                # It has happened since the turn began; from here on it would ring.
                return
        timeout = None if wake_at is None else max(wake_at - time.time(), 0.0) * 1000
        for descriptor, _ in poll.poll(timeout):
            if descriptor == ear:
                with contextlib.suppress(BlockingIOError):
                    while os.read(ear, 512):
                        pass
                continue
            story = listening[descriptor]
            if story.run is not None and not story.run.take_events():
                # The supervisor is gone; its files or its lock say so in a moment.
                story.silent = True

    def _turn(self) -> float | None:
        """One round; returns when to look again even if nothing happens (None: never)."""
        self._take_news()
        if not self._prepared:
            self._prepare()
            self._prepared = True
        if self._accepted is None:
            return self._finish_unaccepted()
        for container in self._pod.containers:
            self._observe(container)
        now = time.time()
        self._judge(now)
        decided = self._decide(now)
        if not decided.over:
            self._act(decided, now)
            # Starting may have changed what is known, and whether the pod has failed.
            decided = self._decide(time.time())
        self._report(decided)
        if decided.over:
            self._close()
        return self._wake_at(decided)

    def _take_news(self) -> None:
        with self._lock:
            news, self._news = self._news, None
            outcomes, self._outcomes = self._outcomes, []
        if news is not None:
            old, self._pod = self._pod, news
            if self._folder.exists and _differs(old, news):
                self._folder.save_pod(news)
        for name, number, outcome in outcomes:
            self._take_outcome(name, number, outcome)

    # Taking a pod, and taking one up again

    def _prepare(self) -> None:
        if self._accepted is None:
            if self._pod.is_final or self._gone:
                return
            self._accept()
        else:
            self._around.addresses.keep(self._accepted.ip)
        self._warned = tuple(one.path for one in fields.check(self._pod.raw).warned)
        for container in self._pod.containers:
            self._take_up(container)
        if self._pod.restart_policy is RestartPolicy.ALWAYS and (refusal := self._refusal()):
            # Its owner would replace a failed pod at once, for ever: it waits, as at a kubelet
            # that cannot pull an image.
            self._around.announcer.warning(About.pod(self._pod), refusal.reason, refusal.message)
            self._retries[_VOLUMES] = _Retry(float("inf"))
            for story in self._stories.values():
                story.waiting = (refusal.reason, refusal.message)
        self._volumes = Volumes(self._pod, self._folder.volumes, self._facts())

    def _accept(self) -> None:
        pod = self._pod
        now = time.time()
        status = pod.raw.get("status") or {}
        known = status.get("podIP") or ""
        restarts = pod.restart_policy is RestartPolicy.ALWAYS
        verdict = None if restarts else self._refusal()
        if pod.host_network:
            address = self._around.config.address
        elif not (known and self._around.addresses.keep(known)):
            try:
                address = self._around.addresses.take()
            except NoAddressLeftError as error:
                address = self._around.config.address
                verdict = verdict or Verdict("OutOfAddresses", str(error))
        else:
            address = known
        started = status.get("startTime")
        accepted = Accepted(
            ip=address,
            time=datetime.fromisoformat(started).timestamp() if started else now,
            verdict=verdict,
        )
        self._folder.save_pod(pod)
        self._folder.save_accepted(accepted)
        self._accepted = accepted

    def _refusal(self) -> Verdict | None:
        """Why this node does not run the pod at all."""
        pod = self._pod
        if self._around.rules is not None and (no := self._not_for_a_host(self._around.rules)):
            return no
        refused = fields.check(pod.raw).refused
        if refused:
            message = "not possible on a process node: " + "; ".join(
                f"{one.path} ({one.note.rstrip('.')})" for one in refused
            )
            return Verdict(UNSUPPORTED_FIELDS, message)
        for container in pod.containers:
            try:
                find(self._around.config.images, container.image)
            except ImageNotAvailableError as error:
                return Verdict(IMAGE_NOT_AVAILABLE, str(error))
        return None

    def _not_for_a_host(self, rules: HostRules) -> Verdict | None:
        try:
            return rules.refusal(self._pod)
        except ApiError as error:
            message = f"whose run this is cannot be looked up, so it waits: {error}"
            self._around.announcer.warning(About.pod(self._pod), HOST_CANNOT_TELL, message)
            raise

    def _take_up(self, container: Container) -> None:
        """Find what another agent, before this one, has started."""
        story = self._stories[container.name]
        runs = self._folder.runs(container.name)
        if runs and not runs[-1].begun and not runs[-1].supervised:
            # It never began: the agent died on the way. It is started as if for the first time.
            runs.pop().remove()
        told = self._told(container)
        if not runs and told is not None:
            number = int(str(told["containerID"]).rsplit("/", 1)[-1])
            lost = self._folder.run(container.name, number)
            lost.count_as_lost()
            runs = [lost]
        if not runs:
            return
        story.run = runs[-1]
        story.before = runs[-2] if len(runs) > 1 else None
        story.crashes = _count(story.run.folder)
        story.announced = True
        if story.before is not None and (end := story.before.state().exit):
            story.messages[story.before.number] = _last_words(container, story.before, end)
        if told is not None and told["containerID"] == container_id(
            self._pod, container.name, story.run.number
        ):
            story.passed_startup = bool(told.get("started"))
            story.ready = bool(told.get("ready"))

    def _told(self, container: Container) -> Mapping[str, Any] | None:
        """What the API server has of a container that has run on this node."""
        status = self._pod.raw.get("status") or {}
        for group in ("containerStatuses", "initContainerStatuses"):
            for one in status.get(group) or ():
                mark = f"/{self._pod.uid}/{container.name}/"
                if one["name"] == container.name and mark in (one.get("containerID") or ""):
                    return dict(one)
        return None

    # What has happened

    def _observe(self, container: Container) -> None:
        story = self._stories[container.name]
        if story.run is None:
            return
        state = story.state = story.run.state()
        if state.exit is not None:
            if not story.counted:
                self._count_exit(container, story, state.exit)
            return
        if state.started is None:
            return
        if not story.announced:
            story.announced = True
            self._say(container, "Started", "Container started")
        if container.startup is None:
            story.passed_startup = True
        if container.readiness is None:
            story.ready = story.passed_startup
        probed = container.startup or container.readiness or container.liveness
        if probed and story.prober is None and self._folders is not None:
            self._probe(container, story, state.started)

    def _count_exit(self, container: Container, story: _Story, end: Exit) -> None:
        run = story.run
        assert run is not None  # noqa: S101 - it has ended; for the type checker
        story.crashes = crashes_after(replace(story.past(), crashes=story.crashes))
        story.counted = True
        story.ready = story.passed_startup = False
        story.stop_by = None
        story.messages[run.number] = _last_words(container, run, end)
        if story.prober is not None:
            story.prober.stop()
            story.prober = None
        run.close()
        if end.error is not None:
            self._warn(container, "Failed", f"Error: {end.error}")

    def _probe(self, container: Container, story: _Story, started: float) -> None:
        run = story.run
        spec = run.spec() if run is not None else None
        launcher = self._launcher()
        if run is None or spec is None or launcher is None:
            return
        mounts = launcher.mounts(container, spec["env"])
        target = Target(
            host=self._ip,
            ports=container.ports,
            env=spec["env"],
            cwd=spec["cwd"],
            translate=launcher.translation(container, run, mounts),
        )
        number = run.number

        def tell(outcome: Outcome) -> None:
            with self._lock:
                self._outcomes.append((container.name, number, outcome))
            self._rouse()

        story.prober = Prober(
            container, target, tell, started=started, passed_startup=story.passed_startup
        )
        story.prober.start()

    def _take_outcome(self, name: str, number: int, outcome: Outcome) -> None:
        story = self._stories[name]
        if story.run is None or story.run.number != number or story.counted:
            return
        container = self._named(name)
        if not outcome.passed:
            self._warn(container, "Unhealthy", f"{outcome.kind} probe failed: {outcome.message}")
        if not outcome.decided:
            return
        if outcome.kind is Kind.READINESS:
            story.ready = outcome.passed
            return
        if outcome.passed:
            story.passed_startup = True
            return
        probe = container.startup if outcome.kind is Kind.STARTUP else container.liveness
        grace = self._grace()
        if probe is not None and probe.grace is not None:
            grace = min(grace, probe.grace) if self._stopping else probe.grace
        self._say(
            container,
            "Killing",
            f"Container {name} failed {outcome.kind.lower()} probe, will be restarted",
        )
        self._stop(story, grace)

    def _judge(self, now: float) -> None:
        """Whether the pod as a whole has failed."""
        assert self._accepted is not None  # noqa: S101 - for the type checker
        if self._accepted.verdict is not None or self._closed:
            return
        verdict: Verdict | None = None
        deadline = self._pod.active_deadline
        if deadline is not None and now >= self._accepted.time + deadline:
            verdict = Verdict(
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            )
        elif self._shutdown_grace is not None and not self._stopping:
            verdict = Verdict(
                "Terminated",
                "Pod was terminated in response to imminent node shutdown.",
                disrupted=True,
            )
        if verdict is not None and not self._decide(now).over:
            self._convict(verdict)

    def _convict(self, verdict: Verdict) -> None:
        assert self._accepted is not None  # noqa: S101 - for the type checker
        self._accepted = replace(self._accepted, verdict=verdict)
        self._folder.save_accepted(self._accepted)

    # What comes next

    @property
    def _stopping(self) -> bool:
        return (
            self._gone
            or self._pod.deletion_grace is not None
            or self._pod.is_final
            or (self._accepted is not None and self._accepted.verdict is not None)
        )

    def _decide(self, now: float) -> Plan:
        config = self._around.config
        backoff = Backoff(config.crash_backoff, config.crash_backoff_limit)
        pasts = {name: story.past() for name, story in self._stories.items()}
        return plan(self._pod, pasts, now, backoff, stopping=self._stopping)

    def _grace(self) -> float:
        """Seconds that a container gets to end."""
        if self._gone and self._shutdown_grace is None:
            return min(self._pod.grace, _ORPHAN_GRACE)
        asked = self._pod.deletion_grace
        grace = self._pod.grace if asked is None else max(asked, _LEAST_GRACE)
        return grace if self._shutdown_grace is None else min(grace, self._shutdown_grace)

    def _act(self, decided: Plan, now: float) -> None:
        for container in decided.stop:
            story = self._stories[container.name]
            if story.stop_by is None:
                self._say(container, "Killing", f"Stopping container {container.name}")
            self._stop(story, self._grace())
        for name, at in (decided.restart_at or {}).items():
            story = self._stories[name]
            if story.waiting is None and at > now:
                self._warn(
                    self._named(name),
                    "BackOff",
                    f"Back-off restarting failed container {name} in pod {self._pod.name}",
                )
        due = [one for one in decided.start if self._is_due(one.name, now)]
        references = References(self._around.api, self._pod)
        if self._volumes is not None and not self._stopping:
            if self._folders is None and self._is_due(_VOLUMES, now):
                self._make_volumes(references)
            elif self._volumes.refresh_at is not None and now >= self._volumes.refresh_at:
                self._refresh_volumes(references)
        if self._folders is None:
            return
        for container in due:
            self._start(container, references)

    def _is_due(self, key: str, now: float) -> bool:
        retry = self._retries.get(key)
        return retry is None or retry.at <= now

    def _try_again(self, key: str, longest: float) -> None:
        failures = self._retries[key].failures + 1 if key in self._retries else 1
        self._retries[key] = _Retry(time.time() + pause_after(failures, longest), failures)

    def _make_volumes(self, references: References) -> None:
        assert self._volumes is not None  # noqa: S101 - for the type checker
        try:
            self._folders = self._volumes.make(references)
        except VolumeError as error:
            self._around.announcer.warning(About.pod(self._pod), "FailedMount", str(error))
            self._try_again(_VOLUMES, _CONFIG_RETRY)
        except (NotYetAllowedError, ApiUnavailableError) as error:
            log.debug("volumes of %s: %s", self.key, error)
            self._try_again(_VOLUMES, 1.0)
        except ApiError as error:
            self._around.announcer.warning(About.pod(self._pod), "FailedMount", str(error))
            self._try_again(_VOLUMES, _CONFIG_RETRY)
        else:
            self._retries.pop(_VOLUMES, None)

    def _refresh_volumes(self, references: References) -> None:
        assert self._volumes is not None  # noqa: S101 - for the type checker
        try:
            self._volumes.refresh(references)
        except (NotYetAllowedError, ApiUnavailableError, ApiError, ConfigurationError) as error:
            log.warning("pod %s: its token could not be renewed: %s", self.key, error)
            self._volumes.refresh_at = time.time() + _TOKEN_RETRY

    def _start(self, container: Container, references: References) -> None:
        story = self._stories[container.name]
        launcher = self._launcher()
        assert launcher is not None  # noqa: S101 - the volumes are made; for the type checker
        number = story.run.number + 1 if story.run is not None else 0
        run = self._folder.run(container.name, number)
        try:
            image = find(self._around.config.images, container.image)
            command = launcher.command(container, image, run, references)
        except ImageNotAvailableError as error:
            story.waiting = (IMAGE_NOT_AVAILABLE, str(error))
            self._warn(container, "Failed", str(error))
            self._retries[container.name] = _Retry(float("inf"))
        except ConfigurationError as error:
            story.waiting = ("CreateContainerConfigError", str(error))
            self._warn(container, "Failed", f"Error: {error}")
            self._try_again(container.name, _CONFIG_RETRY)
        except (NotYetAllowedError, ApiUnavailableError) as error:
            log.debug("container %s of %s: %s", container.name, self.key, error)
            self._try_again(container.name, 1.0)
        except (ApiError, OSError) as error:
            story.waiting = ("CreateContainerError", str(error))
            self._warn(container, "Failed", f"Error: {error}")
            self._try_again(container.name, _CONFIG_RETRY)
        else:
            _write_count(run.folder, story.crashes)
            run.start(command)
            self._retries.pop(container.name, None)
            if story.before is not None:
                story.messages.pop(story.before.number, None)
                story.before.remove()
            story.before, story.run, story.state = story.run, run, _NOTHING_YET
            story.waiting = None
            story.counted = story.announced = story.silent = False
            self._settle_at = time.time() + _SETTLING

    def _stop(self, story: _Story, grace: float) -> None:
        """Order a run to stop, unless it has been told to do so no later than that."""
        by = time.monotonic() + grace
        if story.run is None or (story.stop_by is not None and story.stop_by <= by):
            return
        story.stop_by = by
        story.run.stop(grace)

    # What the API server is told

    def _report(self, decided: Plan) -> None:
        """Write the status, if it is not what was written last."""
        assert self._accepted is not None  # noqa: S101 - for the type checker
        if self._gone or self._pod.is_final or not self._is_due("status", time.time()):
            return
        pasts = {name: story.past() for name, story in self._stories.items()}
        starting = any(past.active and past.started is None for past in pasts.values())
        now = time.time()
        if starting and self._settle_at is not None and now < self._settle_at:
            return
        around = Circumstances(
            pod_ip=self._accepted.ip,
            host_ip=self._around.config.address,
            accepted=self._accepted.time,
            verdict=self._accepted.verdict,
            warned=self._warned,
            messages={
                (name, number): text
                for name, story in self._stories.items()
                for number, text in story.messages.items()
            },
            volumes_made=self._folders is not None,
        )
        status = build(self._pod, pasts, decided, around, self._status, now)
        if status == self._sent:
            return
        try:
            self._around.api.patch(f"{self._pod.path}/status", as_patch(status, self._pod.uid))
        except ApiUnavailableError as error:
            log.debug("status of %s: %s", self.key, error)
            self._try_again("status", 1.0)
        except ApiError as error:
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                # Another pod has its name by now, or none: the watch will say so, too.
                self._gone = True
                return
            log.warning("status of %s: %s", self.key, error)
            self._try_again("status", _CONFIG_RETRY)
        else:
            self._retries.pop("status", None)
            self._sent = self._status = status

    def _close(self) -> None:
        """Nothing runs any more: clean up as far as the API server knows it."""
        told = self._sent is not None and self._sent["phase"] in ("Succeeded", "Failed")
        if not (self._gone or self._pod.is_final or (told and "status" not in self._retries)):
            return
        if not self._closed:
            self._closed = True
            self._folders = None
            if self._volumes is not None:
                self._volumes.remove()
        if self._gone:
            self._vanish()
        elif self._pod.deletion_grace is not None and not self._deleted:
            self._delete()

    def _delete(self) -> None:
        """Tell the API server that the pod may go: its last step on a node."""
        if not self._is_due("delete", time.time()):
            return
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._pod.uid}}
        try:
            self._around.api.delete(self._pod.path, options)
        except ApiUnavailableError:
            self._try_again("delete", 1.0)
        except ApiError as error:
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                self._gone = True
                self._vanish()
                return
            log.warning("pod %s cannot be deleted: %s", self.key, error)
            self._try_again("delete", _CONFIG_RETRY)
        else:
            self._retries.pop("delete", None)
            self._deleted = True

    def _finish_unaccepted(self) -> float | None:
        """A pod that had ended before this node knew it: there is only its deletion to confirm."""
        self._closed = True
        if self._gone:
            self._vanish()
        elif self._pod.deletion_grace is not None and not self._deleted:
            self._delete()
        retry = self._retries.get("delete")
        return retry.at if retry else None

    def _vanish(self) -> None:
        """The pod is gone: nothing of it stays."""
        for story in self._stories.values():
            for run in (story.run, story.before):
                if run is not None:
                    run.close()
        if self._accepted is not None:
            if self._folder.exists:
                self._folder.remove()
            if not self._pod.host_network:
                self._around.addresses.give_back(self._accepted.ip)
        with self._lock:
            self._forgotten = True
        self._forget(self)

    def _wake_at(self, decided: Plan) -> float | None:
        now = time.time()
        times: list[float] = []
        for story in self._stories.values():
            if story.run is None or story.state.exit is not None:
                continue
            if story.silent:
                times.append(now + _LOOK_AGAIN)
            elif story.state.started is None:
                times.append(now + _SETTLING)
        if not decided.over:
            if decided.wake_at is not None:
                times.append(decided.wake_at)
            if self._pod.active_deadline is not None and not self._stopping:
                assert self._accepted is not None  # noqa: S101 - for the type checker
                times.append(self._accepted.time + self._pod.active_deadline)
            if self._volumes is not None and self._volumes.refresh_at is not None:
                times.append(max(self._volumes.refresh_at, now))
        waited_for = {"status", "delete"}
        if not self._stopping:
            waited_for |= {_VOLUMES, *(one.name for one in decided.start)}
        times += [
            retry.at
            for key, retry in self._retries.items()
            if key in waited_for and retry.at != float("inf")
        ]
        if self._forgotten:
            return None
        return min(times, default=None)

    # Small things

    @property
    def _ip(self) -> str:
        return self._accepted.ip if self._accepted is not None else ""

    def _named(self, name: str) -> Container:
        return next(one for one in self._pod.containers if one.name == name)

    def _facts(self) -> Facts:
        return Facts(
            self._pod,
            pod_ip=self._ip,
            host_ip=self._around.config.address,
            node_name=self._around.config.node_name,
            cpu=self._around.cpu,
            memory=self._around.memory,
        )

    def _launcher(self) -> Launcher | None:
        if self._folders is None:
            return None
        return Launcher(
            pod=self._pod,
            folders=self._folders,
            facts=self._facts(),
            api_server=self._around.api.host_and_port,
            config=self._around.config,
        )

    def _say(self, container: Container, reason: str, message: str) -> None:
        self._around.announcer.normal(About.pod(self._pod, container.name), reason, message)

    def _warn(self, container: Container, reason: str, message: str) -> None:
        self._around.announcer.warning(About.pod(self._pod, container.name), reason, message)


def _differs(old: Pod, new: Pod) -> bool:
    """Whether a pod has changed in what is worth keeping."""
    return (
        old.raw["spec"] != new.raw["spec"]
        or old.labels != new.labels
        or old.annotations != new.annotations
        or old.deletion_grace != new.deletion_grace
        or old.phase != new.phase
    )


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

"""One pod on this node, from the moment it is bound until nothing of it is left.

A worker takes rounds: take what the API server says, look at what the containers have done, ask
``lifecycle.plan`` what comes next, do it, and tell the API server. When nothing is left to do, its
thread ends; the next change of the pod starts another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from headway_cluster.node import fields
from headway_cluster.node.addresses import NoAddressLeftError
from headway_cluster.node.admitting import refusal
from headway_cluster.node.announcing import About
from headway_cluster.node.container_story import Story
from headway_cluster.node.environment import Facts
from headway_cluster.node.lifecycle import Backoff, Plan, plan
from headway_cluster.node.pod_folder import Accepted, PodFolder
from headway_cluster.node.pods import Container, Pod, RestartPolicy
from headway_cluster.node.probing import Kind, Outcome, Prober, Target
from headway_cluster.node.references import References
from headway_cluster.node.retries import Retries
from headway_cluster.node.rounds import Rounds
from headway_cluster.node.runs import Run
from headway_cluster.node.starting import VOLUMES, Starter
from headway_cluster.node.status import Circumstances, Verdict, build
from headway_cluster.node.surroundings import Surroundings
from headway_cluster.node.telling import DELETION, STATUS, Teller

log = logging.getLogger(__name__)

_SETTLING = 0.3
"""Seconds that a start may take before the status says that it is under way."""
_LOOK_AGAIN = 0.05
_ORPHAN_GRACE = 2.0
"""Seconds that containers get whose pod no longer exists: nobody waits for them."""
_LEAST_GRACE = 1.0
"""A deleted pod's containers get at least this, as kubelet grants."""


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

        self._accepted = folder.accepted()
        self._stories: dict[str, Story] = {one.name: Story() for one in pod.containers}
        self._rounds = Rounds(pod.key, self._stories.values(), self._turn, lambda: self.done)
        self._retries = Retries()
        self._starter = Starter(around, folder, self._retries)
        self._teller = Teller(around.api, pod, self._retries)
        self._warned: tuple[str, ...] = ()
        self._settle_at: float | None = None
        self._closed = False
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
        return self._rounds.over or self._closed

    def update(self, pod: Pod) -> None:
        """The API server says this of the pod now."""
        with self._lock:
            self._news = pod
        self._rounds.rouse()

    def gone(self) -> None:
        """The API server no longer has the pod."""
        with self._lock:
            self._gone = True
        self._rounds.rouse()

    def shut_down(self, grace: float) -> None:
        """The node goes: end the pod within so many seconds."""
        with self._lock:
            before = self._shutdown_grace
            self._shutdown_grace = grace if before is None else min(before, grace)
        self._rounds.rouse()

    def begin(self) -> None:
        """Look at the pod."""
        self._rounds.rouse()

    def join(self, deadline: float) -> bool:
        """Wait until the pod is done, up to a monotonic time; returns whether it is."""
        while not self.done and time.monotonic() < deadline:
            if not self._rounds.wait(min(0.05, max(deadline - time.monotonic(), 0.0))):
                break
        return self.done

    def container(self, name: str) -> tuple[Run | None, Run | None, str] | None:
        """A container's latest run, the run before it, and why it has none; for its logs."""
        story = self._stories.get(name)
        if story is None:
            return None
        return story.run, story.before, (story.waiting or ("ContainerCreating", ""))[0]

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
                try:
                    self._folder.save_pod(news)
                except OSError as error:
                    # The next agent is told by the API server, too.
                    log.warning("pod %s cannot be kept: %s", self._pod.key, error)
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
            self._stories[container.name].take_up(self._pod, container, self._folder)
        if self._pod.restart_policy is RestartPolicy.ALWAYS and (no := self._refusal()):
            # Its owner would replace a failed pod at once, for ever: it waits, as at a kubelet
            # that cannot pull an image.
            self._around.announcer.warning(About.pod(self._pod), no.reason, no.message)
            self._retries.never(VOLUMES)
            for story in self._stories.values():
                story.waiting = (no.reason, no.message)
        self._starter.prepare(self._pod, self._facts())

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
        try:
            self._folder.save_pod(pod)
            self._folder.save_accepted(accepted)
        except OSError as error:
            self._around.announcer.warning(
                About.pod(pod), "FailedAdmission", f"this node cannot keep it now: {error}"
            )
            raise
        self._accepted = accepted

    def _refusal(self) -> Verdict | None:
        return refusal(self._pod, self._around)

    # What has happened

    def _observe(self, container: Container) -> None:
        story = self._stories[container.name]
        if story.run is None:
            return
        state = story.state = story.run.state()
        if state.exit is not None:
            if not story.counted:
                story.end(container, state.exit)
                if state.exit.error is not None:
                    self._warn(container, "Failed", f"Error: {state.exit.error}")
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
        if probed and story.prober is None and self._starter.volumes_made:
            self._probe(container, story, state.started)

    def _probe(self, container: Container, story: Story, started: float) -> None:
        run = story.run
        spec = run.spec() if run is not None else None
        launcher = self._starter.launcher(self._pod, self._facts())
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
            self._rounds.rouse()

        prober = Prober(
            container, target, tell, started=started, passed_startup=story.passed_startup
        )
        prober.start()
        story.prober = prober

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
        story.stop(grace)

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
            story.stop(self._grace())
        for name, at in (decided.restart_at or {}).items():
            story = self._stories[name]
            if story.waiting is None and at > now:
                self._warn(
                    self._named(name),
                    "BackOff",
                    f"Back-off restarting failed container {name} in pod {self._pod.name}",
                )
        due = [one for one in decided.start if self._retries.is_due(one.name)]
        references = References(self._around.api, self._pod)
        if not self._stopping:
            self._starter.provide(self._pod, references, now)
        if not self._starter.volumes_made:
            return
        for container in due:
            story = self._stories[container.name]
            if self._starter.start(self._pod, container, story, self._facts(), references):
                self._settle_at = time.time() + _SETTLING

    # What the API server is told

    def _report(self, decided: Plan) -> None:
        assert self._accepted is not None  # noqa: S101 - for the type checker
        if self._gone or self._pod.is_final or not self._retries.is_due(STATUS):
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
            volumes_made=self._starter.volumes_made,
        )
        status = build(self._pod, pasts, decided, around, self._teller.known, now)
        if not self._teller.status(self._pod, status):
            self._gone = True

    def _close(self) -> None:
        """Nothing runs any more: clean up as far as the API server knows it."""
        if not (self._gone or self._pod.is_final or self._teller.end_is_known):
            return
        if not self._closed:
            self._closed = True
            self._starter.clean_up()
        self._leave()

    def _finish_unaccepted(self) -> float | None:
        """A pod that had ended before this node knew it: there is only its deletion to confirm."""
        self._closed = True
        self._leave()
        again = self._retries.next_of({DELETION})
        return None if again is None else time.time() + again

    def _leave(self) -> None:
        """Let the pod go, if it has to."""
        asked_to = not self._gone and self._pod.deletion_grace is not None
        if asked_to and not self._teller.deletion(self._pod):
            self._gone = True
        if self._gone:
            self._vanish()

    def _vanish(self) -> None:
        """The pod is gone: nothing of it stays."""
        for story in self._stories.values():
            story.close()
        if self._accepted is not None:
            if self._folder.exists:
                self._folder.remove()
            if not self._pod.host_network:
                self._around.addresses.give_back(self._accepted.ip)
        self._rounds.end()
        self._forget(self)

    def _wake_at(self, decided: Plan) -> float | None:
        if self._rounds.over:
            return None
        now = time.time()
        times: list[float | None] = []
        for story in self._stories.values():
            if story.under_way is None:
                continue
            if story.silent:
                times.append(now + _LOOK_AGAIN)
            elif story.state.started is None:
                times.append(now + _SETTLING)
        if not decided.over:
            times.append(decided.wake_at)
            if self._pod.active_deadline is not None and not self._stopping:
                assert self._accepted is not None  # noqa: S101 - for the type checker
                times.append(self._accepted.time + self._pod.active_deadline)
            if self._starter.refresh_at is not None:
                times.append(max(self._starter.refresh_at, now))
        waited_for = {STATUS, DELETION}
        if not self._stopping:
            waited_for |= {VOLUMES, *(one.name for one in decided.start)}
        if (again := self._retries.next_of(waited_for)) is not None:
            times.append(now + again)
        return min((at for at in times if at is not None), default=None)

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

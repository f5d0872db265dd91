"""Random histories of all that can happen to a run, for the real controller on a real API server.

Pods run on scripted nodes (``scripted_nodes.py``), and a scripted Kueue lets runs start; everything
else is real: API server, etcd, Job controller, scheduler, and the controller, which is killed, cut
off, made to see late, and run twice. The promises are checked at every change (``watcher.py``) and
in every pod. At the end of a history all is healed, and every run has to come to its end.

What can meet what is read from the table of docs/lifecycle.md. A pair counts as met where the event
really happened, in the phase in which the run really was.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from chaos_world import NAMESPACE, World
from headway.client_errors import ClientError
from headway.cluster_api import MERGE_PATCH
from headway_api import names
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as chosen_by
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from lifecycle_page import CELLS, NOWHERE
from scripted_nodes import Trainer, names_of_ends
from waiting import eventually
from watcher import phase_of

RUNS = 5
"""Operations that a history makes at most."""
STEPS = 16
QUEUE = "chaos"
PHASES = (
    "Pending",
    "Queued",
    "Starting",
    "Running",
    "Cancelling",
    "Suspending",
    "Suspended",
    "Retrying",
    "final",
)
HEALED_WITHIN = 150.0
GONE_WITHIN = 240.0
"""Seconds that the garbage collector may take after an outage: it begins by learning all kinds."""
AT_ONCE = 40
"""Deleted operations after which is waited until nothing is left of them."""
QUICKEST = 5.0
"""Seconds that a history takes at least."""
Object = dict[str, Any]


class History:
    """One history: what exists, what may happen, and what happened."""

    def __init__(
        self,
        number: int,
        world: World,
        met: Counter[tuple[str, str]],
        outages: Counter[str],
    ) -> None:
        self.number = number
        self.chance = random.Random(number)
        self.world = world
        self.cluster = world.cluster
        self.watcher = world.watcher
        self.operator = world.operator
        self.plane = world.plane
        self.met = met
        self.outages = outages
        self.made: list[str] = []
        self.queued: set[str] = set()
        self.deleted: set[str] = set()
        self.stopping: str | None = None
        self.told: list[str] = []
        self.light_at: dict[str, float] = {}

    # What happens to one run

    def create(self, chance: random.Random) -> None:
        self.chance = chance
        name = f"h{self.number}-{len(self.made)}"
        self.cluster.styles[name] = self.chance.choice(
            ["polite", "polite", "deaf", "deaf", "deaf", "plain"]
        )
        self.cluster.pulls[name] = self.chance.choice([0, 0, 0, 3, 6])
        spec: Object = {
            "type": "Custom",
            "custom": {"command": ["scripted"]},
            "cancelGracePeriodSeconds": self.chance.choice([2, 6, 20]),
            "storage": {"existingClaim": {"claimName": "workspace"}},
            "retryPolicy": {
                "limit": self.chance.choice([0, 1, 3]),
                "backoffSeconds": self.chance.choice([0, 2, 8]),
            },
            "podTemplate": {"spec": {"nodeSelector": {"scripted": "true"}, "volumes": []}},
        }
        if self.chance.random() < 0.15:
            spec["suspend"] = True
        if self.chance.random() < 0.35:
            spec["queueName"] = QUEUE
            self.queued.add(name)
        if self.chance.random() < 0.1:  # no such node: it waits in Starting
            spec["podTemplate"]["spec"]["nodeSelector"] = {"scripted": "never"}
        body = {
            "apiVersion": "headway.dev/v1alpha1",
            "kind": "TrainingOperation",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.cluster.request("POST", self.cluster.operations, body=body)
        self.made.append(name)
        if self.operator.runs and self.chance.random() < 0.8:
            self._wait(lambda: self._phase(name) not in ("Pending", "Starting"), 4)

    def change(self, name: str, **spec: Any) -> str:
        """Change the spec; returns the phase in which that met the run."""
        changed = self.cluster.request(
            "PATCH",
            f"{self.cluster.operations}/{name}",
            body={"spec": spec},
            content_type=MERGE_PATCH,
        )
        return phase_of(changed)

    def cancel(self, name: str) -> str:
        return self.change(name, cancel=True)

    def suspend(self, name: str) -> str:
        return self.change(name, suspend=True)

    def resume(self, name: str) -> str:
        return self.change(name, suspend=None)

    def delete(self, name: str) -> bool:
        self.cluster.deleted.add(name)
        self.cluster.request("DELETE", f"{self.cluster.operations}/{name}")
        self.deleted.add(name)
        self.world.deleted.add(name)
        return True

    def end(self, name: str, code: int, reason: str, claim: str) -> bool:
        trainer = self.cluster.trainer_of(name)
        if trainer is None or trainer.end is not None:
            return False
        trainer.end = (code, reason, claim)
        return True

    def success(self, name: str) -> bool:
        return self.end(name, 0, "Completed", "success")

    def failure(self, name: str) -> bool:
        return self.end(name, self.chance.choice([1, 3, 139]), "Error", "failed")

    def oom(self, name: str) -> bool:
        return self.end(name, 137, "OOMKilled", "")

    def sigterm(self, name: str) -> bool:
        how = self.chance.choice(["signal", "evict", "delete"])
        pods = self.cluster.on_a_node(name)
        if how == "signal" or not pods:
            return self.end(name, 143, "Error", "interrupted")
        if how == "delete":
            self.cluster.delete_pod(pods[0])
            return True
        pod = pods[0]["metadata"]["name"]
        self.cluster.deleted.add(pods[0]["metadata"]["uid"])
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": NAMESPACE},
        }
        self.cluster.request("POST", f"{self.cluster.pods_path(pod)}/eviction", body=body)
        return True

    def deadline(self, name: str) -> str:
        return self.change(name, activeDeadlineSeconds=1)

    def stall(self, name: str) -> str | bool:
        trainer = self.cluster.trainer_of(name)
        if trainer is None:
            return False
        trainer.stalled = True
        return self.change(name, progressDeadlineSeconds=10)

    # What its queue does

    def admission(self, name: str) -> bool:
        return self.cluster.admit(name)

    def preemption(self, name: str) -> bool:
        return self.cluster.preempt(name)

    # What happens to everything

    def node_loss(self, name: str) -> bool:
        """The node of a run falls silent, and mostly the cluster gives its pods up."""
        given_up = self.chance.random() < 0.8
        for pod in self.cluster.on_a_node(name)[:1]:
            node = pod["spec"]["nodeName"]
            self.cluster.dark.add(node)
            self.light_at[node] = time.monotonic() + self.chance.uniform(1, 5)
            self.cluster.set_ready(node, "Unknown")
            if given_up:
                self.cluster.delete_pod(pod)
            return True
        return False

    def reboot(self, name: str) -> bool:
        """Its node forgets what it ran: a trainer that ran is found to have ended, somehow."""
        uids = [p["metadata"]["uid"] for p in self.cluster.on_a_node(name)]
        return any(self.cluster.trainers.pop(uid, None) is not None for uid in uids)

    def lost_node(self, name: str) -> bool:
        if not self.cluster.dark and self.chance.random() < 0.6:
            return self.node_loss(name)
        return self.reboot(name)

    def operator_death(self, _: str) -> bool:
        """All of them die; mostly another one comes at once, or two of them."""
        died = self.operator.kill()
        if self.chance.random() < 0.6:
            self._start_the_operator()
        return died

    def _start_the_operator(self) -> None:
        """One, or two; mostly the next thing happens when they are at work."""
        self.operator.start(self.chance.choice([1, 1, 2]))
        if self.chance.random() < 0.7:
            self._wait(lambda: self.operator.at_work, 20)

    def _wait(self, condition: Callable[[], bool], most: float) -> None:
        """Wait for something, and go on without it after so many seconds."""
        deadline = time.monotonic() + most
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)

    def api_outage(self, _: str) -> bool:
        """Nobody answers for a moment, or nobody is there, or every watch is just cut."""
        plane = self.plane.local.control_plane
        pid = plane.pid("kube-apiserver")
        how = self.chance.choice(["silent", "silent", "cut", "away"])
        self.outages[how] += 1
        if how != "silent" or pid is None:
            plane.restart("kube-apiserver", away=self.chance.uniform(1, 3) * (how == "away"))
            return True
        with stopped(pid):
            time.sleep(self.chance.uniform(0.5, 3))
        return True

    def see_late(self) -> None:
        """The controllers stand still for a moment, and then act on what they saw before it."""
        with contextlib.ExitStack() as all_of_them:
            for pid in self.operator.pids:
                all_of_them.enter_context(stopped(pid))
            time.sleep(self.chance.uniform(0.3, 2))

    # The history

    EVENTS: ClassVar[dict[str, Callable[[History, str], str | bool]]] = {
        "cancel": cancel,
        "suspend": suspend,
        "resume": resume,
        "delete": delete,
        "success": success,
        "failure": failure,
        "OOM": oom,
        "SIGTERM": sigterm,
        "node loss": lost_node,
        "deadline": deadline,
        "stall": stall,
        "operator death": operator_death,
        "API outage": api_outage,
    }
    OF_THE_QUEUE: ClassVar[dict[str, Callable[[History, str], str | bool]]] = {
        "admission": admission,
        "preemption": preemption,
    }
    """What happens to queued runs beside all that."""

    def step(self, chance: random.Random) -> None:
        """Let something happen."""
        self.chance = chance
        self._light()
        if self.operator.runs and self.chance.random() < 0.05:
            self.told.append("the controllers see late")
            self.see_late()
        if not self.operator.runs and self.chance.random() < 0.5:
            self._start_the_operator()
        under_way = [n for n in self.made if n not in self.deleted and self._phase(n) != "final"]
        if len(self.made) < RUNS and (not under_way or self.chance.random() < 0.3):
            self.create(chance)
            return
        name, event = self._choose()
        if name is None:
            return
        self._happen(name, event)
        self.stopping = name if event in STOPS else None
        if self.stopping and self.operator.runs and self.cluster.trainer_of(name):
            # It soon has stopped: what can meet it before that, meets it now.
            self._wait(lambda: self._phase(name) in (*BRIEF, "Suspended", "final"), 3)
        else:
            time.sleep(self.chance.choice([0, 0.05, 0.3, 0.3, 1.0, 1.5]))

    def _happen(self, name: str, event: str) -> None:
        try:
            found = self.cluster.request("GET", f"{self.cluster.operations}/{name}")
            phase = in_the_table(phase_of(found))
            self.told.append(f"{event} while {name} is {phase}")
            happened = {**self.EVENTS, **self.OF_THE_QUEUE}[event](self, name)
        except ClientError as error:
            self.told.append(f"  refused: {error}")
            return
        if isinstance(happened, str) and (met := in_the_table(happened)) != phase:
            self.told.append(f"  it was {met} by then")
            phase = met
        if not happened:
            self.told.append("  there was nothing to meet any more")
        elif event in self.OF_THE_QUEUE or possible(phase, event):
            self.met[phase, event] += 1

    def _phase(self, name: str) -> str:
        return in_the_table(self.watcher.phase(name))

    def _choose(self) -> tuple[str | None, str]:
        """A run and an event; such a pair as was met least."""
        alive = [n for n in self.made if n not in self.deleted]
        if self.stopping and self.cluster.trainer_of(self.stopping):
            alive = [self.stopping]
        pairs = [
            (name, event)
            for name in alive
            for event in self.EVENTS
            if possible(self._phase(name), event) and self._can(name, event)
        ]
        for name in self.queued & set(alive):
            if self._phase(name) == "Queued":
                pairs += [(name, "admission")] * ADMITTED
            elif self._phase(name) in ("Starting", "Running"):
                pairs.append((name, "preemption"))
        if not pairs:
            return None, ""
        brief = [(n, e) for n, e in pairs if self._phase(n) in BRIEF]
        if brief and self.chance.random() < 0.7:
            return min(brief, key=lambda pair: self.met[self._phase(pair[0]), pair[1]])
        return self.chance.choices(pairs, [self._likely(*pair) for pair in pairs])[0]

    def _likely(self, name: str, event: str) -> float:
        phase = self._phase(name)
        often = OFTEN.get(event, 1.0)
        if phase == "Running" and event in STOPS:
            often = RARELY_POSSIBLE
        return often / (1 + self.met[phase, event]) ** 2

    def _can(self, name: str, event: str) -> bool:
        """Whether there is what an event needs, as far as was seen."""
        match event:
            case "resume":
                return bool(self.watcher.latest.get(name, {}).get("spec", {}).get("suspend"))
            case "operator death":
                return self.operator.runs
            case "node loss":
                runs = self.cluster.trainer_of(name) is not None
                return runs or bool(self.cluster.on_a_node(name) and not self.cluster.dark)
            case "success" | "failure" | "OOM" | "SIGTERM" | "stall":
                return self.cluster.trainer_of(name) is not None
        return True

    def _light(self, *, all_of_it: bool = False) -> None:
        """Nodes whose time in the dark is over come back, and end what was deleted meanwhile."""
        for node, due in list(self.light_at.items()):
            if all_of_it or time.monotonic() >= due:
                self.cluster.dark.discard(node)
                del self.light_at[node]
                self.cluster.set_ready(node, "True")

    def check(self) -> None:
        assert not self.cluster.violations, "\n".join([*self.cluster.violations, *self.told])

    def heal(self) -> None:
        """Whatever happened, every run comes to its end."""
        self._light(all_of_it=True)
        self.operator.start()
        left = [n for n in self.made if n not in self.deleted]
        for name in left:
            eventually(lambda name=name: self._freed(name), within=30, why="the API answers")
        try:
            eventually(
                lambda: self._over(left), within=HEALED_WITHIN, why="every run is over", every=0.3
            )
        except AssertionError as error:
            error.add_note("\n".join([*self._stuck(left), *self.told]))
            raise
        self.check()
        for name in left:
            self.delete(name)
        if len(self.world.deleted) > AT_ONCE:
            nothing_is_left(self.world)
        self.check()

    def _freed(self, name: str) -> bool:
        try:
            self.change(
                name, suspend=None, progressDeadlineSeconds=None, cancelGracePeriodSeconds=1
            )
            found = self.cluster.request("GET", f"{self.cluster.operations}/{name}")
            if "never" in json.dumps(found["spec"]["podTemplate"]):
                self.change(name, cancel=True)
            self.cluster.pulls[name] = 0
        except ClientError:
            return False
        return True

    def _over(self, left: list[str]) -> bool:
        for name in left:
            if name in self.queued:
                self.cluster.admit(name)
            trainer = self.cluster.trainer_of(name)
            if trainer is not None and trainer.end is None and settled(trainer):
                trainer.end = (0, "Completed", "success")
        return all(self._phase(name) == "final" and self._answered(name) for name in left)

    def _answered(self, name: str) -> bool:
        """Whether a cancel, also one that came too late, has its receipt."""
        operation = self.watcher.latest[name]
        receipt = operation["status"].get("cancellation") or {}
        return not operation["spec"].get("cancel") or "outcome" in receipt

    def _stuck(self, left: list[str]) -> Iterator[str]:
        """What there is, right now, of the runs that are not over."""
        for name in left:
            if self._phase(name) == "final" and self._answered(name):
                continue
            yield f"{name}: {json.dumps(self.watcher.latest.get(name))[:4000]}"
            for path in (self.cluster.jobs_path(), self.cluster.pods_path()):
                for found in self.cluster.listed(path, name):
                    yield f"  {found['metadata']['name']}: {json.dumps(found['status'])[:2000]}"


def nothing_is_left(world: World) -> None:
    """Wait until nothing is left of what was deleted.

    Raises:
        AssertionError: something is; it says what, and in which state.
    """

    def left() -> list[str]:
        jobs = world.cluster.request("GET", world.cluster.jobs_path())
        pods = world.cluster.request("GET", world.cluster.pods_path())
        found = [*(jobs.get("items") or ()), *(pods.get("items") or ())]
        told = [
            f"{o['metadata']['name']} {o['status'].get('phase', 'Job')} "
            f"{o['metadata'].get('deletionTimestamp', 'not deleted')} "
            f"{o['metadata'].get('finalizers', '')}"
            for o in found
            if o["metadata"]["labels"].get(names.LABEL_OPERATION) in world.deleted
        ]
        assert not told, told
        return told

    eventually(lambda: left() == [], within=GONE_WITHIN, why="nothing is left", every=0.3)
    world.deleted.clear()


ADMITTED = 2
"""How much likelier an admission is than another event that meets a queued run."""
OFTEN = {
    "cancel": 0.4,
    "delete": 0.2,
    "deadline": 0.4,
    "success": 0.5,
    "stall": 0.6,
    "operator death": 0.6,
    "API outage": 0.3,
}
"""What ends a run, or takes long, comes less often than the rest."""


STOPS = ("cancel", "suspend")
BRIEF = ("Cancelling", "Suspending")
"""Phases that last no longer than a trainer takes to stop."""
RARELY_POSSIBLE = 3.0
"""How much likelier a stop of a trainer is: it alone leads to a brief phase."""


def possible(phase: str, event: str) -> bool:
    """Whether an event can meet a phase: what docs/lifecycle.md has a dash for cannot."""
    return CELLS[phase, event] != NOWHERE


def in_the_table(phase: str) -> str:
    """A phase as the table calls it."""
    return "final" if phase in names_of_ends() else phase


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still for the length of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def settled(trainer: Trainer) -> bool:
    """Whether it has done what it can before it is told to end well."""
    return trainer.style == "plain" or trainer.stalled or trainer.step >= 1


_CHANCES = st.integers(0, 2**32)


class Machine(RuleBasedStateMachine):
    """Hypothesis' side of it: it chooses what happens, and keeps to it when a history is repeated.

    Attributes:
        world: where.
        met: how often each pair of a phase and an event was met.
        outages: how often the API server was silent, away, or cut every watch.
        until: when no other history begins, on the monotonic clock.
        lived: histories and steps.
    """

    world: ClassVar[World]
    met: ClassVar[Counter[tuple[str, str]]]
    outages: ClassVar[Counter[str]]
    until: ClassVar[float]
    lived: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.history: History | None = None

    # What can happen depends on the world, so Hypothesis chooses only what chance is made of.

    @initialize(chance=_CHANCES)
    def a_history_begins(self, chance: int) -> None:
        if time.monotonic() < self.until:
            self.lived["histories"] += 1
            number = self.lived["histories"]
            self.history = History(number, self.world, self.met, self.outages)
            self.history.create(random.Random(chance))

    @rule(chance=_CHANCES)
    def something_happens(self, chance: int) -> None:
        if self.history is not None:
            self.history.step(random.Random(chance))

    @invariant()
    def no_promise_is_broken(self) -> None:
        if self.history is not None:
            self.history.check()

    def teardown(self) -> None:
        """All is healed, and everything comes to its end; a history that failed is printed."""
        if self.history is None:
            return
        self.lived["steps"] += len(self.history.told)
        try:
            self.history.heal()
        except BaseException as error:
            print(f"{error!r}\nthe history:", *self.history.told, sep="\n  ")
            print(self.world.log.read_text()[-6000:])
            raise


def live(world: World, seed: int, minutes: float) -> Counter[tuple[str, str]]:
    """Live through histories for so long, and tell what was met.

    Args:
        world: where.
        seed: which histories.
        minutes: for how long; the last history is finished.

    Returns:
        How often each pair of a phase and an event was met.
    """
    met: Counter[tuple[str, str]] = Counter()
    machine = type("Histories", (Machine,), {})
    machine.world, machine.met = world, met
    machine.lived, machine.outages = Counter(), Counter()
    machine.until = time.monotonic() + minutes * 60
    run_state_machine_as_test(
        chosen_by(seed)(machine),
        settings=settings(
            max_examples=math.ceil(minutes * 60 / QUICKEST),
            stateful_step_count=STEPS,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    nothing_is_left(world)
    tell(seed, machine.lived, met, machine.outages, world)
    return met


def never_met(met: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs that are possible, and were not met."""
    return [
        (phase, event)
        for phase in PHASES
        for event in History.EVENTS
        if possible(phase, event) and not met[phase, event]
    ]


def tell(
    seed: int,
    lived: Counter[str],
    met: Counter[tuple[str, str]],
    outages: Counter[str],
    world: World,
) -> None:
    """Print what was met."""
    per_event = Counter[str]()
    for (_, event), count in met.items():
        per_event[event] += count
    counts = f"{lived['histories']} histories, {lived['steps']} steps"
    print(f"\nseed {seed}: {counts}, {per_event['operator death']} kills,", end=" ")
    print(f"API server {', '.join(f'{how} {count} times' for how, count in outages.items())},")
    print(f"{world.operator.ended} controllers ended by themselves,", end=" ")
    print(", ".join(f"{per_event[event]} {event}s" for event in History.OF_THE_QUEUE))
    print("phases begun:", dict(world.watcher.phases))
    width = max(map(len, History.EVENTS))
    print(" " * width, *(f"{phase:>10}" for phase in PHASES))
    for event in History.EVENTS:
        counts = [
            f"{met[phase, event]:>10}" if possible(phase, event) else f"{'-':>10}"
            for phase in PHASES
        ]
        print(f"{event:<{width}}", *counts)

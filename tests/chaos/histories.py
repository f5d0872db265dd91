"""Random histories of all that can happen to a run, for the real controller on a real API server.

Pods run on scripted nodes (``scripted_nodes.py``), everything else is real: API server, etcd, Job
controller, scheduler, and the controller, which is killed, cut off and made to see late. The
promises are checked at every change. At the end of a history all is healed, and every run has to
come to its end.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from chaos_world import NAMESPACE, World
from headway.client_errors import ClientError
from headway.cluster_api import MERGE_PATCH
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
from scripted_nodes import Trainer, names_of_ends
from waiting import eventually
from watcher import Watcher

RUNS = 3
"""Operations that a history has at most, side by side."""
STEPS = 16
PHASES = (
    "Pending",
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
    ) -> None:
        self.number = number
        self.chance = random.Random(number)
        self.cluster = world.cluster
        self.watcher = world.watcher
        self.operator = world.operator
        self.plane = world.plane
        self.met = met
        self.made: list[str] = []
        self.deleted: set[str] = set()
        self.stopping: str | None = None
        self.told: list[str] = []
        self.light_at: dict[str, float] = {}

    # What happens to one run

    def create(self, chance: random.Random) -> None:
        self.chance = chance
        name = f"h{self.number}-{len(self.made)}"
        self.cluster.styles[name] = self.chance.choice(
            ["polite", "polite", "deaf", "deaf", "plain"]
        )
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
            deadline = time.monotonic() + 3
            while self._phase(name) in ("Pending", "Starting") and time.monotonic() < deadline:
                time.sleep(0.05)

    def change(self, name: str, **spec: Any) -> None:
        self.cluster.request(
            "PATCH",
            f"{self.cluster.operations}/{name}",
            body={"spec": spec},
            content_type=MERGE_PATCH,
        )

    def cancel(self, name: str) -> None:
        self.change(name, cancel=True)

    def suspend(self, name: str) -> None:
        self.change(name, suspend=True)

    def resume(self, name: str) -> None:
        self.change(name, suspend=None)

    def delete(self, name: str) -> None:
        self.cluster.request("DELETE", f"{self.cluster.operations}/{name}")
        self.deleted.add(name)

    def end(self, name: str, code: int, reason: str, claim: str) -> None:
        trainer = self.cluster.trainer_of(name)
        if trainer is not None:
            trainer.end = (code, reason, claim)

    def success(self, name: str) -> None:
        self.end(name, 0, "Completed", "success")

    def failure(self, name: str) -> None:
        self.end(name, self.chance.choice([1, 3, 139]), "Error", "failed")

    def oom(self, name: str) -> None:
        self.end(name, 137, "OOMKilled", "")

    def sigterm(self, name: str) -> None:
        how = self.chance.choice(["signal", "evict", "delete"])
        pods = self.cluster.living(name)
        if how == "signal" or not pods:
            self.end(name, 143, "Error", "interrupted")
            return
        pod = pods[0]["metadata"]["name"]
        if how == "delete":
            self.cluster.request("DELETE", self.cluster.pods_path(pod))
            return
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": NAMESPACE},
        }
        self.cluster.request("POST", f"{self.cluster.pods_path(pod)}/eviction", body=body)

    def deadline(self, name: str) -> None:
        self.change(name, activeDeadlineSeconds=1)

    def stall(self, name: str) -> None:
        trainer = self.cluster.trainer_of(name)
        if trainer is not None:
            trainer.stalled = True
            self.change(name, progressDeadlineSeconds=10)

    # What happens to everything

    def node_loss(self, name: str) -> None:
        """The node of a run falls silent, and the cluster gives its pods up."""
        for pod in self.cluster.living(name):
            node = pod["spec"].get("nodeName")
            if node and not self.cluster.dark:
                self.cluster.dark.add(node)
                self.light_at[node] = time.monotonic() + self.chance.uniform(1, 5)
                self.cluster.set_ready(node, "Unknown")
                self.cluster.request("DELETE", self.cluster.pods_path(pod["metadata"]["name"]))

    def reboot(self, name: str) -> None:
        for pod in self.cluster.living(name):
            self.cluster.trainers.pop(pod["metadata"]["uid"], None)

    def lost_node(self, name: str) -> None:
        self.chance.choice([self.node_loss, self.reboot])(name)

    def operator_death(self, _: str) -> None:
        self.operator.kill()
        if self.chance.random() < 0.6:
            self.operator.start()

    def api_outage(self, _: str) -> None:
        """For a moment nobody answers; or every watch is cut, and everybody has to begin anew."""
        pid = self.plane.local.control_plane.pid("kube-apiserver")
        if self.chance.random() < 0.5 or pid is None:
            self.plane.local.control_plane.restart("kube-apiserver", away=0)
            return
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(self.chance.uniform(0.5, 3))
        finally:
            os.kill(pid, signal.SIGCONT)

    # The history

    EVENTS: ClassVar[dict[str, Callable[[History, str], None]]] = {
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

    def step(self, chance: random.Random) -> None:
        """Let something happen."""
        self.chance = chance
        self._light()
        if not self.operator.runs and self.chance.random() < 0.5:
            self.operator.start()
        if len(self.made) < RUNS and self.chance.random() < 0.3:
            self.create(chance)
            return
        name, event = self._choose()
        if name is None:
            return
        phase = self._phase(name)
        self.told.append(f"{event} while {name} is {phase}")
        try:
            self.EVENTS[event](self, name)
            self.met[phase, event] += 1
        except ClientError as error:
            self.told.append(f"  refused: {error}")
        self.stopping = name if event in ("cancel", "suspend") else None
        # A trainer that was asked to stop soon has: what can meet it then, meets it now.
        pauses = [0.05, 0.1, 0.3] if self.stopping else [0, 0.05, 0.3, 0.3, 1.0, 1.5]
        time.sleep(self.chance.choice(pauses))

    def _phase(self, name: str) -> str:
        phase = self.watcher.phase(name)
        return "final" if phase in names_of_ends() else phase

    def _choose(self) -> tuple[str | None, str]:
        """A run and an event; such a pair as was met least."""
        alive = [n for n in self.made if n not in self.deleted]
        if self.stopping and self.cluster.trainer_of(self.stopping):
            alive = [self.stopping]
        pairs = [
            (name, event)
            for name in alive
            for event in self.EVENTS
            if possible(self._phase(name), event)
            and (event not in NEED_A_TRAINER or self.cluster.trainer_of(name))
            and (event != "resume" or self._suspended(name))
        ]
        if not pairs:
            return (alive[0] if alive else None), "operator death"
        weights = [1 / (1 + self.met[self._phase(n), e]) ** 2 * OFTEN.get(e, 1.0) for n, e in pairs]
        return self.chance.choices(pairs, weights)[0]

    def _suspended(self, name: str) -> bool:
        return bool(self.watcher.latest.get(name, {}).get("spec", {}).get("suspend"))

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
        """Whatever happened, every run comes to its end, and leaves nothing when it is deleted."""
        self._light(all_of_it=True)
        self.operator.start()
        left = [n for n in self.made if n not in self.deleted]
        for name in left:
            eventually(lambda name=name: self._freed(name), within=30, why="the API answers")
        eventually(lambda: self._over(left), within=HEALED_WITHIN, why=self._stuck, every=0.3)
        self.check()
        for name in left:
            self.delete(name)
        eventually(lambda: self._left() == [], within=GONE_WITHIN, why="nothing is left", every=0.3)
        self.check()

    def _freed(self, name: str) -> bool:
        try:
            self.change(
                name, suspend=None, progressDeadlineSeconds=None, cancelGracePeriodSeconds=1
            )
            found = self.cluster.request("GET", f"{self.cluster.operations}/{name}")
            if "never" in json.dumps(found["spec"]["podTemplate"]):
                self.change(name, cancel=True)
        except ClientError:
            return False
        return True

    def _over(self, left: list[str]) -> bool:
        for name in left:
            trainer = self.cluster.trainer_of(name)
            if trainer is not None and trainer.end is None and settled(trainer):
                trainer.end = (0, "Completed", "success")
        return all(self._phase(name) == "final" for name in left)

    @property
    def _stuck(self) -> str:
        states = {n: self.watcher.latest.get(n, {}).get("status") for n in self.made}
        return f"every run is over; {json.dumps(states)[:6000]}\n" + "\n".join(self.told)

    def _left(self) -> list[str]:
        """Jobs and pods that are still there.

        Raises:
            AssertionError: there are some; it says which, and in which state.
        """
        jobs = self.cluster.request("GET", f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs")
        pods = self.cluster.request("GET", self.cluster.pods_path())
        found = [*(jobs.get("items") or ()), *(pods.get("items") or ())]
        told = [
            f"{o['metadata']['name']} {o['status'].get('phase', 'Job')} "
            f"{o['metadata'].get('deletionTimestamp', 'not deleted')} "
            f"{o['metadata'].get('finalizers', '')}"
            for o in found
        ]
        assert not told, told
        return told


NEED_A_TRAINER = {"success", "failure", "OOM", "SIGTERM", "node loss", "stall"}
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
WITHOUT_A_POD = {"Pending", "Suspended", "final"}


def possible(phase: str, event: str) -> bool:
    """Whether an event can meet a phase: what docs/lifecycle.md has a dash for cannot."""
    if event in NEED_A_TRAINER and phase in WITHOUT_A_POD:
        return False
    if event == "stall":
        return phase == "Running"
    if event == "resume":
        return phase in ("Suspending", "Suspended")
    return not (phase in ("Starting", "Retrying") and event in NEED_A_TRAINER)


def settled(trainer: Trainer) -> bool:
    """Whether it has done what it can before it is told to end well."""
    return trainer.style == "plain" or trainer.stalled or trainer.step >= 1


_CHANCES = st.integers(0, 2**32)


class Machine(RuleBasedStateMachine):
    """Hypothesis' side of it: it chooses what happens, and keeps to it when a history is repeated.

    Attributes:
        world: where.
        met: how often each pair of a phase and an event was met.
        until: when no other history begins, on the monotonic clock.
        lived: histories and steps.
    """

    world: ClassVar[World]
    met: ClassVar[Counter[tuple[str, str]]]
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
            self.history = History(self.lived["histories"], self.world, self.met)
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
        except BaseException:
            print("the history:", *self.history.told, sep="\n  ")
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
    machine.world, machine.met, machine.lived = world, met, Counter()
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
    tell(seed, machine.lived, met, world.watcher)
    return met


def never_met(met: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs that are possible, and were not met."""
    return [
        (phase, event)
        for phase in PHASES
        for event in History.EVENTS
        if possible(phase, event) and not met[phase, event]
    ]


def tell(seed: int, lived: Counter[str], met: Counter[tuple[str, str]], watcher: Watcher) -> None:
    """Print what was met."""
    kills = sum(count for (_, event), count in met.items() if event == "operator death")
    cuts = sum(count for (_, event), count in met.items() if event == "API outage")
    counts = f"{lived['histories']} histories, {lived['steps']} steps"
    print(f"\nseed {seed}: {counts}, {kills} kills, {cuts} outages")
    print("phases begun:", dict(watcher.phases))
    width = max(map(len, History.EVENTS))
    print(" " * width, *(f"{phase:>10}" for phase in PHASES))
    for event in History.EVENTS:
        counts = [
            f"{met[phase, event]:>10}" if possible(phase, event) else f"{'-':>10}"
            for phase in PHASES
        ]
        print(f"{event:<{width}}", *counts)

"""Random histories of all that can happen to a run, for the real controller on a real API server.

Pods run on scripted nodes (``scripted_nodes.py``), and a scripted Kueue lets runs start; everything
else is real: API server, etcd, Job controller, scheduler, and the controller, which is killed, cut
off, made to see late, and run twice (``events.py``). The promises are checked at every change
(``watcher.py``) and in every pod. At the end of a history all is healed, and every run has to come
to its end.

What can meet what is read from the table of docs/lifecycle.md. A pair counts as met where the event
really happened, in the phase in which the run really was.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator

from chaos_world import World, nothing_is_left
from events import Events, wait_for
from headway.client_errors import ClientError
from lifecycle_page import CELLS, NOWHERE
from scripted_nodes import Trainer, names_of_ends
from waiting import eventually
from watcher import phase_of

RUNS = 5
"""Operations that a history makes at most."""
HEALED_WITHIN = 150.0
AT_ONCE = 40
"""Deleted operations after which is waited until nothing is left of them."""
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


class History:
    """One history: what is chosen to happen, and what happened.

    Attributes:
        met: how often each pair of a phase and an event was met, over all histories.
        told: what happened, line by line.
    """

    def __init__(
        self, number: int, world: World, met: Counter[tuple[str, str]], outages: Counter[str]
    ) -> None:
        self.world = world
        self.cluster = world.cluster
        self.events = Events(number, world, outages)
        self.met = met
        self.told: list[str] = []
        self._stopping: str | None = None

    def create(self, chance: random.Random) -> None:
        """Make an operation; mostly the next thing happens when it has begun."""
        self.events.chance = chance
        name = self.events.create()
        if self.world.operator.runs and chance.random() < 0.8:
            wait_for(lambda: self._phase(name) not in ("Pending", "Starting"), 4)

    def step(self, chance: random.Random) -> None:
        """Let something happen."""
        self.events.chance = chance
        self.events.light()
        if self.world.operator.runs and self.events.chance.random() < 0.05:
            self.told.append("the controllers see late")
            self.events.see_late()
        if not self.world.operator.runs and self.events.chance.random() < 0.5:
            self.events.start_the_operator()
        under_way = [n for n in self.events.left if self._phase(n) != "final"]
        if len(self.events.made) < RUNS and (not under_way or self.events.chance.random() < 0.3):
            self.create(chance)
            return
        name, event = self._choose()
        if name is None:
            return
        self._happen(name, event)
        self._stopping = name if event in STOPS else None
        if self._stopping and self.world.operator.runs and self.cluster.trainer_of(name):
            # It soon has stopped: what can meet it before that, meets it now.
            wait_for(lambda: self._phase(name) in (*BRIEF, "Suspended", "final"), 3)
        else:
            time.sleep(self.events.chance.choice([0, 0.05, 0.3, 0.3, 1.0, 1.5]))

    def _happen(self, name: str, event: str) -> None:
        try:
            found = self.cluster.request("GET", f"{self.cluster.operations}/{name}")
            phase = in_the_table(phase_of(found))
            self.told.append(f"{event} while {name} is {phase}")
            happened = {**Events.ALL, **Events.OF_THE_QUEUE}[event](self.events, name)
        except ClientError as error:
            self.told.append(f"  refused: {error}")
            return
        if isinstance(happened, str) and (met := in_the_table(happened)) != phase:
            self.told.append(f"  it was {met} by then")
            phase = met
        if not happened:
            self.told.append("  there was nothing to meet any more")
        elif event in Events.OF_THE_QUEUE or possible(phase, event):
            self.met[phase, event] += 1

    def _phase(self, name: str) -> str:
        return in_the_table(self.world.watcher.phase(name))

    def _choose(self) -> tuple[str | None, str]:
        """A run and an event; such a pair as was met least."""
        alive = self.events.left
        if self._stopping and self.cluster.trainer_of(self._stopping):
            alive = [self._stopping]
        pairs = [
            (name, event)
            for name in alive
            for event in Events.ALL
            if possible(self._phase(name), event) and self._can(name, event)
        ]
        for name in self.events.queued & set(alive):
            if self._phase(name) == "Queued":
                pairs += [(name, "admission")] * ADMITTED
            elif self._phase(name) in ("Starting", "Running"):
                pairs.append((name, "preemption"))
        if not pairs:
            return None, ""
        brief = [(n, e) for n, e in pairs if self._phase(n) in BRIEF]
        if brief and self.events.chance.random() < 0.7:
            return min(brief, key=lambda pair: self.met[self._phase(pair[0]), pair[1]])
        return self.events.chance.choices(pairs, [self._likely(*pair) for pair in pairs])[0]

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
                return bool(self.world.watcher.latest.get(name, {}).get("spec", {}).get("suspend"))
            case "operator death":
                return self.world.operator.runs
            case "node loss":
                runs = self.cluster.trainer_of(name) is not None
                return runs or bool(self.cluster.on_a_node(name) and not self.cluster.dark)
            case "success" | "failure" | "OOM" | "SIGTERM" | "stall":
                return self.cluster.trainer_of(name) is not None
        return True

    def check(self) -> None:
        assert not self.cluster.violations, "\n".join([*self.cluster.violations, *self.told])

    def heal(self) -> None:
        """Whatever happened, every run comes to its end."""
        self.events.light(all_of_it=True)
        self.world.operator.start()
        left = self.events.left
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
            self.events.delete(name)
        if len(self.world.deleted) > AT_ONCE:
            nothing_is_left(self.world)
        self.check()

    def _freed(self, name: str) -> bool:
        try:
            self.events.change(
                name, suspend=None, progressDeadlineSeconds=None, cancelGracePeriodSeconds=1
            )
            found = self.cluster.request("GET", f"{self.cluster.operations}/{name}")
            if "never" in json.dumps(found["spec"]["podTemplate"]):
                self.events.change(name, cancel=True)
            self.cluster.pulls[name] = 0
        except ClientError:
            return False
        return True

    def _over(self, left: list[str]) -> bool:
        for name in left:
            if name in self.events.queued:
                self.cluster.admit(name)
            trainer = self.cluster.trainer_of(name)
            if trainer is not None and trainer.end is None and settled(trainer):
                trainer.end = (0, "Completed", "success")
        return all(self._phase(name) == "final" and self._answered(name) for name in left)

    def _answered(self, name: str) -> bool:
        """Whether a cancel, also one that came too late, has its receipt."""
        operation = self.world.watcher.latest[name]
        receipt = operation["status"].get("cancellation") or {}
        return not operation["spec"].get("cancel") or "outcome" in receipt

    def _stuck(self, left: list[str]) -> Iterator[str]:
        """What there is, right now, of the runs that are not over."""
        for name in left:
            if self._phase(name) == "final" and self._answered(name):
                continue
            yield f"{name}: {json.dumps(self.world.watcher.latest.get(name))[:4000]}"
            for path in (self.cluster.jobs_path(), self.cluster.pods_path()):
                for found in self.cluster.listed(path, name):
                    yield f"  {found['metadata']['name']}: {json.dumps(found['status'])[:2000]}"


def possible(phase: str, event: str) -> bool:
    """Whether an event can meet a phase: what docs/lifecycle.md has a dash for cannot."""
    return CELLS[phase, event] != NOWHERE


def in_the_table(phase: str) -> str:
    """A phase as the table calls it."""
    return "final" if phase in names_of_ends() else phase


def settled(trainer: Trainer) -> bool:
    """Whether it has done what it can before it is told to end well."""
    return trainer.style == "plain" or trainer.stalled or trainer.step >= 1

"""Lives through random histories for so long, and tells what was met."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from typing import ClassVar

from chaos_world import World, nothing_is_left
from events import Events
from histories import History, possible
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

STEPS = 16
QUICKEST = 5.0
"""Seconds that a history takes at least."""
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
        for event in Events.ALL
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
    print(", ".join(f"{per_event[event]} {event}s" for event in Events.OF_THE_QUEUE))
    print("phases begun:", dict(world.watcher.phases))
    width = max(map(len, Events.ALL))
    print(" " * width, *(f"{phase:>10}" for phase in PHASES))
    for event in Events.ALL:
        counts = [
            f"{met[phase, event]:>10}" if possible(phase, event) else f"{'-':>10}"
            for phase in PHASES
        ]
        print(f"{event:<{width}}", *counts)

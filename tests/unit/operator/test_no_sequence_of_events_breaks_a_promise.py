"""The plan against a model of everything around it.

No sequence of events may break a promise, and whatever happened, a fair end follows.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from world import MOVES, PROMISES, World

LENGTH = 40


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**48))
def test_no_sequence_of_events_breaks_a_promise(seed):
    chance = random.Random(seed)
    world = World()
    world.begin(
        grace=chance.choice([0, 5, 30]),
        ahead=chance.randint(0, 6),
        retries=chance.choice([0, 0, 1, 2]),
        deadline=chance.choice([0, 0, 0, 60]),
        stall=chance.choice([0, 0, 20]),
        workers=chance.choice([1, 1, 1, 2]),
        queue=chance.choice([False, False, True]),
        ttl=chance.choice([None, None, 0, 100]),
    )
    for _ in range(LENGTH):
        possible = [m for m in MOVES if m.when(world)]
        [chosen] = chance.choices(possible, [m.often for m in possible])
        details = {argument: chance.choice(options) for argument, options in chosen.choices.items()}
        note(f"{chosen.method.__name__} {details or ''}")
        chosen.method(world, **details)
        for check in PROMISES:
            check(world)
    note("and then everything comes to its end")
    world.come_to_an_end()

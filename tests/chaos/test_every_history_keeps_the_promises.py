"""Half an hour of random histories: no promise is broken, and everything meets everything.

``HEADWAY_CHAOS_MINUTES`` says for how long, ``HEADWAY_CHAOS_SEED`` which histories.
"""

from __future__ import annotations

import os

import pytest
from chaos_world import scripted_world
from living import live, never_met

MINUTES = float(os.environ.get("HEADWAY_CHAOS_MINUTES", "30"))
SEED = int(os.environ.get("HEADWAY_CHAOS_SEED", "1"))
ENOUGH = 25.0
"""Minutes from which on every phase should have met every event."""


@pytest.mark.timeout(int(MINUTES * 60) + 600)
def test_whatever_happens_every_history_keeps_the_promises(tmp_path):
    with scripted_world(tmp_path) as world:
        met = live(world, SEED, MINUTES)
    if MINUTES >= ENOUGH:
        assert not never_met(met)

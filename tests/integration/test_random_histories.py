"""A few random histories, always the same; ``make chaos`` lives through half an hour of them."""

from __future__ import annotations

import pytest
from chaos_world import scripted_world
from living import live


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_a_few_random_histories_no_promise_is_broken(tmp_path):
    with scripted_world(tmp_path) as world:
        assert live(world, seed=1, minutes=0.5)

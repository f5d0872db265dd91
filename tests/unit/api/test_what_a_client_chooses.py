"""Where the runs of a client go, by its environment."""

from __future__ import annotations

import pytest
from headway_api.environment import chosen_placement
from headway_api.vocabulary import Placement


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ("", None),
        ("0", None),
        ("false", None),
        ("true", Placement.HOST),
        ("True", Placement.HOST),
        ("1", Placement.HOST),
        ("yes", Placement.HOST),
    ],
)
def test_the_training_host_service_is_asked_for_by_a_variable(value, wanted):
    env = {} if value is None else {"USE_TRAINING_HOST_SERVICE": value}
    assert chosen_placement(env) is wanted

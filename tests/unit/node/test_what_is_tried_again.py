"""What failed is tried again, later each time."""

from __future__ import annotations

import time

import pytest
from headway_cluster.node.retries import Retries
from waiting import eventually


@pytest.fixture
def retries() -> Retries:
    return Retries()


def test_what_never_failed_is_due(retries):
    assert retries.is_due("volumes")
    assert "volumes" not in retries


def test_what_failed_waits_and_longer_each_time_up_to_a_limit(retries):
    pauses = []
    for _ in range(12):
        retries.failed("volumes", 5.0)
        pauses.append(retries.next_of({"volumes"}))
    assert "volumes" in retries
    assert not retries.is_due("volumes")
    assert pauses[0] < pauses[-1] <= 5.0


def test_what_worked_is_due_and_begins_anew(retries):
    retries.failed("trainer", 5.0)
    retries.worked("trainer")
    assert retries.is_due("trainer")
    assert retries.next_of({"trainer"}) is None


def test_what_is_never_tried_again_is_not_waited_for(retries):
    retries.never("trainer")
    retries.failed("status", 5.0)
    assert not retries.is_due("trainer")
    assert retries.next_of({"trainer"}) is None
    assert retries.next_of({"trainer", "status"}) is not None


def test_a_time_of_day_that_is_set_holds_nothing_up(retries, monkeypatch):
    retries.failed("status", 0.01)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    eventually(lambda: retries.is_due("status"), within=10, why="it is due again")


def test_only_what_is_wanted_is_waited_for(retries):
    retries.failed("status", 5.0)
    assert retries.next_of({"delete"}) is None

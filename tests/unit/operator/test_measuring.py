"""What the controller measures, and what it takes for a sign that it does not see the cluster."""

from __future__ import annotations

import pytest
from headway_api.models import TrainingOperationStatus
from headway_operator.cache import Cache
from headway_operator.measuring import Metrics
from headway_operator.view import View
from snapshots import NOW, at


def status(phase, **fields):
    return TrainingOperationStatus(phase=phase, **fields)


def test_a_run_is_started_once_however_often_it_runs():
    metrics = Metrics(Cache(lambda: NOW))
    created, started = NOW, at(3)
    running = status("Running", start_time=started)
    for before, after in (
        (status("Starting"), running),
        (running, status("Retrying", start_time=started)),
        (status("Starting", start_time=started), running),
    ):
        metrics.observe_turn("Dummy", created, before, after)
    assert metrics.registry.get_sample_value("headway_operation_start_seconds_count") == 1
    assert metrics.registry.get_sample_value("headway_operation_start_seconds_sum") == 3


@pytest.mark.parametrize(
    ("path", "code", "breaks"),
    [
        ("/api/v1/pods", 0, True),
        ("/api/v1/pods", 503, True),
        ("/api/v1/pods", 409, False),
        ("/api/v1/namespaces/team/pods/run-a1-00001/log", 500, False),
    ],
)
def test_only_what_the_api_server_does_not_answer_breaks_the_view(path, code, breaks):
    seconds = [0.0]
    view = View(lambda: at(seconds[0]), lambda: seconds[0])
    seconds[0] = 1.0
    view.observe_request("GET", path, code, 0.1)
    assert view.since == (at(1) if breaks else NOW)


def test_a_machine_that_slept_has_not_seen_the_cluster_meanwhile():
    seconds, asleep = [0.0], [0.0]
    view = View(lambda: at(seconds[0] + asleep[0]), lambda: seconds[0])
    seconds[0] = 3600.0
    assert view.since == NOW
    asleep[0] = 600.0
    assert view.since == at(4200)
    seconds[0] = 7200.0
    assert view.since == at(4200)

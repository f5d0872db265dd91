"""A training that was suspended, killed, evicted and deleted gives the same weights, bit for bit.

For every kind of model, and with the loss of its node: tests/chaos.
"""

from __future__ import annotations

import pytest
from disturbances import EPOCHS, WITHIN, disturb, load, training

KIND = "gru"
START = "2010-07-01"  # half of the prices: epochs of a second


@pytest.mark.slow
def test_interrupted_in_four_ways_a_training_ends_with_the_same_weights(kubectl):
    load(kubectl, START)
    kubectl.apply(training("alone", KIND, START), training(KIND, KIND, START))
    disturb(kubectl, KIND, EPOCHS[KIND], 1)
    status = kubectl.wait_for_phase(KIND, "Succeeded", within=WITHIN)["status"]
    ends = [a["reason"] for a in status["attempts"]]
    assert sorted(ends) == ["Completed", "Disrupted", "Disrupted", "Signalled", "Suspended"]
    assert (status["retries"], status["report"]["epochsCompleted"]) == (1, EPOCHS[KIND])
    summary = status["report"]["summary"]
    alone = kubectl.wait_for_phase("alone", "Succeeded", within=WITHIN)["status"]["report"]
    assert summary["weights_sha256"] == alone["summary"]["weights_sha256"]
    uid = kubectl.operation(KIND)["metadata"]["uid"]
    assert summary["resumed_from"].startswith(f"{uid}/a")

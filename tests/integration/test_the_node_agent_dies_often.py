"""A node agent that is killed again and again while pods come and go."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from clusters import temporary_cluster
from podspecs import a_container, a_pod
from waiting import eventually

PODS = 24


@pytest.mark.slow
def test_every_container_runs_exactly_once_however_often_the_agent_is_killed(tmp_path):
    seen = tmp_path / "seen"
    seen.touch()
    script = f"echo $HOSTNAME >> {seen}; sleep 0.3; exit 9"
    with temporary_cluster() as cluster:
        kubectl = cluster.kubectl()
        agent = cluster.local.node()
        pods = [
            {
                **a_pod(a_container("main", "sh", "-c", script), restartPolicy="Never"),
                "metadata": {"name": f"pod-{number}"},
            }
            for number in range(PODS)
        ]
        chance = random.Random(4)
        for first in range(0, PODS, 4):
            kubectl.apply(*pods[first : first + 4])
            expected = chance.randrange(first, first + 5)
            eventually(
                lambda wanted=expected: len(seen.read_text().splitlines()) >= wanted,
                within=60,
                why=f"{expected} containers have begun",
                every=0.005,
            )
            agent.kill()
            agent.start()
        eventually(
            lambda: all(one["status"].get("phase") == "Failed" for one in kubectl.items("pods")),
            within=120,
            why="every pod has ended",
        )
        ends = [
            one["status"]["containerStatuses"][0]["state"]["terminated"]
            for one in kubectl.items("pods")
        ]
    assert Counter(seen.read_text().split()) == {f"pod-{number}": 1 for number in range(PODS)}
    assert {(end["exitCode"], end["reason"]) for end in ends} == {(9, "Error")}

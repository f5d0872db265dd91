"""Two commands never change the local cluster at once."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from headway_cluster.one_at_a_time import one_at_a_time
from waiting import eventually

HOLDS = """
import sys
from pathlib import Path
from headway_cluster.one_at_a_time import one_at_a_time
with one_at_a_time(Path(sys.argv[1]), print, "waits"):
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another command that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def test_the_second_says_that_it_waits_and_goes_on_after_the_first(holder, tmp_path):
    said, held = [], threading.Event()

    def wait():
        with one_at_a_time(tmp_path / "lock", said.append, "waits"):
            held.set()

    second = threading.Thread(target=wait)
    second.start()
    eventually(lambda: said == ["waits"], within=10, why="it says that it waits")
    assert not held.is_set()
    holder.communicate("")
    assert held.wait(10)
    second.join()
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_killed_keeps_nobody_waiting(holder, tmp_path):
    holder.kill()
    holder.wait()
    said = []
    with one_at_a_time(tmp_path / "lock", said.append, "waits"):
        pass
    assert said == []
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_are_never_two(tmp_path):
    inside, seen = [], []

    def go():
        with one_at_a_time(tmp_path / "lock", lambda _: None, ""):
            inside.append(1)
            seen.append(len(inside))
            inside.pop()

    everybody = [threading.Thread(target=go) for _ in range(40)]
    for one in everybody:
        one.start()
    for one in everybody:
        one.join()
    assert seen == [1] * 40
    assert list(tmp_path.iterdir()) == []

import json
import os
import signal
import sys

import pytest
from headway_cluster.errors import ClusterError
from headway_cluster.processes import Daemon, running
from processes import pid_lives
from waiting import eventually

SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def daemon(tmp_path):
    made = Daemon("sleeper", SLEEPS, tmp_path)
    yield made
    made.kill()


def test_a_daemon_is_found_again_by_its_file(daemon, tmp_path):
    daemon.start()
    again = Daemon("sleeper", (), tmp_path)
    assert again.process() is not None
    assert again.process().pid == daemon.process().pid


def test_starting_it_twice_starts_one(daemon):
    daemon.start()
    first = daemon.process().pid
    daemon.start()
    assert daemon.process().pid == first


def test_stopping_ends_it_and_says_whether_it_ran(daemon):
    daemon.start()
    pid = daemon.process().pid
    assert daemon.stop()
    assert not pid_lives(pid)
    assert not daemon.stop()


def test_one_that_ignores_sigterm_is_killed_after_its_grace(tmp_path):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); "
    stubborn = Daemon("stubborn", [sys.executable, "-c", code + "time.sleep(600)"], tmp_path)
    stubborn.start()
    eventually(lambda: "up" in stubborn.tail(), within=30, why="it ignores SIGTERM")
    assert stubborn.stop(grace=0.1)
    assert stubborn.process() is None


def test_a_pid_that_is_somebody_elses_now_is_left_alone(tmp_path):
    file = tmp_path / "other.pid"
    file.write_text(json.dumps({"pid": os.getpid(), "created": 0.0}))
    assert running(file) is None
    assert not Daemon("other", (), tmp_path).stop()


@pytest.mark.parametrize("content", ["", "null", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_broken_pid_file_is_no_process(tmp_path, content):
    file = tmp_path / "broken.pid"
    file.write_text(content)
    assert running(file) is None


def test_a_program_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(ClusterError, match="nothing cannot be started"):
        Daemon("nothing", ["/no/such/program"], tmp_path).start()


def test_one_that_crashed_is_seen_as_not_running(daemon):
    daemon.start()
    os.kill(daemon.process().pid, signal.SIGKILL)
    eventually(lambda: daemon.process() is None, within=30, why="its end is seen")

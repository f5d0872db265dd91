import json
import os
import signal
import subprocess
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


def test_one_that_is_interrupted_as_it_starts_can_be_found(daemon, monkeypatch):
    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            signal.raise_signal(signal.SIGINT)

    # Whoever runs the tests may have them ignore Ctrl-C, as a shell does in its background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", Interrupted)
            with pytest.raises(KeyboardInterrupt):
                daemon.start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert daemon.process() is not None
    assert daemon.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_one_whose_exit_nobody_collects_has_ended_all_the_same(tmp_path):
    """As in a container whose first process takes no care of orphans."""
    by = (
        "from pathlib import Path; from headway_cluster.processes import Daemon; "
        f"d = Path({str(tmp_path)!r});"
    )
    start = f"{by} Daemon('sleeper', {SLEEPS!r}, d).start()"
    stop = f"{by} print(Daemon('sleeper', (), d).stop(60))"
    careless = (
        "import ctypes, subprocess, sys; ctypes.CDLL(None).prctl(36, 1);"
        "[subprocess.run([sys.executable, '-c', code], check=True) for code in sys.argv[1:]]"
    )
    done = subprocess.run(
        [sys.executable, "-c", careless, start, stop], capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "True\n", done.stderr

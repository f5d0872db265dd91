"""Runs of real processes under their supervisor."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from headway_cluster.node import runs
from headway_cluster.node.container_story import Story
from headway_cluster.node.log_lines import tail
from headway_cluster.node.pod_folder import PodFolder, end_all
from headway_cluster.node.pods import parse
from headway_cluster.node.runs import CONTAINER_MARK, Command, Run
from headway_cluster.node.supervisor import Supervisor
from podspecs import a_container, a_pod
from processes import pid_lives as lives
from waiting import eventually

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the supervisor's tools are Linux's"
)


@pytest.fixture
def start(tmp_path):
    """Start a command and end it after the test, whatever it does."""
    runs = []

    def begin(*argv, number=0, **more):
        run = Run(tmp_path / "main" / str(number), number)
        run.start(command(run, *argv, **more))
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.stop(0)
        ended(run)
        run.close()


def command(run, *argv, env=None, **more):
    given = {
        "PATH": os.environ["PATH"],
        CONTAINER_MARK: f"process://test/{os.getpid()}/{run.folder}",
        **(env or {}),
    }
    return Command(
        argv=argv,
        env=given,
        cwd=str(run.home),
        log=str(run.log),
        log_file_bytes=1_000_000,
        log_files=2,
        **more,
    )


def python(text):
    return (sys.executable, "-S", "-c", text)


def ended(run, within=20):
    return eventually(lambda: run.state().exit, within=within, why="the run has ended", every=0.01)


def running(run):
    eventually(lambda: run.state().started, within=20, why="the run has started", every=0.01)
    return json.loads((run.folder / "started.json").read_text())["pid"]


def said(run, text):
    eventually(lambda: text in tail(run.log, 100, 10_000), within=20, why=f"it says {text!r}")


def test_an_exit_code_is_kept(start):
    end = ended(start("sh", "-c", "exit 7"))
    assert (end.code, end.signal, end.oom, end.error, end.lost) == (7, None, False, None, False)


def test_a_signal_is_named_and_counted_as_shells_do(start):
    end = ended(start("sh", "-c", "kill -SEGV $$"))
    assert (end.code, end.signal) == (139, signal.SIGSEGV)


def test_a_command_that_does_not_exist_says_so(start):
    run = start("no-such-program")
    end = ended(run)
    assert end.code == 128
    assert end.error == "no-such-program: No such file or directory"
    assert run.state().started is None


def test_a_working_directory_that_does_not_exist_says_so(tmp_path):
    run = Run(tmp_path / "0", 0)
    missing = command(run, "true")
    run.start(Command(**{**missing.__dict__, "cwd": "/no/such/folder"}))
    assert ended(run).error == "/no/such/folder: No such file or directory"
    run.close()


def test_output_of_both_streams_is_kept(start):
    run = start("sh", "-c", "echo out; echo err >&2; printf unfinished")
    ended(run)
    assert sorted(tail(run.log, 9, 999).split("\n")) == ["err", "out", "unfinished"]


def test_the_events_wake_a_listener_at_the_end(start):
    run = start("sh", "-c", "read line")
    events = run.open_events()
    os.set_blocking(events, True)
    eventually(lambda: run.state().started, within=20, why="started")
    while run.state().exit is None:
        os.read(events, 1)
    assert run.state().exit.code != 0


def test_a_stop_lets_it_end_in_its_own_way(start):
    run = start("sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
    said(run, "up")
    run.stop(30)
    assert ended(run).code == 3
    assert "bye" in tail(run.log, 9, 999)


def test_who_ignores_a_stop_is_killed_after_the_grace(start):
    run = start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    said(run, "up")
    run.stop(0.2)
    end = ended(run)
    assert (end.code, end.signal, end.oom) == (137, signal.SIGKILL, False)


def test_a_stop_that_came_before_the_supervisor_listened_is_told_again(tmp_path, monkeypatch):
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import runpy, time; time.sleep(1)\n"
        f"runpy.run_path({str(runs.SUPERVISOR)!r}, run_name='__main__')"
    )
    monkeypatch.setattr(runs, "SUPERVISOR", slow)
    monkeypatch.setattr(runs, "_CONTROL_PATIENCE", 0.1)
    story, run = Story(), Run(tmp_path / "0", 0)
    story.begin(run, command(run, "sleep", "3600"))
    story.stop(0.5)
    running(run)
    story.stop(0.5)
    try:
        assert ended(run, within=10).signal == signal.SIGTERM
    finally:
        run.stop(0)
        ended(run)
        run.close()


def test_who_has_become_another_user_and_cannot_be_stopped_is_waited_for(tmp_path, monkeypatch):
    def not_allowed(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    run = Run(tmp_path / "0", 0)
    run.folder.mkdir()
    run._write("spec.json", asdict(command(run, "true", memory_limit=1)))
    for name in ("events", "control"):
        os.mkfifo(run.folder / name)
    monkeypatch.chdir(tmp_path)
    supervisor = Supervisor(str(run.folder))
    supervisor.pid = 1
    monkeypatch.setattr(os, "kill", not_allowed)
    supervisor.stop(0.01)
    time.sleep(0.02)
    supervisor.watch()
    assert supervisor.status is None
    assert supervisor.deadline > time.monotonic()
    for end in (supervisor.events, supervisor.control):
        os.close(end)
    supervisor.log.close()
    supervisor.selector.close()


def test_a_grace_can_be_shortened(start):
    run = start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    said(run, "up")
    run.stop(3600)
    run.stop(0.1)
    assert ended(run).code == 137


def test_more_memory_than_the_limit_is_an_oom_kill(start):
    text = "import time; x = bytearray(96 << 20); print('up', flush=True); time.sleep(600)"
    end = ended(start(*python(text), memory_limit=32 << 20))
    assert end.oom
    assert end.code == 137


def test_memory_within_the_limit_is_left_alone(start):
    text = "import time; x = bytearray(16 << 20); time.sleep(1.2)"
    assert ended(start(*python(text), memory_limit=512 << 20)).code == 0


def test_the_memory_of_children_counts(start):
    child = "import time; x = bytearray(96 << 20); time.sleep(600)"
    text = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    assert ended(start(*python(text), memory_limit=64 << 20)).oom


def test_what_the_container_leaves_behind_is_ended_with_it(start, tmp_path):
    pids = tmp_path / "pids"
    run = start(
        "sh",
        "-c",
        f"sleep 3600 & echo $! > {pids}; setsid sleep 3600 & echo $! >> {pids}; exit 0",
    )
    assert ended(run).code == 0
    left = [int(pid) for pid in pids.read_text().split()]
    assert len(left) == 2
    assert not any(map(lives, left))


def test_another_agent_finds_the_run_again(start):
    first = start("sh", "-c", "read line < /dev/zero")
    pid = running(first)
    again = Run(first.folder, 0)
    assert again.supervised
    assert again.state().started is not None
    assert again.state().exit is None
    os.kill(pid, signal.SIGTERM)
    assert ended(again).signal == signal.SIGTERM
    again.close()


def test_starting_the_same_run_again_starts_nothing(start):
    run = start("sleep", "3600")
    pid = running(run)
    again = Run(run.folder, 0)
    again.start(command(again, "sleep", "3600"))
    assert json.loads((run.folder / "started.json").read_text())["pid"] == pid
    again.close()


def test_a_killed_supervisor_takes_its_container_along_and_the_run_counts_as_lost(start):
    run = start("sh", "-c", "setsid sleep 3600 & echo $!; exec sleep 3600")
    pid = running(run)
    eventually(lambda: tail(run.log, 1, 99).strip(), within=20, why="the pid of the detached one")
    detached = int(tail(run.log, 1, 99))
    psutil.Process(pid).parent().kill()
    end = ended(run)
    assert end.lost
    assert end.code == 137
    eventually(lambda: not lives(pid), within=30, why="the container has ended")
    eventually(lambda: not lives(detached), within=30, why="what it detached has ended")
    assert Run(run.folder, 0).state().exit == end


def test_what_multiplies_while_a_killed_supervisors_processes_are_ended_is_ended_too(start):
    text = """
import os, time
if os.fork():
    time.sleep(3600)
os.setsid()
print("up", flush=True)
for _ in range(3000):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.0005)
"""
    run = start(*python(text))
    pid = running(run)
    said(run, "up")
    psutil.Process(pid).parent().kill()
    assert ended(run).lost
    mark = run.spec()["env"][CONTAINER_MARK]

    def left():
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(CONTAINER_MARK) == mark:
                    yield process

    eventually(lambda: not list(left()), within=10, why="nothing of it is left")


def test_a_probe_that_an_agent_which_died_has_left_ends_with_its_container(start):
    probe = {"exec": {"command": ["sleep", "3600"]}}
    container = parse(a_pod(a_container(livenessProbe=probe))).containers[0]
    run = start("sleep", "3600")
    running(run)
    left = subprocess.Popen(["sleep", "3600"], env=run.spec()["env"])
    story = Story(run=run)
    run.stop(0)
    ended(run)
    story.state = run.state()
    story.end(container, story.state.exit)
    try:
        assert left.wait(10) == -signal.SIGKILL
    finally:
        left.kill()


def test_a_start_that_fails_leaves_nothing_open(tmp_path, monkeypatch):
    def no_room(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_room)
    before = psutil.Process().num_fds()
    run = Run(tmp_path / "0", 0)
    with pytest.raises(BlockingIOError):
        Story().begin(run, command(run, "true"))
    assert psutil.Process().num_fds() == before


def test_a_run_that_nothing_is_left_of_counts_as_lost(tmp_path):
    run = Run(tmp_path / "3", 3)
    run.count_as_lost()
    assert run.state().exit.lost


def test_a_run_that_never_began_has_no_end(tmp_path):
    run = Run(tmp_path / "0", 0)
    run.folder.mkdir()
    assert run.state().exit is None
    assert not run.begun
    assert not run.supervised


def test_the_termination_message_is_what_the_container_wrote(start):
    run = start("sh", "-c", "printf done > ../termination-log")
    ended(run)
    assert run.termination_message() == "done"
    assert run.termination_message(limit=2) == "do"


@pytest.mark.parametrize("made", ["mkfifo", "mkdir"])
def test_a_termination_message_that_is_no_file_is_none(start, made):
    run = start("sh", "-c", f"rm ../termination-log; {made} ../termination-log")
    ended(run)
    assert run.termination_message() == ""


def test_a_pod_that_nothing_is_known_about_is_ended(tmp_path):
    folder = PodFolder(tmp_path)
    run = folder.run("main", 0)
    run.start(command(run, "sleep", "3600"))
    pid = running(run)
    folder.end_everything()
    eventually(lambda: not lives(pid), within=30, why="the container has ended")
    run.close()
    folder.remove()
    assert not Path(tmp_path).exists()


def test_what_runs_of_a_nodes_pods_is_ended_also_where_its_supervisor_was_killed(tmp_path):
    runs = []
    for name in ("one", "two"):
        run = PodFolder(tmp_path / name).run("main", 0)
        run.start(command(run, "sh", "-c", "sleep 3600 & echo $! > child; wait"))
        runs.append(run)
    pids = [running(run) for run in runs]
    for run in runs:
        child = run.home / "child"
        eventually(lambda file=child: file.exists() and file.read_text(), within=20, why="a child")
        pids.append(int(child.read_text()))
    os.kill(json.loads((runs[0].folder / "begun").read_text())["supervisor"], signal.SIGKILL)
    end_all(tmp_path)
    eventually(lambda: not any(map(lives, pids)), within=10, why="nothing is left")
    for run in runs:
        run.close()


def test_a_node_that_never_had_a_pod_has_nothing_to_end(tmp_path):
    end_all(tmp_path / "pods")


@pytest.mark.parametrize("note", ["begun", "started.json"])
def test_a_start_that_a_full_disk_does_not_let_be_noted_is_none(tmp_path, note):
    run = Run(tmp_path / "0", 0)
    run.folder.mkdir()
    (run.folder / f"{note}.new").symlink_to("/dev/full")
    run.start(command(run, "sleep", "3600"))
    end = ended(run)
    assert (end.code, end.lost) == (128, False)
    assert "could not be noted: No space left on device" in end.error
    assert run.state().started is None
    run.close()


def test_an_end_on_a_full_disk_is_told_when_there_is_room(start):
    run = start("sh", "-c", "while ! [ -e go ]; do sleep 0.01; done; exit 5")
    running(run)
    full = run.folder / "exit.json.new"
    full.symlink_to("/dev/full")  # whatever is written there finds no room
    (run.home / "go").touch()
    eventually(lambda: not lives(running(run)), within=20, why="the command has ended")
    assert run.state().exit is None
    full.unlink()
    end = ended(run)
    assert (end.code, end.lost) == (5, False)

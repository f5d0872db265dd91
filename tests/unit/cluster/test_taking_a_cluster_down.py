"""Nothing of a local cluster is left, whatever became of its programs before."""

from __future__ import annotations

import os
import sys
import threading

import psutil
import pytest
from headway_cluster.home import WAITING, Home
from headway_cluster.local import LocalCluster
from headway_cluster.node.pod_folder import PodFolder
from headway_cluster.node.runs import CONTAINER_MARK, Command
from headway_cluster.one_at_a_time import one_at_a_time
from headway_cluster.standing import Provider, note
from waiting import eventually


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "cache", tmp_path / "state")


@pytest.fixture
def pod(home):
    """A pod that runs, of a node whose agent is gone; the pids of its processes."""
    note(home.cluster, Provider.PROCESS)
    run = PodFolder(home.cluster / "node" / "state" / "pods" / "uid").run("main", 0)
    run.start(
        Command(
            argv=("sh", "-c", "sleep 3600 & echo $! > child; wait"),
            env={"PATH": os.environ["PATH"], CONTAINER_MARK: f"process://test/{run.folder}"},
            cwd=str(run.home),
            log=str(run.log),
            log_file_bytes=1000,
            log_files=1,
        )
    )
    child = run.home / "child"
    eventually(lambda: child.exists() and child.read_text(), within=20, why="it runs")
    sleep = psutil.Process(int(child.read_text()))
    yield [sleep, sleep.parent(), sleep.parent().parent()]
    run.stop(0)
    run.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the supervisor's tools are Linux's")
def test_pods_whose_agent_was_killed_go_with_the_cluster(home, pod):
    assert LocalCluster(home).down()
    eventually(
        lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in pod),
        within=10,
        why="nothing of the pod runs",
    )
    assert not home.cluster.exists()
    assert list(home.state.iterdir()) == []


def test_it_waits_for_a_command_that_brings_it_up(home):
    note(home.cluster, Provider.PROCESS)
    said: list[str] = []
    gone = threading.Event()

    def down():
        LocalCluster(home).down(said.append)
        gone.set()

    with one_at_a_time(home.lock, said.append, ""):
        threading.Thread(target=down).start()
        eventually(lambda: said, within=10, why="it says that it waits")
        assert said == [WAITING]
        assert home.cluster.exists()
    assert gone.wait(20)
    assert not home.cluster.exists()


def test_where_there_is_none_nothing_is_made(home, tmp_path):
    assert not LocalCluster(home).down()
    assert list(tmp_path.iterdir()) == []

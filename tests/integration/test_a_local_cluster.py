"""Clusters come and go, side by side, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from clusters import Cluster
from headway_cluster.home import Home
from headway_cluster.local import LocalCluster

HEADWAY = str(Path(sys.executable).parent / "headway")


@pytest.fixture
def environment(cluster: Cluster, tmp_path):
    """A home of its own, with the programs that are built already."""
    assets = cluster.programs["etcd"].parent
    return {
        **{k: v for k, v in os.environ.items() if k != "KUBECONFIG"},
        "HEADWAY_HOME": str(tmp_path / "home"),
        "KUBEBUILDER_ASSETS": str(assets),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def headway(environment, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [HEADWAY, *args], env=environment, capture_output=True, text=True, timeout=200
    )
    if check:
        assert done.returncode == 0, done.stderr + done.stdout
    return done


def _processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd()]
        except psutil.Error:
            continue
        if any(str(home) in word for word in words):
            found.append(process)
    return found


def _listening(processes: list[psutil.Process]) -> set[int]:
    ports = set()
    for process in processes:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                ports.add(connection.laddr.port)
    return ports


def test_a_cluster_beside_another_leaves_nothing_behind(environment, tmp_path):
    home = tmp_path / "home"
    try:
        up = headway(environment, "cluster", "up", "--provider", "process")
        assert "headway cluster down" in up.stderr + up.stdout
        assert headway(environment, "cluster", "status").returncode == 0
        done = headway(
            environment, "run", "dummy", "--follow", "--iterations", "2", "--interval", "0.05"
        )
        assert "Succeeded" in done.stdout + done.stderr
        running = headway(environment, "submit", "dummy", "--iterations", "1000", "--interval", "1")
        assert running.returncode == 0
        processes = _processes_of(home)
        assert _listening(processes)
    finally:
        down = headway(environment, "cluster", "down", check=False)
    assert down.returncode == 0, down.stderr
    assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not _processes_of(home)
    assert [p for p in home.rglob("*") if p.is_file()] == []
    assert headway(environment, "cluster", "status", check=False).returncode == 1


def test_up_mends_what_died(cluster: Cluster, tmp_path):
    local = LocalCluster(Home(tmp_path / "cache", tmp_path / "state"), programs=cluster.programs)
    try:
        local.up()
        uid = _namespace_uid(cluster, local)
        for name in ("etcd", "kube-apiserver"):
            psutil.Process(local.control_plane.pid(name)).kill()
        local.node().kill()
        local.up()
        assert local.status().running
        assert _namespace_uid(cluster, local) == uid
    finally:
        local.down()


def _namespace_uid(cluster: Cluster, local: LocalCluster) -> str:
    return subprocess.run(
        [
            str(cluster.programs["kubectl"]),
            "--kubeconfig",
            str(local.kubeconfig),
            "get",
            "namespace",
            "default",
            "-o",
            "jsonpath={.metadata.uid}",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

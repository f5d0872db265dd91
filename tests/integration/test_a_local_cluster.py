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
from processes import listening, lives, working_in
from waiting import eventually

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
        processes = working_in(home)
        assert list(listening(processes))
    finally:
        down = headway(environment, "cluster", "down", check=False)
    assert down.returncode == 0, down.stderr
    assert not list(filter(lives, processes))
    assert not working_in(home)
    assert [p for p in home.rglob("*") if p.is_file()] == []
    assert headway(environment, "cluster", "status", check=False).returncode == 1


def test_up_mends_what_died(cluster: Cluster, tmp_path):
    local = LocalCluster(Home(tmp_path / "cache", tmp_path / "state"), programs=cluster.programs)
    try:
        local.up()
        uid = _namespace_uid(cluster, local)
        for name in ("etcd", "kube-apiserver"):
            killed = psutil.Process(local.control_plane.pid(name))
            killed.kill()
            eventually(lambda one=killed: not lives(one), within=20, why=f"{name} is gone")
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

"""Clusters come and go, side by side, and leave nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import warm
from clusters import Cluster
from headway_cluster import pki
from headway_cluster.controlplane import ADMIN, PROGRAMS
from headway_cluster.home import Home
from headway_cluster.local import LocalCluster
from kubectl import Kubectl
from podspecs import a_container, a_pod
from processes import command_of, listening, lives, working_in
from waiting import eventually


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
    done = warm.headway(*args, env=environment, timeout=200)
    if check:
        assert done.returncode == 0, done.stderr + done.stdout
    return done


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def local(cluster: Cluster, tmp_path_factory) -> Iterator[LocalCluster]:
    """A cluster that may be harmed."""
    home = tmp_path_factory.mktemp("home")
    made = LocalCluster(Home(home / "cache", home / "state"), programs=cluster.programs)
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_up_mends_what_died(cluster: Cluster, local: LocalCluster):
    uid = _namespace_uid(cluster, local)
    for name in ("etcd", "kube-apiserver"):
        killed = psutil.Process(local.control_plane.pid(name))
        killed.kill()
        eventually(lambda one=killed: not lives(one), within=20, why=f"{name} is gone")
    local.node().kill()
    local.up()
    assert local.status().running
    assert _namespace_uid(cluster, local) == uid


def test_certificates_that_have_expired_are_replaced_and_nothing_is_lost(
    cluster: Cluster, local: LocalCluster, monkeypatch
):
    uid = _namespace_uid(cluster, local)
    with monkeypatch.context() as patched:
        patched.setattr(pki, "_LEAF_DAYS", 0)
        local.control_plane.user(ADMIN, ["system:masters"])
    eventually(lambda: not local.control_plane.ready(), within=30, why="it has expired")
    assert local.status().running
    local.up()
    assert _namespace_uid(cluster, local) == uid


def test_a_node_follows_an_api_server_that_found_its_port_taken(
    cluster: Cluster, local: LocalCluster
):
    before = local.control_plane.server
    psutil.Process(local.control_plane.pid("kube-apiserver")).kill()
    with _taken(int(before.rpartition(":")[2])):
        local.up()
        assert local.control_plane.server != before
        kubectl = Kubectl(cluster.programs["kubectl"], local.kubeconfig, "default")
        _run(kubectl, "exit 0")
        kubectl("wait", "pod/pod", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")


def _run(kubectl: Kubectl, script: str) -> None:
    """Make a pod called ``pod``, as soon as the cluster takes pods."""
    account = ("get", "serviceaccount", "default")
    eventually(lambda: kubectl.run(*account, check=False).returncode == 0, within=60, why="account")
    pod = a_pod(a_container("main", "sh", "-c", script), restartPolicy="Never")
    kubectl.apply({**pod, "metadata": {"name": "pod"}})


@contextmanager
def _taken(port: int) -> Iterator[None]:
    """A port that somebody else listens at; the one who has it may be on the way out."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def bind() -> bool:
        with suppress(OSError):
            holder.bind(("127.0.0.1", port))
            return True
        return False

    with holder:
        eventually(bind, within=20, why="the port is free")
        holder.listen()
        yield


def test_a_cluster_whose_agent_was_killed_goes_with_all_its_pods(cluster: Cluster, tmp_path):
    local = LocalCluster(Home(tmp_path / "cache", tmp_path / "state"), programs=cluster.programs)
    try:
        local.up()
        kubectl = Kubectl(cluster.programs["kubectl"], local.kubeconfig, "default")
        _run(kubectl, "sleep 3600 & wait")
        kubectl("wait", "pod/pod", "--for=condition=Ready", "--timeout=60s")
        left = working_in(tmp_path)
        local.node().kill()
    finally:
        local.down()
    assert len(left) > len(PROGRAMS) + 1
    assert not [p for p in left if lives(p)]
    assert not working_in(tmp_path)


def test_two_that_bring_it_up_at_once_make_one_cluster(environment, tmp_path):
    home = tmp_path / "home"
    command = [warm.PROGRAM, "cluster", "up", "--no-install", "--provider", "process"]
    try:
        both = [
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        told = [one.communicate(timeout=200)[1] for one in both]
        assert [one.returncode for one in both] == [0, 0], told
        assert sum("is up already" in text for text in told) == 1, told
        running = list(filter(None, map(command_of, working_in(home))))
        for program in PROGRAMS:
            assert sum(words[0].endswith(f"/{program}") for words in running) == 1, running
    finally:
        headway(environment, "cluster", "down", check=False)
    assert not working_in(home)


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

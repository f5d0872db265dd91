"""``headway cluster up`` on kind: a cluster beside the one under test, and gone again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from given_cluster import GivenCluster
from headway_cluster import binaries
from headway_cluster.home import Home
from headway_cluster.kind.cluster import NAME
from headway_cluster.kind.docker import Docker

HEADWAY = str(Path(sys.executable).parent / "headway")
CLOSED_NETWORK = Path(__file__).resolve().parent / "lab" / "closed-network.yaml"
_NETWORK_OF_THE_IMAGE = "/kind/manifests/default-cni.yaml"


class Machine:
    """A machine with Docker, where somebody types headway commands in a home of their own."""

    def __init__(self, cluster: GivenCluster, folder: Path) -> None:
        kind = binaries.ensure(Home.find(), ("kind",), lambda _: None)["kind"]
        docker = {"DOCKER_HOST": cluster.machines.docker} if cluster.machines.docker else {}
        environment = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
        self.environment = {
            **environment,
            **docker,
            "HEADWAY_HOME": str(folder),
            "PATH": f"{kind.parent}:{os.environ['PATH']}",
        }
        self.home = Home.find(self.environment)

    def containers(self) -> dict[str, str]:
        """State of the nodes' containers, by name."""
        machines = Docker.of(self.environment).machines(NAME)
        return {machine.name: machine.state for machine in machines}

    def headway(self, *args: str, code: int = 0) -> str:
        """What a headway command says; it must end with that code."""
        done = subprocess.run(
            [HEADWAY, *args], env=self.environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == code, f"headway {args}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def machine(cluster: GivenCluster, tmp_path: Path):
    made = Machine(cluster, tmp_path / "home")
    yield made
    made.headway("cluster", "down")


@pytest.fixture
def asked(cluster: GivenCluster, tmp_path: Path) -> list[str]:
    """The options of a cluster like the one under test, with the same images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("operator", "trainer-base"):
        archive = cluster.archive(name, folder)
        if archive.parent != folder:
            (folder / archive.name).symlink_to(archive)
    node = cluster.workers[0]
    image = cluster.machines.run("inspect", "-f", "{{.Config.Image}}", node).strip()
    options = ["--images", str(folder), "--node-image", image]
    brought = cluster.machines.on(
        node, "sh", "-c", f"test -f {_NETWORK_OF_THE_IMAGE} && echo yes || echo no"
    )
    return options if brought.strip() == "yes" else [*options, "--kind-config", str(CLOSED_NETWORK)]


@pytest.mark.timeout(900)
def test_a_cluster_of_containers_is_made_used_mended_and_gone_again(
    cluster: GivenCluster, machine: Machine, asked: list[str]
):
    up = machine.headway("cluster", "up", "--no-install", *asked)
    assert "Provider: kind (as asked for)" in up
    [node] = machine.containers()
    # As a start leaves it that is interrupted before kind comes to its end:
    record = machine.home.cluster / "provider.json"
    record.write_text(record.read_text().replace('"created": true', '"created": false'))

    # The repeated command needs none of the options, and the nodes are made anew.
    up = machine.headway("cluster", "up")
    assert "deleting what an interrupted start left" in up
    assert "Headway is installed" in up
    assert "provider    kind" in machine.headway("cluster", "status")
    assert str(machine.home.cluster / "kubeconfig") in machine.headway("cluster", "env")
    machine.headway("run", "dummy", "--name", "first", "--follow", "--iterations", "2")

    refused = machine.headway("cluster", "up", "--provider", "process", code=1)
    assert "headway cluster down" in refused

    cluster.machines.cut(node)
    assert "stopped" in machine.headway("cluster", "status", code=1)
    assert f"starting {node}" in machine.headway("cluster", "up")
    assert "Succeeded" in machine.headway("get", "first")

    assert "gone" in machine.headway("cluster", "down")
    assert machine.containers() == {}
    assert [file for file in machine.home.state.rglob("*") if file.is_file()] == []
    assert "no local cluster" in machine.headway("cluster", "down")

"""From a container's spec to what is executed; and the configuration of the node."""

from __future__ import annotations

from pathlib import Path

import pytest
from headway_cluster.node.config import ConfigError, NodeConfig
from headway_cluster.node.environment import ConfigurationError, Facts
from headway_cluster.node.images import Image
from headway_cluster.node.launching import Launcher
from headway_cluster.node.pods import parse
from headway_cluster.node.runs import Run
from podspecs import a_container, a_pod

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
FOLDERS = {"data": Path("/real/data"), "token": Path("/real/token")}
CONFIG = NodeConfig(node_name="n", kubeconfig=Path("/k"), state_dir=Path("/s"))


class Nothing:
    def config_map(self, name):
        return None

    def secret(self, name):
        return None


def command(*argv, image=None, **fields):
    mounts = [
        {"name": "data", "mountPath": "/data"},
        {"name": "token", "mountPath": TOKEN_PATH},
    ]
    pod = parse(a_pod(a_container("main", *argv, volumeMounts=mounts, **fields)))
    facts = Facts(pod, pod_ip="p", host_ip="h", node_name="n", cpu=1, memory=1)
    launcher = Launcher(pod, FOLDERS, facts, ("127.0.0.1", 6443), CONFIG)
    run = Run(Path("/state/main/0"), 0)
    return launcher.command(pod.containers[0], image or Image(path=("/venv/bin",)), run, Nothing())


def test_mount_paths_are_real_in_everything_that_is_handed_over():
    made = command(
        "python",
        "/data/x.py",
        args=["--to=$(TO)", "/dev/termination-log"],
        workingDir="/data/w",
        env=[{"name": "TO", "value": "/data/out"}],
    )
    assert made.argv == (
        "python",
        "/real/data/x.py",
        "--to=/real/data/out",
        "/state/main/0/termination-log",
    )
    assert made.env["TO"] == "/real/data/out"
    assert made.cwd == "/real/data/w"


def test_a_container_is_told_where_things_are():
    env = command("true").env
    assert env["HEADWAY_SERVICE_ACCOUNT_DIR"] == "/real/token"
    assert env["HEADWAY_TERMINATION_MESSAGE_PATH"] == "/state/main/0/termination-log"
    assert (env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "6443")
    assert env["PATH"].startswith("/venv/bin:")
    assert env["HOSTNAME"] == "pod"
    assert env["HEADWAY_CONTAINER_ID"] == "process://uid-1/main/0"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "p"}, "p"),
        ({"name": "run-a1-0-x2x4z", "hostname": "run-a1-0"}, "run-a1-0"),
        ({"name": "p", "hostname": "a", "hostnameOverride": "b"}, "b"),
        ({"name": 62 * "n" + ".more"}, 62 * "n"),
    ],
)
def test_a_container_is_told_its_hostname(fields, told):
    pod = parse(a_pod(**fields))
    assert pod.hostname == told


def test_nothing_of_the_agents_own_environment_is_handed_on(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "x")
    assert "SECRET_OF_THE_AGENT" not in command("true").env


def test_a_pod_cannot_forge_what_its_processes_are_found_by():
    forged = [{"name": "HEADWAY_CONTAINER_ID", "value": "process://other/main/0"}]
    assert command("true", env=forged).env["HEADWAY_CONTAINER_ID"] == "process://uid-1/main/0"


def test_the_entrypoint_of_the_image_runs_where_the_container_has_no_command():
    image = Image(entrypoint=("python", "-m", "x"))
    assert command(image=image, args=["--a"]).argv == ("python", "-m", "x", "--a")
    assert command("sh", image=image, args=["-c", "b"]).argv == ("sh", "-c", "b")


@pytest.mark.parametrize("args", [[], ["--a"]])
def test_neither_a_command_nor_an_entrypoint_is_a_clear_error(args):
    with pytest.raises(ConfigurationError, match="has no entrypoint on this node"):
        command(args=args)


def test_the_memory_limit_is_in_bytes():
    assert command("true", resources={"limits": {"memory": "1Mi"}}).memory_limit == 2**20
    assert command("true").memory_limit == 0


def test_a_configuration_is_read_back_as_it_was_written(tmp_path):
    config = NodeConfig(
        node_name="n",
        kubeconfig=tmp_path / "k",
        state_dir=tmp_path / "s",
        images={"a": Image(("/bin",), {"A": "1"}, ("sh",))},
        taints=({"key": "a", "effect": "NoSchedule"},),
    )
    config.dump(tmp_path / "config.json")
    assert NodeConfig.load(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read"),
        ("[]", "a JSON object is expected"),
        ('{"node_name": "n"}', "missing"),
        ('{"nodename": "n"}', "nodename"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(tmp_path, text, message):
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        NodeConfig.load(file)
    assert str(file) in str(refused.value)

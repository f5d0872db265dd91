"""What kind and Docker are told and say."""

import io
import json
import sys
import tarfile

import pytest
from headway_api.version import __version__
from headway_cluster.errors import ClusterError
from headway_cluster.kind.docker import obstacle
from headway_cluster.kind.images import ANY, COMPLETE, Held, in_archives, pick
from headway_cluster.kind.program import Kind, configuration, step_of

OPERATOR, TRAINER = f"headway/operator:{__version__}", f"headway/trainer:{__version__}"
BASE = f"headway/trainer-base:{__version__}"


def archive(file, *tags):
    content = json.dumps([{"Config": "c.json", "RepoTags": list(tags), "Layers": []}]).encode()
    with tarfile.open(file, "w") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return file


def test_the_names_in_the_archives_decide_what_is_installed(tmp_path):
    operator = archive(
        tmp_path / "a.tar", f"localhost/{OPERATOR}", f"docker.io/{OPERATOR}", "x/operator:0"
    )
    trainer = archive(tmp_path / "b.tar", "registry.example/mine/trainer:7")
    (tmp_path / "c.tar").write_text("no archive at all")
    found = in_archives(tmp_path)
    assert found.operator == Held(OPERATOR, operator)
    assert found.trainer == Held("registry.example/mine/trainer:7", trainer)


def test_the_trainer_with_all_it_needs_goes_before_the_slim_one():
    held = [Held(BASE), Held(OPERATOR), Held(TRAINER)]
    assert pick(held, "Docker", ANY).trainer == Held(TRAINER)
    assert pick(held[:2], "Docker", ANY).trainer == Held(BASE)
    with pytest.raises(ClusterError, match=f"Docker has no image {TRAINER}"):
        pick(held[:2], "Docker", COMPLETE)


@pytest.mark.parametrize("held", [[], [Held(TRAINER)], [Held("other/thing:1")]])
def test_a_missing_operator_is_named_with_the_ways_on(held):
    with pytest.raises(ClusterError, match=f"the folder has no image {OPERATOR}") as missing:
        pick(held, "the folder", ANY)
    assert missing.value.todo[0].startswith("make images")
    assert "--provider process" in missing.value.todo[1]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ClusterError, match="no such folder"):
        in_archives(tmp_path / "gone")


@pytest.mark.parametrize(
    ("said", "means", "todo"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "you may not use it",
            "usermod",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            "Docker does not run",
            "start Docker",
        ),
        ("", "Docker does not run", "start Docker"),
    ],
)
def test_why_docker_cannot_be_used_is_told_with_what_to_do(said, means, todo):
    found = obstacle(said)
    assert means in str(found).splitlines()[0]
    assert said in str(found)
    assert todo in found.todo[0]


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (
            " • Ensuring node image (kindest/node:v1) 🖼  ...\n",
            "Ensuring node image (kindest/node:v1)",
        ),
        (" • Starting control-plane 🕹️  ...\n", "Starting control-plane"),
        (" ✓ Starting control-plane 🕹️\n", None),
        ("Have a nice day! 👋\n", None),
    ],
)
def test_kinds_steps_are_told_once_and_plainly(line, step):
    assert step_of(line) == step


def test_the_nodes_are_as_many_as_asked_for_on_top_of_own_settings():
    base = {"networking": {"disableDefaultCNI": True}}
    made = configuration(base, 2, [{"hostPath": "/a", "containerPath": "/b"}])
    assert made["networking"] == base["networking"]
    assert [node["role"] for node in made["nodes"]] == ["control-plane", "worker", "worker"]
    assert all(node["extraMounts"] for node in made["nodes"])
    assert "nodes" not in configuration(base)


def test_the_last_lines_of_a_kind_that_fails_are_told(tmp_path):
    script = "import sys; sys.stdin.read(); [print('line', n) for n in range(40)]; sys.exit(1)"
    kind = Kind([sys.executable, "-c", script], "c", tmp_path / "kubeconfig", {})
    with pytest.raises(ClusterError) as failed:
        kind.create(configuration({}))
    lines = str(failed.value).splitlines()
    assert lines[0] == "kind create cluster failed:"
    assert lines[-1] == "line 39"
    assert len(lines) < 20

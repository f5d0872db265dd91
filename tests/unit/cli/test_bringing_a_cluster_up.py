"""What ``headway cluster up`` refuses before it makes anything."""

import os
import subprocess

import pytest
import warm


@pytest.fixture
def up(tmp_path):
    """Run ``headway cluster up`` where no Docker answers, in a home of its own."""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            "HEADWAY_HOME": str(tmp_path / "home"),
            "DOCKER_HOST": f"unix://{tmp_path}/docker.sock",
        }
        done = warm.headway("cluster", "up", *options, env=env)
        assert not (tmp_path / "home").exists()
        return done

    return run


@pytest.mark.parametrize("options", [("--provider", "kind"), ("--workers", "2")])
def test_kind_without_docker_is_told_with_the_way_on(up, options):
    done = up(*options)
    assert done.returncode == 1
    assert "Provider: kind (as asked for)" in done.stderr
    assert "docker" in done.stderr.lower()
    assert "headway cluster up --provider process" in done.stderr


def test_what_only_kind_takes_is_refused_with_the_process_node(up):
    done = up("--provider", "process", "--workers", "2")
    assert done.returncode == 2
    assert "--workers is for --provider kind" in done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("nodes: [{role: worker}]", "lists the nodes"),
        ("- a list", "no kind configuration"),
        ("{", "cannot be read"),
    ],
)
def test_settings_that_are_none_are_refused(up, tmp_path, content, says):
    file = tmp_path / "kind.yaml"
    file.write_text(content)
    done = up("--kind-config", str(file), "--workers", "1")
    assert done.returncode == 2
    assert says in done.stderr


def test_a_home_that_cannot_be_written_is_told_with_the_way_on(tmp_path):
    home = tmp_path / "home"
    home.write_text("a file")
    env = {**os.environ, "HEADWAY_HOME": str(home)}
    done = warm.headway("cluster", "up", "--provider", "process", env=env)
    assert done.returncode == 1
    assert f"{home}/state/cluster cannot be used: Not a directory" in done.stderr
    assert "set HEADWAY_HOME" in done.stderr

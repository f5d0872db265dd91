"""What a release publishes works in an empty environment, with nothing of the workspace."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import packages
import pytest
import versions
import yaml
from headway_api import names
from headway_api.version import __version__

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = versions.members(ROOT)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make dist`` makes."""
    made = tmp_path_factory.mktemp("release") / "dist"
    packages.build(ROOT, made)
    return made


@dataclass(frozen=True)
class Environment:
    """A virtual environment, used from an empty folder and with no variable of this one."""

    path: Path

    def run(self, program: str, *arguments: str, timeout: float = 120) -> str:
        away = self.path.parent / "away"
        away.mkdir(exist_ok=True)
        done = subprocess.run(
            [self.path / "bin" / program, *arguments],
            cwd=away,
            env={"PATH": "/usr/bin:/bin", "HOME": str(away)},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout


def wheels(dist: Path) -> dict[str, Path]:
    return {p.name.split("-")[0].replace("_", "-"): p for p in dist.glob("*.whl")}


def made(dist: Path, folder: Path, *wanted: str) -> Environment:
    """An environment of these packages: ours from their wheels, others as the lock file says."""
    path, uv = folder / "venv", packages.uv(ROOT)
    listed = [f"{name} @ {wheel.as_uri()}" for name, wheel in wheels(dist).items()]
    (folder / "ours.txt").write_text("\n".join(listed))
    locked = ["export", "--frozen", "--no-hashes", "--no-emit-workspace", "--all-packages"]
    commands: list[list[str]] = [
        ["venv", "--quiet", "--python", sys.executable, str(path)],
        [*locked, "--all-extras", "--quiet", "--output-file", str(folder / "locked.txt")],
        ["pip", "install", "--quiet", "--python", str(path / "bin" / "python")]
        + ["--constraints", str(folder / "ours.txt"), "--constraints", str(folder / "locked.txt")]
        + [f"{name} @ {wheels(dist)[name].as_uri()}" for name in wanted],
    ]
    for command in commands:
        done = subprocess.run([uv, *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return Environment(path)


@pytest.fixture(scope="module")
def command_line(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What a person has who has installed ``headway-cli``, and nothing else."""
    return made(dist, tmp_path_factory.mktemp("cli"), "headway-cli")


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_wheel_has_every_file_of_its_package(dist, member):
    [wheel] = [w for w in wheels(dist).values() if owns(w, member)]
    source = ROOT / member / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as opened:
        inside = [name for name in opened.namelist() if not name.endswith("/")]
        license_text = opened.read(f"{info(wheel)}/licenses/LICENSE")
    assert {name for name in inside if not name.startswith(f"{info(wheel)}/")} == files
    assert license_text == (ROOT / "LICENSE").read_bytes()


def info(wheel: Path) -> str:
    return "-".join(wheel.name.split("-")[:2]) + ".dist-info"


def owns(wheel: Path, member: Path) -> bool:
    folders = [p.name for p in (ROOT / member / "src").iterdir() if (p / "__init__.py").exists()]
    return wheel.name.split("-")[0] in folders


def test_everything_that_is_published_is_there_with_its_checksum(dist):
    stem = [str(name).replace("-", "_") for name in wheels(dist)]
    expected = {f"{name}-{__version__}-py3-none-any.whl" for name in stem}
    expected |= {f"{name}-{__version__}.tar.gz" for name in stem}
    expected |= {f"headway-{__version__}.tgz"}
    lines = (dist / packages.CHECKSUMS).read_text().splitlines()
    told = {name: checksum for checksum, name in (line.split() for line in lines)}
    assert set(told) == expected
    assert len(stem) == len(MEMBERS)
    for name, checksum in told.items():
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == checksum


def test_nothing_comes_from_the_workspace(command_line):
    code = "import headway, headway_api, headway_cli, headway_cluster, headway_trainer\n"
    code += "for m in (headway, headway_api, headway_cli, headway_cluster, headway_trainer):\n"
    code += "    print(m.__file__)"
    for file in command_line.run("python", "-I", "-c", code).splitlines():
        assert Path(file).is_relative_to(command_line.path)


def test_the_command_line_is_complete_by_itself(command_line, dist):
    assert command_line.run("headway", "--version") == f"headway {__version__}\n"
    assert "run" in command_line.run("headway", "--help")
    assert command_line.run("kubectl-headway", "--help").startswith("Usage: kubectl headway ")
    objects = list(yaml.safe_load_all(command_line.run("headway", "install", "--print")))
    [deployment] = [o for o in objects if o["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == names.default_operator_image(__version__)
    assert f"--trainer-image={names.default_trainer_image(__version__)}" in container["args"]


def test_the_crd_is_rendered_as_it_is_in_the_repository(command_line, tmp_path):
    command_line.run("headway-crd", "render", str(tmp_path / "crd.yaml"))
    expected = ROOT / "crds" / "trainingoperations.headway.dev.yaml"
    assert (tmp_path / "crd.yaml").read_text() == expected.read_text()


def test_a_run_without_a_cluster(command_line):
    told = command_line.run(
        "headway", "run", "dummy", "--local", "--iterations", "3", "--interval", "0.01"
    )
    assert "Succeeded" in told


def test_what_the_local_cluster_would_run_is_asked_for_before_it_is_built(command_line):
    done = subprocess.run(
        [command_line.path / "bin" / "headway", "cluster", "up"],
        env={"PATH": "/usr/bin:/bin", "HEADWAY_HOME": str(command_line.path.parent / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "pip install 'headway-cli[local]'" in done.stderr
    assert not (command_line.path.parent / "home").exists()


def test_the_operator_is_complete_by_itself(dist, tmp_path):
    operator = made(dist, tmp_path, "headway-operator")
    assert "--trainer-image" in operator.run("python", "-m", "headway_operator", "--help")
    ours = {name for name in distributions(operator) if name.startswith("headway")}
    assert ours == {"headway-api", "headway-operator"}


def distributions(environment: Environment) -> set[str]:
    code = "import importlib.metadata as m; print(*[d.name for d in m.distributions()])"
    return set(environment.run("python", "-c", code).split())


def test_the_sdk_is_complete_and_light_by_itself(dist, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    sdk = made(dist, tmp_path, "headway")
    assert sdk.run("python", str(script)).split() == ["epochs", "3", "stopped", "False"]
    assert distributions(sdk) == {"headway", "headway-api", "urllib3"}


SCRIPT = """
import headway

with headway.operation() as op:
    done = sum(1 for epoch in op.epochs(3))
print("epochs", done, "stopped", op.stopped)
"""

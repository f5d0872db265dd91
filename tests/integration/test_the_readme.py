"""Every command of the README, executed in its order, on a cluster of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import ROOT, Cluster

README = ROOT / "README.md"
_PREPARED = {
    # The environment that these would make is the one that runs this test.
    "make test": "make --dry-run test",
    "source .venv/bin/activate": "true",
    "make demo": "make --dry-run demo && headway demo",
}
_SAYS = {
    "make demo": "Left running",
    "headway list": "demo-train",
    "headway get @latest": "Dummy, 20 iterations",
    "kubectl apply -f examples/dummy.yaml": "created",
    "kubectl get trainop": "dummy",
    "kubectl explain trainop.spec": "cancelGracePeriodSeconds",
    "headway install --print": "kind: CustomResourceDefinition",
    "headway cluster down": "gone",
}


def commands() -> list[str]:
    """The lines of the shell blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_every_command_of_the_readme_works(cluster: Cluster, tmp_path):
    assert set(_SAYS) <= set(commands())
    env = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
    assets = cluster.programs["kubectl"].parent
    env["HEADWAY_HOME"] = str(tmp_path / "home")
    env["KUBEBUILDER_ASSETS"] = str(assets)
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    script = ["set -e", "exec 2>&1"]
    for number, command in enumerate(commands()):
        script += [f"echo '<<<{number}>>>'", _PREPARED.get(command, command)]
    try:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=550,
        )
    finally:
        subprocess.run(["headway", "cluster", "down"], env=env, capture_output=True, timeout=180)
    assert done.returncode == 0, done.stdout[-4000:]
    parts = re.split(r"<<<\d+>>>\n", done.stdout)[1:]
    for command, output in zip(commands(), parts, strict=True):
        assert _SAYS.get(command, "") in output, f"{command} said:\n{output}"
        if command == "make demo":
            _the_demo_shows_what_it_promises(output)


def _the_demo_shows_what_it_promises(output: str) -> None:
    ends = re.findall(r"^demo-(\w+)-\w{5} (\w+) after", output, re.MULTILINE)
    assert ends == [("load", "Succeeded"), ("train", "Succeeded"), ("stop", "Cancelled")]
    assert "40 epochs" in output
    assert "from the patch of spec.cancel to Cancelled" in output
    assert 'is refused:\n     unknown field "spec.dummy.iteration"' in output
    assert "is refused:\n     spec: a cancel cannot be taken back" in output

"""What Argo CD, Flux and kstatus make of objects: their own interpreters, asked on this machine.

The program is ``gitops/judges``; run this file to have it built ahead of the tests.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from headway_cluster.binaries import ensure_toolset
from headway_cluster.binaries.toolsets import Toolset
from headway_cluster.home import Home

KIT = Path(__file__).resolve().parents[2] / "gitops"
UPSTREAM = KIT / "argocd" / "resource_customizations" / "headway.dev" / "TrainingOperation"
"""The scripts in the form in which Argo CD's own repository keeps them."""
FLUX = KIT / "flux" / "kustomization.yaml"


@dataclass(frozen=True)
class Verdict:
    """What the three say about one object."""

    argo: str
    argo_message: str
    flux: str
    kstatus: str
    kstatus_message: str
    offered: frozenset[str]
    """Argo CD's actions that can be chosen."""
    after: dict[str, dict[str, Any]]
    """The object as each of these actions returns it."""


def judge(objects: Iterable[dict[str, Any]]) -> list[Verdict]:
    """What they say, in the order of the objects."""
    [expressions] = yaml.safe_load(FLUX.read_text())["spec"]["healthCheckExprs"]
    question = {
        "objects": list(objects),
        "argo": {
            "health": (UPSTREAM / "health.lua").read_text(),
            "discovery": (UPSTREAM / "actions" / "discovery.lua").read_text(),
            "actions": {name: file.read_text() for name, file in actions().items()},
        },
        "flux": {k: expressions[k] for k in ("current", "inProgress", "failed")},
    }
    done = subprocess.run(
        [str(program())], input=json.dumps(question), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [
        Verdict(
            argo=told["argo"]["status"],
            argo_message=told["argo"]["message"],
            flux=told["flux"]["status"],
            kstatus=told["kstatus"]["status"],
            kstatus_message=told["kstatus"].get("message", ""),
            offered=frozenset(n for n, a in told["offered"].items() if not a["disabled"]),
            after=told["after"],
        )
        for told in json.loads(done.stdout)
    ]


def actions() -> dict[str, Path]:
    """The scripts of Argo CD's actions by their names."""
    return {file.parent.name: file for file in (UPSTREAM / "actions").glob("*/action.lua")}


def program() -> Path:
    """The program, built where it is not there or its sources changed."""
    sources = KIT / "judges"
    digest = hashlib.sha256()
    for file in sorted(sources.iterdir()):
        digest.update(file.read_bytes())
    beside: Traversable = KIT
    toolset = Toolset(
        module=sources.name,
        title="the judges of the GitOps kit",
        folder=f"judges/{digest.hexdigest()[:12]}",
        programs=("judges",),
        linker="-s -w",
        beside=beside,
    )
    return ensure_toolset(Home.find(), toolset, _say)["judges"]


def _say(text: str) -> None:
    print(f"  {text}", file=sys.__stderr__)


if __name__ == "__main__":
    program()

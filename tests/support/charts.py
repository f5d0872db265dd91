"""Helm, and what it makes of the chart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from headway_api.version import __version__
from headway_cluster import binaries
from headway_cluster.home import Home

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "headway"
CRD = ROOT / "crds" / "trainingoperations.headway.dev.yaml"
DIGEST = "sha256:" + "0123456789abcdef" * 4
EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example:5000/headway/operator", "digest": DIGEST},
    "imagePullSecrets": [{"name": "my-registry"}],
    "trainerImage": {"repository": "registry.example:5000/headway/trainer", "tag": "7"},
    "namespaces": ["one", "two"],
    "extraArgs": ["--log-level=debug"],
    "extraEnv": [
        {"name": "NO_PROXY", "value": "10.0.0.0/8"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "cancelRequester": {"record": True},
    "admissionPolicy": {"exempt": [{"namespace": "tools", "name": "mender"}]},
    "serviceAccount": {"annotations": {"example.com/why": "because"}},
    "networkPolicy": {
        "create": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"team": "observability"}}}],
    },
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "control-plane", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]
            }
        }
    },
    "priorityClassName": "system-cluster-critical",
    "commonLabels": {"team": "research"},
    "podLabels": {"tier": "control"},
    "podAnnotations": {"example.com/note": "1"},
}
"""Every value that makes something appear which is not there by default, at once."""
Objects = list[dict[str, Any]]


@dataclass(frozen=True)
class Helm:
    """The real helm."""

    binary: Path
    kubeconfig: Path | None = None

    @classmethod
    def find(cls, kubeconfig: Path | None = None) -> Helm:
        """The helm that is there, or one that is built now: its tests are never left out."""
        programs = binaries.ensure(Home.find(), ("helm",), lambda t: print(t, file=sys.__stderr__))
        return cls(programs["helm"], kubeconfig)

    def run(self, *args: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess:
        """Run ``helm args...`` with values."""
        more = ["--values", "-"] if values is not None else []
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig or os.devnull)}
        return subprocess.run(
            [str(self.binary), *args, *more],
            input=json.dumps(values or {}),
            text=True,
            capture_output=True,
            timeout=240,
            env=environment,
        )

    def __call__(self, *args: str, values: dict[str, Any] | None = None) -> str:
        """What ``helm args...`` prints; a failure shows what it said."""
        done = self.run(*args, values=values)
        if done.returncode != 0:
            raise AssertionError(f"helm {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def template(self, values: dict[str, Any] | None = None, *args: str) -> Objects:
        """The objects that the chart renders, in a release called headway in somewhere."""
        text = self(
            "template", "headway", str(CHART), "-n", "somewhere", *args, values=values or {}
        )
        return [o for o in yaml.safe_load_all(text) if o]


def only(objects: Objects, kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    [found] = [o for o in objects if o["kind"] == kind]
    return found


def previous_chart(folder: Path) -> Path:
    """The chart before its CRD became a template, with a CRD that lacks what today's has."""
    chart = folder / "headway"
    shutil.copytree(Path(__file__).with_name("previous_chart"), chart)
    crd = yaml.safe_load(CRD.read_text())
    [version] = crd["spec"]["versions"]
    del version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["lastLogs"]
    version["additionalPrinterColumns"].pop()
    # Of its own images there are none: what matters is the chart.
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "appVersion": __version__}))
    (chart / "crds").mkdir()
    (chart / "crds" / "crd.yaml").write_text(yaml.safe_dump(crd))
    return chart

"""Renders the chart into the manifests that the command line installs, and checks for drift.

    python helm/manifests.py render    # needs helm
    python helm/manifests.py check     # compares all of it where helm is there, else its inputs

The rendered file carries a checksum of everything that it is made from, so that a change of the
chart or of the CRD without a new rendering is noticed on a machine without helm, too.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from headway_cluster.binaries.toolsets import toolset_of
from headway_cluster.home import Home

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "headway"
CRD = ROOT / "crds" / "trainingoperations.headway.dev.yaml"
CHART_CRD = CHART / "files" / CRD.name
RENDERED = ROOT / "cli" / "src" / "headway_cli" / "manifests" / "headway.yaml"
NAMESPACE = "headway-system"
AGAIN = "run `make manifests`"

_HEADER = """\
# Rendered from helm/headway with its default values. Do not edit: {again}.
# inputs: sha256:{checksum}
"""
_NAMESPACE = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/part-of: headway
    pod-security.kubernetes.io/enforce: restricted"""
_SOURCE = re.compile(r"^# Source: .*\n", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{2,}---\n")


class HelmError(Exception):
    """Helm is missing, or did not like the chart."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code (1: something has drifted)."""
    parser = argparse.ArgumentParser(prog="helm/manifests.py", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("render", "check"))
    chosen = parser.parse_args(arguments)
    try:
        return render() if chosen.command == "render" else check()
    except HelmError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def render() -> int:
    """Copy the CRD into the chart and write the rendered manifests."""
    CHART_CRD.parent.mkdir(exist_ok=True)
    CHART_CRD.write_bytes(CRD.read_bytes())
    binary = helm()
    if binary is None:
        raise HelmError("helm was not found on PATH or at $HELM, and rendering needs it")
    RENDERED.write_text(_rendered(binary), encoding="utf-8")
    return 0


def check() -> int:
    """Say what has drifted, if anything."""
    problems = _crd_drift()
    binary = helm()
    committed = RENDERED.read_text(encoding="utf-8") if RENDERED.exists() else ""
    if f"# inputs: sha256:{inputs()}\n" not in committed:
        problems.append(f"{_name(RENDERED)} is older than the chart: {AGAIN}")
    elif binary is not None:
        wanted = _rendered(binary)
        if committed != wanted:
            diff = difflib.unified_diff(
                committed.splitlines(),
                wanted.splitlines(),
                _name(RENDERED),
                "rendered",
                lineterm="",
            )
            problems += [*diff, f"{_name(RENDERED)} is not what the chart renders: {AGAIN}"]
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def inputs() -> str:
    """Checksum of everything that the manifests are made from."""
    total = hashlib.sha256()
    for file in sorted(p for p in CHART.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(CHART).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def helm() -> Path | None:
    """The helm to use: ``$HELM``, the one on PATH, or the one in Headway's cache."""
    cached = Home.find().cache / toolset_of("helm").folder / "helm"
    for candidate in (os.environ.get("HELM"), shutil.which("helm"), cached):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    return None


def _rendered(binary: Path) -> str:
    done = subprocess.run(
        [
            str(binary),
            "template",
            "headway",
            str(CHART),
            f"--namespace={NAMESPACE}",
            "--kube-version=1.32.0",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HelmError(f"helm template failed: {done.stderr.strip()}")
    body = _BLANK_LINES.sub("\n---\n", _SOURCE.sub("", done.stdout)).strip("\n")
    objects = body.removeprefix("---\n").split("\n---\n")
    # Helm's own order has the ServiceAccount first; kubectl needs its namespace before it.
    [crd] = [o for o in objects if "\nkind: CustomResourceDefinition\n" in o]
    objects.remove(crd)
    header = _HEADER.format(again=AGAIN, checksum=inputs())
    return header + "---\n" + "\n---\n".join([crd, _NAMESPACE, *objects]) + "\n"


def _crd_drift() -> list[str]:
    if CHART_CRD.exists() and CHART_CRD.read_bytes() == CRD.read_bytes():
        return []
    return [f"{_name(CHART_CRD)} is not a copy of {_name(CRD)}: {AGAIN}"]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    sys.exit(main())

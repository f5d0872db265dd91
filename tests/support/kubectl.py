"""The real kubectl against a real API server, as a user would call it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import objects
from waiting import eventually

FINAL = ("Succeeded", "Failed", "Cancelled")


@dataclass(frozen=True)
class Kubectl:
    """kubectl with a kubeconfig and a namespace."""

    binary: Path
    kubeconfig: Path
    namespace: str = "default"
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, *args: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run ``kubectl -n <namespace> args...``; a failure shows what it said."""
        command = [
            str(self.binary),
            "--kubeconfig",
            str(self.kubeconfig),
            "-n",
            self.namespace,
            *args,
        ]
        done = subprocess.run(
            command,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=240,
            env={**os.environ, **self.environment},
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done

    def __call__(self, *args: str) -> str:
        """What ``kubectl args...`` prints."""
        return self.run(*args).stdout

    def apply(self, *things: dict[str, Any]) -> None:
        """Apply objects, strictly; where it can, without the price of a kubectl."""
        if not all(self._keeps(thing["kind"]) for thing in things):
            self.apply_by_hand(*things)
            return
        for thing in things:
            objects.apply(self.kubeconfig, self.namespace, thing)

    def apply_by_hand(self, *objects: dict[str, Any]) -> None:
        """What a person types: ``kubectl apply``, strictly."""
        self.run(
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
        )

    def refused(self, manifest: dict[str, Any]) -> str:
        """Apply something that must be refused; returns what the person is told."""
        done = self.run("apply", "-f", "-", stdin=json.dumps(manifest), check=False)
        assert done.returncode != 0, f"was accepted: {manifest}"
        return done.stderr

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        if self._keeps(kind):
            return objects.read(self.kubeconfig, self.namespace, kind, name)
        return json.loads(self("get", kind, name, "-o", "json"))

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a kind."""
        if self._keeps(kind):
            return objects.read(self.kubeconfig, self.namespace, kind, selector=selector)["items"]
        more = ["-l", selector] if selector else []
        return json.loads(self("get", kind, *more, "-o", "json"))["items"]

    def operation(self, name: str) -> dict[str, Any]:
        """A TrainingOperation."""
        return self.get(objects.TRAINING_OPERATIONS, name)

    def _keeps(self, kind: str) -> bool:
        """Whether a kept connection is as good as a kubectl."""
        return objects.known(kind) and not self.environment

    def phase(self, name: str) -> str | None:
        """The phase of an operation."""
        return self.operation(name).get("status", {}).get("phase")

    def pods_of(self, operation: str) -> list[dict[str, Any]]:
        """The pods of an operation."""
        return self.items("pods", f"headway.dev/operation={operation}")

    def established(self) -> None:
        """Wait until every kind that was just defined is served.

        ``kubectl wait`` itself fails on a definition that has no conditions yet.
        """
        wait = ("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        eventually(
            lambda: self.run(*wait, check=False).returncode == 0, within=90, why="CRDs are served"
        )

    def cancel(self, name: str, **spec: Any) -> None:
        """Set spec.cancel, as any user would."""
        patch = {"spec": {"cancel": True, **spec}}
        if self._keeps("trainop"):
            objects.merge(self.kubeconfig, self.namespace, "trainop", name, patch)
        else:
            self("patch", "trainop", name, "--type", "merge", "-p", json.dumps(patch))

    def wait_for(
        self,
        name: str,
        condition: Callable[[dict[str, Any]], object],
        *,
        within: float = 60,
        why: str = "",
    ) -> dict[str, Any]:
        """The operation, as soon as its condition holds."""
        last: dict[str, Any] = {}

        def probe() -> dict[str, Any] | None:
            found = self.operation(name)
            last.clear()
            last.update(found)
            return dict(last) if condition(last) else None

        try:
            return eventually(probe, within=within, why=why or f"condition of {name}")
        except AssertionError as error:
            error.add_note(json.dumps(last.get("status", {}), indent=1))
            raise

    def told(self, name: str, reason: str, within: float = 90) -> dict[str, Any]:
        """The status of an operation as soon as it gives that reason."""
        found = self.wait_for(
            name,
            lambda o: o.get("status", {}).get("reason") == reason,
            within=within,
            why=f"{name} says {reason}",
        )
        status: dict[str, Any] = found["status"]
        return status

    def wait_for_phase(self, name: str, *phases: str, within: float = 60) -> dict[str, Any]:
        """The operation, once it is in one of the phases; a wrong final one fails at once."""

        def condition(operation: dict[str, Any]) -> bool:
            phase = operation.get("status", {}).get("phase")
            return phase in phases or phase in FINAL

        operation = self.wait_for(
            name, condition, within=within, why=f"{name} is {' or '.join(phases)}"
        )
        assert operation["status"]["phase"] in phases, json.dumps(operation["status"], indent=1)
        return operation


def operation(name: str, kind: str, /, **spec: Any) -> dict[str, Any]:
    """A TrainingOperation manifest: ``operation("a", "Dummy", dummy={"iterations": 3})``."""
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingOperation",
        "metadata": {"name": name},
        "spec": {"type": kind, **spec},
    }


def dummy(name: str, iterations: int = 5, interval: float = 0.2, **spec: Any) -> dict[str, Any]:
    """A dummy run."""
    return operation(
        name, "Dummy", dummy={"iterations": iterations, "intervalSeconds": interval}, **spec
    )

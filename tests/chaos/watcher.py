"""Looks at every change of every operation, and notes what breaks a promise."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from typing import Any

from headway.client_errors import ClientError
from headway_api import names
from scripted_nodes import Cluster, names_of_ends

Object = dict[str, Any]
LARGEST_STATUS = 32 * 1024


class Watcher:
    """Watches a namespace's operations in a thread.

    Attributes:
        latest: operations by name, as they were last seen.
        phases: how often each phase was seen to begin.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.latest: dict[str, Object] = {}
        self.phases: Counter[str] = Counter()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watcher")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join(30)

    def phase(self, name: str) -> str:
        status = self.latest.get(name, {}).get("status") or {}
        return str(status.get("phase") or "Pending")

    def _run(self) -> None:
        while not self._ends.wait(0.1):
            with contextlib.suppress(ClientError):
                found = self._cluster.request("GET", self._cluster.operations)
                items = found.get("items") or []
                for operation in items:
                    self._see(operation)
                here = {o["metadata"]["name"] for o in items}
                for name in set(self.latest) - here:
                    del self.latest[name]

    def _see(self, operation: Object) -> None:
        name = operation["metadata"]["name"]
        before = self.latest.get(name)
        self.latest[name] = operation
        status, spec = operation.get("status") or {}, operation["spec"]
        old: Object = {}
        if before is not None and before["metadata"]["uid"] == operation["metadata"]["uid"]:
            old = before.get("status") or {}
        if old.get("phase") != status.get("phase"):
            self.phases[str(status.get("phase"))] += 1
        if old.get("phase") in names_of_ends() and status.get("phase") != old["phase"]:
            self._broken(name, f"a final phase changed: {old['phase']} to {status.get('phase')}")
        if status.get("attempt", 0) < old.get("attempt", 0):
            self._broken(name, "its attempt fell")
        if status.get("retries", 0) > (spec.get("retryPolicy") or {}).get("limit", 0):
            self._broken(name, "it spent more retries than it has")
        if status.get("disruptions", 0) >= 10 and status.get("phase") != "Failed":
            self._broken(name, "it was disrupted ten times and goes on")
        if len(json.dumps(status)) > LARGEST_STATUS:
            self._broken(name, "its status is too large")
        if status.get("phase") == "Cancelled":
            receipt = status.get("cancellation") or {}
            missing = {"requestedAt", "outcome", "podsGoneAt"} - set(receipt)
            if missing:
                self._broken(name, f"its receipt lacks {missing}")
        if (
            status.get("phase") in ("Cancelled", "Suspended")
            and old.get("phase") != status["phase"]
        ):
            # The pods are read after the status: a later attempt's may be there, where the run
            # has been resumed in between.
            known = status.get("attempt", 0)
            pods = self._cluster.living(name)
            if any(status["phase"] == "Cancelled" or _attempt(p) <= known for p in pods):
                self._broken(name, f"it is {status['phase']}, and a pod lives")

    def _broken(self, name: str, what: str) -> None:
        status = self.latest[name].get("status")
        self._cluster.violations.append(f"{name}: {what}; {json.dumps(status)[:3000]}")


def _attempt(pod: Object) -> int:
    return int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])

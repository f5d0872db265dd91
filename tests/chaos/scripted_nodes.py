"""Nodes whose kubelets do what a test tells them, and trainers that do what the SDK does.

The nodes are real objects of a real API server: the scheduler binds pods to them. A thread plays
their kubelets; no process is started for a pod.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from headway.client_errors import ClientError
from headway.cluster_api import MERGE_PATCH, ClusterApi
from headway_api import names

Object = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
EVERY = 0.1
LEASE_EVERY = 5.0
READY = {"reason": "Scripted", "message": "as told"}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class Trainer:
    """What runs in one pod.

    Attributes:
        style: ``polite`` looks at its operation and stops when asked; ``deaf`` reports, but never
            looks; ``plain`` has no SDK, and ends on SIGTERM.
        end: how it shall end next: exit code, reason of the container, claim; None goes on.
        stalled: whether it makes no step.
    """

    style: str
    end: tuple[int, str, str] | None = None
    stalled: bool = False
    started: str = field(default_factory=now)
    sequence: int = 0
    step: int = 0
    made: str = field(default_factory=now)
    told_at: float = 0.0
    terminate_by: float | None = None
    checkpoint: Object | None = None


class Cluster:
    """Scripted nodes, and requests to their API server.

    Attributes:
        trainers: by the uid of their pod.
        dark: nodes that are lost.
    """

    def __init__(self, api: ClusterApi, namespace: str, nodes: tuple[str, ...]) -> None:
        self.api = api
        self.namespace = namespace
        self.nodes = nodes
        self.dark: set[str] = set()
        self.trainers: dict[str, Trainer] = {}
        self.styles: dict[str, str] = {}
        self.violations: list[str] = []
        self.pods: list[Object] = []
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._leased = 0.0
        self._threads = [threading.Thread(target=self._run, daemon=True, name="kubelets")]

    def start(self) -> None:
        """Bring the nodes up."""
        for node in self.nodes:
            self._register(node)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what runs is left as it is."""
        self._ends.set()
        for thread in self._threads:
            thread.join(30)

    def request(self, method: str, path: str, **more: Any) -> Object:
        return self.api.request(method, path, doing=f"{method} {path}", **more)

    @property
    def operations(self) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}"

    def pods_path(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods" + (f"/{name}" if name else "")

    def living(self, operation: str) -> list[Object]:
        """Pods of an operation in which something may run, as they are right now."""
        selector = {"labelSelector": f"{names.LABEL_OPERATION}={operation}"}
        found = self.request("GET", self.pods_path(), query=selector).get("items") or ()
        return [p for p in found if p["status"].get("phase") not in ("Succeeded", "Failed")]

    def trainer_of(self, operation: str) -> Trainer | None:
        """The trainer that runs for an operation, if one does."""
        for pod in self.pods:
            uid = pod["metadata"]["uid"]
            if pod["metadata"]["labels"].get(names.LABEL_OPERATION) == operation:
                trainer = self.trainers.get(uid)
                if trainer is not None and pod["spec"].get("nodeName") not in self.dark:
                    return trainer
        return None

    def set_ready(self, node: str, value: str) -> None:
        """What the control plane believes of a node."""
        condition = {"type": "Ready", "status": value, **READY}
        with contextlib.suppress(ClientError):
            self.request(
                "PATCH",
                f"/api/v1/nodes/{node}/status",
                body={"status": {"conditions": [condition]}},
                content_type=STRATEGIC,
            )

    # The kubelets

    def _register(self, node: str) -> None:
        room = {"cpu": "64", "memory": "256Gi", "pods": "500"}
        labels = {"kubernetes.io/hostname": node, "scripted": "true"}
        self.request("POST", "/api/v1/nodes", body={"metadata": {"name": node, "labels": labels}})
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", **READY}],
        }
        self.request(
            "PATCH",
            f"/api/v1/nodes/{node}/status",
            body={"status": status},
            content_type=STRATEGIC,
        )
        self._lease(node)
        self._untaint(node)

    def _untaint(self, node: str) -> None:
        self.request(
            "PATCH",
            f"/api/v1/nodes/{node}",
            body={"spec": {"taints": None}},
            content_type=MERGE_PATCH,
        )

    def _lease(self, node: str) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now()}
        try:
            self.request("PATCH", f"{path}/{node}", body={"spec": spec}, content_type=MERGE_PATCH)
        except ClientError:
            with contextlib.suppress(ClientError):
                body = {"metadata": {"name": node}, "spec": spec}
                self.request("POST", path, body=body)

    def _run(self) -> None:
        while not self._ends.wait(EVERY):
            try:
                self._round()
            except ClientError:
                continue  # an outage: a kubelet tries again
            except Exception as error:
                self.violations.append(f"the scripted kubelet failed: {error!r}")

    def _round(self) -> None:
        if time.monotonic() - self._leased > LEASE_EVERY:
            for node in self.nodes:
                if node not in self.dark:
                    self._lease(node)
            self._leased = time.monotonic()
        self.pods = self.request("GET", self.pods_path()).get("items") or []
        self._two_attempts_at_once()
        for pod in self.pods:
            node = pod["spec"].get("nodeName")
            if node in self.nodes and node not in self.dark:
                with contextlib.suppress(ClientError):
                    self._keep(pod)

    def _two_attempts_at_once(self) -> None:
        alive: dict[str, set[str]] = {}
        for pod in self.pods:
            if pod["status"].get("phase") not in ("Succeeded", "Failed"):
                labels = pod["metadata"]["labels"]
                uid = labels.get(names.LABEL_OPERATION_UID, "")
                alive.setdefault(uid, set()).add(labels.get(names.LABEL_ATTEMPT, ""))
        for uid, attempts in alive.items():
            if len(attempts) > 1:
                self.violations.append(f"pods of attempts {attempts} of {uid} live at once")

    def _keep(self, pod: Object) -> None:
        metadata, status = pod["metadata"], pod.get("status") or {}
        deleting = "deletionTimestamp" in metadata
        if status.get("phase") in ("Succeeded", "Failed"):
            self.trainers.pop(metadata["uid"], None)
            if deleting:
                self._gone(pod)
            return
        trainer = self.trainers.get(metadata["uid"])
        if trainer is None:
            if deleting:
                self._ended(pod, None, "")
            elif status.get("phase") == "Running":
                self._ended(pod, 255, "Unknown")  # this kubelet was rebooted meanwhile
            else:
                self._begin(pod)
            return
        if deleting and trainer.terminate_by is None:
            grace = metadata.get("deletionGracePeriodSeconds", 30)
            trainer.terminate_by = time.monotonic() + min(grace, 30)
        self._train(pod, trainer)

    def _begin(self, pod: Object) -> None:
        name = pod["metadata"]["labels"][names.LABEL_OPERATION]
        trainer = Trainer(self.styles.get(name, "polite"))
        self._write(pod, "Running", {"running": {"startedAt": trainer.started}})
        self.trainers[pod["metadata"]["uid"]] = trainer

    def _train(self, pod: Object, trainer: Trainer) -> None:
        if trainer.end is not None:
            code, reason, claim = trainer.end
            self._claim(pod, trainer, claim)
            self._ended(pod, code, reason)
            return
        if trainer.terminate_by is not None:
            if trainer.style != "deaf":
                self._claim(pod, trainer, "interrupted" if trainer.style == "polite" else "")
                self._ended(pod, 143, "Error")
            elif time.monotonic() >= trainer.terminate_by:
                self._ended(pod, 137, "Error")
            return
        if trainer.style == "plain" or time.monotonic() - trainer.told_at < 0.5:
            return
        trainer.told_at = time.monotonic()
        operation = self._report(pod, trainer, None)
        if operation is None or trainer.style != "polite":
            return
        stop = _stop_of(operation, self._attempt(pod))
        if stop == "fenced":
            self._ended(pod, 143, "Error")
        elif stop:
            self._claim(pod, trainer, "cancelled", stop)
            self._ended(pod, 0, "Completed")

    def _claim(self, pod: Object, trainer: Trainer, status: str, stop: str = "") -> None:
        if not status or trainer.style == "plain":
            return
        report: Object = {"attempt": self._attempt(pod), "status": status}
        if stop or status == "interrupted":
            report |= {"cancelAcknowledgedAt": now(), "stopReason": stop or "interrupted"}
            uid = pod["metadata"]["labels"][names.LABEL_OPERATION_UID]
            trainer.checkpoint = {"path": f"{uid}/a{self._attempt(pod)}/{trainer.step:06d}"}
        if trainer.checkpoint:
            report["checkpoint"] = trainer.checkpoint
        with contextlib.suppress(ClientError):
            self._report(pod, trainer, report)

    def _attempt(self, pod: Object) -> int:
        return int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])

    def _report(self, pod: Object, trainer: Trainer, report: Object | None) -> Object | None:
        labels = pod["metadata"]["labels"]
        name, attempt = labels[names.LABEL_OPERATION], self._attempt(pod)
        path = f"{self.operations}/{name}"
        operation = self.request("GET", path)
        status = operation.get("status") or {}
        if operation["metadata"]["uid"] != labels[names.LABEL_OPERATION_UID]:
            return None
        held = (status.get("progress") or {}).get("sequence", 0)
        trainer.sequence = max(trainer.sequence, held) + 1
        if not trainer.stalled:
            trainer.step += 1
            trainer.made = now()
        progress = {
            "attempt": attempt,
            "sequence": trainer.sequence,
            "time": trainer.made,
            "heartbeat": now(),
            "step": trainer.step,
        }
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": operation["metadata"]["uid"]},
            {"op": "test", "path": "/status/attempt", "value": attempt},
            {"op": "add", "path": "/status/progress", "value": progress},
        ]
        if report is not None:
            patch.append({"op": "add", "path": "/status/report", "value": report})
        if status.get("attempt") != attempt or status.get("phase") in names_of_ends():
            return operation
        answer: Object = self.request(
            "PATCH", f"{path}/status", body=patch, content_type=JSON_PATCH
        )
        return answer

    def _ended(self, pod: Object, code: int | None, reason: str) -> None:
        phase = "Succeeded" if code == 0 else "Failed"
        state = None
        if code is not None:
            started = (self.trainers.get(pod["metadata"]["uid"]) or Trainer("")).started
            state = {
                "terminated": {
                    "exitCode": code,
                    "reason": reason,
                    "startedAt": started,
                    "finishedAt": now(),
                }
            }
        self._write(pod, phase, state)
        self.trainers.pop(pod["metadata"]["uid"], None)

    def _write(self, pod: Object, phase: str, state: Object | None) -> None:
        status: Object = {"phase": phase}
        if state is not None:
            ready = "running" in state
            status["containerStatuses"] = [
                {
                    "name": names.TRAINER_CONTAINER,
                    "image": "i",
                    "imageID": "i",
                    "ready": ready,
                    "restartCount": 0,
                    "state": state,
                }
            ]
            status["conditions"] = [{"type": "Ready", "status": str(ready)}]
        self.request(
            "PATCH",
            self.pods_path(pod["metadata"]["name"]) + "/status",
            body={"metadata": {"uid": pod["metadata"]["uid"]}, "status": status},
            content_type=STRATEGIC,
        )

    def _gone(self, pod: Object) -> None:
        self.request(
            "DELETE",
            self.pods_path(pod["metadata"]["name"]),
            body={"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}},
        )


def names_of_ends() -> tuple[str, ...]:
    """The final phases."""
    return ("Succeeded", "Failed", "Cancelled")


def _stop_of(operation: Object, attempt: int) -> str:
    """Why the trainer of an attempt should stop, as the SDK reads it; empty where it should not."""
    status, spec = operation.get("status") or {}, operation["spec"]
    if status.get("attempt") != attempt or status.get("phase") in names_of_ends():
        return "fenced"
    if spec.get("cancel"):
        return "cancelled"
    if spec.get("suspend"):
        return "suspended"
    stop = status.get("stop") or {}
    if stop.get("attempt") == attempt:
        return {"Suspend": "suspended", "DeadlineExceeded": "deadline"}.get(
            stop["cause"], "stalled"
        )
    return ""


def told(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, indent=1, default=str)

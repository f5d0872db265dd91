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
from datetime import UTC, datetime, timedelta
from typing import Any

from headway.client_errors import ClientError
from headway.cluster_api import MERGE_PATCH, ClusterApi
from headway_api import names

Object = dict[str, Any]
SDK_KNOWN_AFTER = 5.0
"""Seconds after its first report from which on everybody knows that a trainer has an SDK."""
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
    reported_at: float | None = None
    deletion_judged: bool = False


@dataclass(frozen=True)
class End:
    """How a trainer really ended.

    Attributes:
        code: its exit code; None where it never ran.
        claim: what it said of its end; empty where it said nothing.
        why: ``told`` (by the test, as by its own defect or success), ``asked`` (it saw a stop),
            ``deleted``, ``fenced`` or ``rebooted``.
    """

    code: int | None
    claim: str
    why: str


class Cluster:
    """Scripted nodes, and requests to their API server.

    Attributes:
        trainers: by the uid of their pod.
        dark: nodes that are lost.
        pulls: seconds that a node takes to start a trainer, by the operation's name.
        ends: how trainers really ended, by the uid of their operation and the attempt.
        began: uids of operations of which a trainer ever ran.
        cancelled: uids of operations that are Cancelled; nothing of them may live.
        deleted: uids of pods, and names of operations, that the test itself deletes or preempts.
    """

    def __init__(self, api: ClusterApi, namespace: str, nodes: tuple[str, ...]) -> None:
        self.api = api
        self.namespace = namespace
        self.nodes = nodes
        self.dark: set[str] = set()
        self.trainers: dict[str, Trainer] = {}
        self.styles: dict[str, str] = {}
        self.pulls: dict[str, float] = {}
        self.ends: dict[tuple[str, int], list[End]] = {}
        self.began: set[str] = set()
        self.cancelled: set[str] = set()
        self.deleted: set[str] = set()
        self._seen_at: dict[str, float] = {}
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

    def jobs_path(self, name: str = "") -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs" + (f"/{name}" if name else "")

    def listed(self, path: str, operation: str) -> list[Object]:
        """The objects of a kind that belong to an operation, as they are right now."""
        selector = {"labelSelector": f"{names.LABEL_OPERATION}={operation}"}
        return self.request("GET", path, query=selector).get("items") or []

    def living(self, operation: str) -> list[Object]:
        """Pods of an operation in which something may run, as they are right now."""
        found = self.listed(self.pods_path(), operation)
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

    def on_a_node(self, operation: str) -> list[Object]:
        """Its living pods on nodes that are not lost, as they were a moment ago."""
        return [
            p
            for p in self.pods
            if p["metadata"]["labels"].get(names.LABEL_OPERATION) == operation
            and p["status"].get("phase") not in ("Succeeded", "Failed")
            and p["spec"].get("nodeName") in set(self.nodes) - self.dark
        ]

    def held(self, operation: str) -> list[Object]:
        """Jobs of an operation that a queue holds back, right now."""
        return [j for j in self._jobs(operation) if j["spec"].get("suspend")]

    def admit(self, operation: str) -> bool:
        """Let a run start, as Kueue does when there is room; False where nothing waits."""
        return self._switch(self.held(operation), held=False)

    def preempt(self, operation: str) -> bool:
        """Take a run's place away, as Kueue does for a more important one."""
        self.deleted.add(operation)
        going = [j for j in self._jobs(operation) if not j["spec"].get("suspend")]
        return self._switch(going, held=True)

    def _jobs(self, operation: str) -> list[Object]:
        """Its Jobs that are not over."""
        return [
            j
            for j in self.listed(self.jobs_path(), operation)
            if "deletionTimestamp" not in j["metadata"]
            and not any(
                c["type"] in ("Complete", "Failed") and c["status"] == "True"
                for c in j["status"].get("conditions") or ()
            )
        ]

    def _switch(self, jobs: list[Object], *, held: bool) -> bool:
        for job in jobs:
            path = self.jobs_path(job["metadata"]["name"])
            body = {"spec": {"suspend": held}}
            self.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        return bool(jobs)

    def delete_pod(self, pod: Object) -> None:
        """Delete a pod, as a person or the cluster does."""
        self.deleted.add(pod["metadata"]["uid"])
        self.request("DELETE", self.pods_path(pod["metadata"]["name"]))

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
        cancelled = set(self.cancelled)  # before the pods are read: nothing of these may live
        self.pods = self.request("GET", self.pods_path()).get("items") or []
        self._nothing_lives_of(cancelled)
        self._two_attempts_at_once()
        for pod in self.pods:
            node = pod["spec"].get("nodeName")
            if node in self.nodes and node not in self.dark:
                with contextlib.suppress(ClientError):
                    self._keep(pod)

    def _nothing_lives_of(self, cancelled: set[str]) -> None:
        for pod in self.pods:
            uid = pod["metadata"]["labels"].get(names.LABEL_OPERATION_UID, "")
            if uid in cancelled and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                self.violations.append(f"{pod['metadata']['name']} lives behind a Cancelled")

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
            seen = self._seen_at.setdefault(metadata["uid"], time.monotonic())
            pulls = self.pulls.get(metadata["labels"][names.LABEL_OPERATION], 0.0)
            if deleting:
                self._ended(pod, None, "", why="deleted")
            elif status.get("phase") == "Running":
                self._ended(pod, 255, "Unknown", why="rebooted")  # this kubelet, meanwhile
            elif time.monotonic() >= seen + pulls:
                self._begin(pod)
            return
        if deleting:
            grace = metadata.get("deletionGracePeriodSeconds", 30)
            if trainer.terminate_by is None:
                trainer.terminate_by = time.monotonic() + min(grace, 30)
            self._judge_the_deletion(pod, trainer, grace)
        self._train(pod, trainer)

    def _judge_the_deletion(self, pod: Object, trainer: Trainer, grace: int) -> None:
        """Who deletes a trainer's pod has to have a reason, and to wait for the grace period."""
        if grace == 0:
            self.violations.append(f"{pod['metadata']['name']} runs, and was deleted without grace")
        if trainer.deletion_judged:
            return
        labels = pod["metadata"]["labels"]
        name = labels[names.LABEL_OPERATION]
        if {pod["metadata"]["uid"], name} & self.deleted:
            trainer.deletion_judged = True
            return
        operation = self.request("GET", f"{self.operations}/{name}")
        trainer.deletion_judged = True
        status = operation.get("status") or {}
        if (
            operation["metadata"]["uid"] != labels[names.LABEL_OPERATION_UID]
            or status.get("attempt") != self._attempt(pod)
            or status.get("phase") in names_of_ends()
        ):
            return
        asked = datetime.fromisoformat(pod["metadata"]["deletionTimestamp"])
        asked -= timedelta(seconds=grace)
        told = status.get("cancellation") or status.get("stop")
        if not told:
            self._broken_for(pod, "was deleted, and nobody had asked for it", status)
        elif self._has_an_sdk(trainer) and "deadline" in told:
            deadline = datetime.fromisoformat(told["deadline"])
            if asked < deadline - timedelta(seconds=1.5):  # stamps of pods are whole seconds
                self._broken_for(pod, f"was deleted at {asked}, before {deadline}", status)

    def _has_an_sdk(self, trainer: Trainer) -> bool:
        first = trainer.reported_at
        return first is not None and time.monotonic() - first > SDK_KNOWN_AFTER

    def _broken_for(self, pod: Object, what: str, status: Object) -> None:
        told = json.dumps(status)[:3000]
        self.violations.append(f"{pod['metadata']['name']} {what}; {told}")

    def _begin(self, pod: Object) -> None:
        name = pod["metadata"]["labels"][names.LABEL_OPERATION]
        trainer = Trainer(self.styles.get(name, "polite"))
        self._write(pod, "Running", {"running": {"startedAt": trainer.started}})
        self.began.add(pod["metadata"]["labels"][names.LABEL_OPERATION_UID])
        self.trainers[pod["metadata"]["uid"]] = trainer

    def _train(self, pod: Object, trainer: Trainer) -> None:
        if trainer.end is not None:
            code, reason, claim = trainer.end
            report = self._claim(pod, trainer, claim)
            self._ended(pod, code, reason, report, why="told")
            return
        if trainer.terminate_by is not None:
            if trainer.style != "deaf":
                claim = "interrupted" if trainer.style == "polite" else ""
                report = self._claim(pod, trainer, claim)
                self._ended(pod, 143, "Error", report, why="deleted")
            elif time.monotonic() >= trainer.terminate_by:
                self._ended(pod, 137, "Error", why="deleted")
            return
        if trainer.style == "plain" or time.monotonic() - trainer.told_at < 0.5:
            return
        trainer.told_at = time.monotonic()
        operation = self._report(pod, trainer, None)
        if operation is None or trainer.style != "polite":
            return
        stop = _stop_of(operation, self._attempt(pod))
        if stop == "fenced":
            self._ended(pod, 143, "Error", why="fenced")
        elif stop:
            report = self._claim(pod, trainer, "cancelled", stop)
            self._ended(pod, 0, "Completed", report, why="asked")

    def _claim(self, pod: Object, trainer: Trainer, status: str, stop: str = "") -> Object | None:
        """Report how it ends; what could not be delivered is in its termination message, too."""
        if not status or trainer.style == "plain":
            return None
        report: Object = {"attempt": self._attempt(pod), "status": status}
        if stop or status == "interrupted":
            report |= {"cancelAcknowledgedAt": now(), "stopReason": stop or "interrupted"}
            uid = pod["metadata"]["labels"][names.LABEL_OPERATION_UID]
            trainer.checkpoint = {"path": f"{uid}/a{self._attempt(pod)}/{trainer.step:06d}"}
        if trainer.checkpoint:
            report["checkpoint"] = trainer.checkpoint
        with contextlib.suppress(ClientError):
            self._report(pod, trainer, report)
        return report

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
        trainer.reported_at = trainer.reported_at or time.monotonic()
        return answer

    def _ended(
        self, pod: Object, code: int | None, reason: str, report: Object | None = None, *, why: str
    ) -> None:
        labels = pod["metadata"]["labels"]
        ends = self.ends.setdefault((labels[names.LABEL_OPERATION_UID], self._attempt(pod)), [])
        ends.append(End(code, (report or {}).get("status", ""), why))
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
                    "message": json.dumps({"headway": 1, "report": report}) if report else "",
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

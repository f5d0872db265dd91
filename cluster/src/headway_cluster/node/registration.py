"""The Node object and its lease: what makes this machine a node, and keeps it one."""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import psutil
from headway_api.version import __version__

from headway_cluster.node.api import (
    MERGE_PATCH,
    Api,
    ApiError,
    ApiUnavailableError,
    Json,
    pause_after,
)
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.pods import rfc3339

log = logging.getLogger(__name__)

PROCESS_NODE_LABEL = "headway.dev/process-node"
"""Label of every process node, for selectors: its pods are processes of a host."""
_RENEWALS = 4
"""How often a lease is renewed within its time."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


class Registration:
    """Keeps the Node registered and its lease fresh, from a thread of its own."""

    def __init__(self, api: Api, config: NodeConfig, log_port: int | None) -> None:
        """Take what is said of the node; ``log_port`` is where its log endpoint listens."""
        self._api = api
        self._config = config
        self._log_port = log_port
        self._path = f"/api/v1/nodes/{config.node_name}"
        self._leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        self._uid = ""
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="registration", daemon=True)

    def start(self) -> None:
        """Register, and stay registered."""
        self._thread.start()

    def leave(self) -> None:
        """Say that this node takes no more pods, once, and renew nothing any more."""
        self._leaving.set()
        try:
            self._api.patch(f"{self._path}/status", self._status(ready=False))
        except (ApiError, ApiUnavailableError) as error:
            log.debug("the node could not say that it leaves: %s", error)

    def _keep(self) -> None:
        failures = 0
        pause = 0.0
        while not self._leaving.wait(pause):
            try:
                if not self._uid:
                    self._register()
                    log.info("node %s is registered", self._config.node_name)
                self._renew()
                self._confirm()
                failures, pause = 0, self._config.lease_seconds / _RENEWALS
            except ApiError as error:
                # The Node may have been deleted by hand: then it is registered anew.
                self._uid = ""
                log.warning("node %s: %s", self._config.node_name, error)
                failures, pause = failures + 1, pause_after(failures)
            except ApiUnavailableError as error:
                log.debug("%s", error)
                failures, pause = failures + 1, pause_after(failures, 2.0)
            except Exception:
                # Without this thread the node would count as lost, and its pods with it.
                log.exception("node %s: trying again", self._config.node_name)
                failures, pause = failures + 1, pause_after(failures)

    def _register(self) -> None:
        config = self._config
        labels = self._labels()
        node: Json = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": config.node_name, "labels": labels},
            "spec": {"taints": list(config.taints)} if config.taints else {},
            **self._status(ready=True),
        }
        try:
            made = self._api.create("/api/v1/nodes", node)
        except ApiError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise
            made = self._api.patch(self._path, {"metadata": {"labels": labels}}, MERGE_PATCH)
            self._api.patch(f"{self._path}/status", self._status(ready=True))
        self._uid = made["metadata"]["uid"]

    def _confirm(self) -> None:
        """Say again that the node is ready if somebody holds otherwise."""
        node = self._api.get(self._path, resourceVersion="0")
        conditions = {one["type"]: one for one in (node.get("status") or {}).get("conditions", ())}
        if (conditions.get("Ready") or {}).get("status") != "True" and not self._leaving.is_set():
            self._api.patch(f"{self._path}/status", self._status(ready=True))

    def _renew(self) -> None:
        name = self._config.node_name
        lease: Json = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": "kube-node-lease",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._uid}
                ],
            },
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": self._config.lease_seconds,
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        try:
            self._api.patch(f"{self._leases}/{name}", {"spec": lease["spec"]}, MERGE_PATCH)
        except ApiError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            self._api.create(self._leases, lease)

    def _labels(self) -> dict[str, str]:
        return {
            "kubernetes.io/hostname": self._config.node_name,
            "kubernetes.io/os": platform.system().lower(),
            "kubernetes.io/arch": architecture(),
            PROCESS_NODE_LABEL: "true",
            **self._config.labels,
        }

    def _status(self, *, ready: bool) -> Json:
        now = rfc3339(time.time())
        capacity = capacity_of(self._config)
        conditions = [
            {
                "type": kind,
                "status": "False",
                "reason": "NotMeasured",
                "message": "a process node does not measure this",
            }
            for kind in _PRESSURES
        ]
        conditions.append(
            {
                "type": "Ready",
                "status": "True",
                "reason": "AgentReady",
                "message": "the node agent runs pods as processes",
            }
            if ready
            else {
                "type": "Ready",
                "status": "False",
                "reason": "AgentStopping",
                "message": "the node agent is being stopped",
            }
        )
        for condition in conditions:
            condition["lastHeartbeatTime"] = condition["lastTransitionTime"] = now
        status: Json = {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": self._config.address}],
            "nodeInfo": {
                "machineID": _first_line(Path("/etc/machine-id")),
                "systemUUID": "",
                "bootID": _first_line(Path("/proc/sys/kernel/random/boot_id")),
                "kernelVersion": platform.release(),
                "osImage": platform.platform(terse=True),
                "containerRuntimeVersion": f"process://{__version__}",
                "kubeletVersion": f"headway-{__version__}",
                "kubeProxyVersion": "",
                "operatingSystem": platform.system().lower(),
                "architecture": architecture(),
            },
        }
        if self._log_port is not None:
            status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self._log_port}}
        return {"status": status}


def capacity_of(config: NodeConfig) -> dict[str, str]:
    """What the node offers, as Kubernetes quantities."""
    disk = psutil.disk_usage(str(config.state_dir)).total
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{psutil.virtual_memory().total // 1024}Ki",
        "ephemeral-storage": f"{disk // 1024}Ki",
        "pods": str(config.max_pods),
    }


def architecture() -> str:
    """This machine's architecture as Kubernetes names it."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def _first_line(file: Path) -> str:
    try:
        return file.read_text().strip().split("\n", 1)[0]
    except OSError:
        return ""

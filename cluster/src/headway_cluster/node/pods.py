"""A pod as the API server gives it, in the parts that the node works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class Role(StrEnum):
    """What a container is in its pod."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"


class RestartPolicy(StrEnum):
    """When a container that ended is started again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True)
class Mount:
    """A volume's place in a container."""

    volume: str
    path: str
    sub_path: str
    sub_path_expr: str
    read_only: bool


@dataclass(frozen=True)
class Probe:
    """A check of a container. Exactly one of the actions is set; times in seconds."""

    exec_command: tuple[str, ...] | None
    http_get: Mapping[str, Any] | None
    tcp_socket: Mapping[str, Any] | None
    initial_delay: float
    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int
    grace: float | None


@dataclass(frozen=True)
class Container:
    """A container of a pod."""

    name: str
    role: Role
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    env: tuple[Mapping[str, Any], ...]
    env_from: tuple[Mapping[str, Any], ...]
    mounts: tuple[Mount, ...]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    ports: Mapping[str, int]
    restart_policy: RestartPolicy
    termination_path: str
    logs_as_message: bool
    startup: Probe | None
    readiness: Probe | None
    liveness: Probe | None


@dataclass(frozen=True)
class Pod:
    """A pod. ``raw`` is what the API server sent, for what only the edge looks at.

    Attributes:
        deletion_grace: seconds of ``deletionGracePeriodSeconds``; None while it is not deleted.
        grace: seconds of ``spec.terminationGracePeriodSeconds``.
        active_deadline: seconds that it may be active, counted from its start on the node.
        hostname: what its containers are told as their own.
    """

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    deletion_grace: float | None
    grace: float
    active_deadline: float | None
    restart_policy: RestartPolicy
    host_network: bool
    hostname: str
    service_account: str
    phase: str
    containers: tuple[Container, ...]
    volumes: Mapping[str, Mapping[str, Any]]
    readiness_gates: tuple[str, ...]
    raw: Json

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """The pod's path at the API server."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    def of(self, *roles: Role) -> tuple[Container, ...]:
        """The containers of some roles, in the order of the spec."""
        return tuple(one for one in self.containers if one.role in roles)

    @property
    def is_final(self) -> bool:
        """Whether the API server already has it as ended."""
        return self.phase in ("Succeeded", "Failed")


def parse(raw: Json) -> Pod:
    """Read a pod object."""
    meta, spec = raw["metadata"], raw["spec"]
    policy = RestartPolicy(spec.get("restartPolicy") or "Always")
    inits = [_container(one, policy, init=True) for one in spec.get("initContainers") or ()]
    mains = [_container(one, policy, init=False) for one in spec.get("containers") or ()]
    grace = spec.get("terminationGracePeriodSeconds")
    deadline = spec.get("activeDeadlineSeconds")
    deleted = meta.get("deletionTimestamp") is not None
    return Pod(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        deletion_grace=float(meta.get("deletionGracePeriodSeconds") or 0) if deleted else None,
        grace=30.0 if grace is None else float(grace),
        active_deadline=None if deadline is None else float(deadline),
        restart_policy=policy,
        host_network=bool(spec.get("hostNetwork")),
        hostname=spec.get("hostnameOverride") or spec.get("hostname") or _short(meta["name"]),
        service_account=spec.get("serviceAccountName") or "default",
        phase=(raw.get("status") or {}).get("phase") or "Pending",
        containers=(*inits, *mains),
        volumes={volume["name"]: volume for volume in spec.get("volumes") or ()},
        readiness_gates=tuple(gate["conditionType"] for gate in spec.get("readinessGates") or ()),
        raw=raw,
    )


def _short(name: str) -> str:
    """A name as a hostname, which has at most 63 characters; kubelet cuts it in the same way."""
    return name[:63].rstrip("-.")


def _container(raw: Json, policy: RestartPolicy, *, init: bool) -> Container:
    role = Role.MAIN
    if init:
        role = Role.SIDECAR if raw.get("restartPolicy") == "Always" else Role.INIT
        if role is Role.SIDECAR:
            policy = RestartPolicy.ALWAYS
        elif policy is RestartPolicy.ALWAYS:
            policy = RestartPolicy.ON_FAILURE
    resources = raw.get("resources") or {}
    return Container(
        name=raw["name"],
        role=role,
        image=raw.get("image") or "",
        command=tuple(raw.get("command") or ()),
        args=tuple(raw.get("args") or ()),
        working_dir=raw.get("workingDir") or "",
        env=tuple(raw.get("env") or ()),
        env_from=tuple(raw.get("envFrom") or ()),
        mounts=tuple(
            Mount(
                volume=mount["name"],
                path=mount["mountPath"],
                sub_path=mount.get("subPath") or "",
                sub_path_expr=mount.get("subPathExpr") or "",
                read_only=bool(mount.get("readOnly")),
            )
            for mount in raw.get("volumeMounts") or ()
        ),
        requests=resources.get("requests") or {},
        limits=resources.get("limits") or {},
        ports={
            port["name"]: port["containerPort"]
            for port in raw.get("ports") or ()
            if port.get("name")
        },
        restart_policy=policy,
        termination_path=raw.get("terminationMessagePath") or "/dev/termination-log",
        logs_as_message=raw.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        startup=_probe(raw.get("startupProbe")),
        readiness=_probe(raw.get("readinessProbe")),
        liveness=_probe(raw.get("livenessProbe")),
    )


def _probe(raw: Json | None) -> Probe | None:
    if not raw:
        return None
    grace = raw.get("terminationGracePeriodSeconds")
    command = (raw.get("exec") or {}).get("command")
    return Probe(
        exec_command=tuple(command) if command else None,
        http_get=raw.get("httpGet"),
        tcp_socket=raw.get("tcpSocket"),
        initial_delay=float(raw.get("initialDelaySeconds") or 0),
        period=float(raw.get("periodSeconds") or 10),
        timeout=float(raw.get("timeoutSeconds") or 1),
        success_threshold=int(raw.get("successThreshold") or 1),
        failure_threshold=int(raw.get("failureThreshold") or 3),
        grace=None if grace is None else float(grace),
    )


def rfc3339(seconds: float) -> str:
    """A time since the epoch as the API writes it, in whole seconds."""
    from datetime import UTC

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

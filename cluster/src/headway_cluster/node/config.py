"""What a node agent must know, read from one JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headway_cluster.node.images import Image
from headway_cluster.writing import write_whole


class ConfigError(Exception):
    """The configuration file is missing, unreadable or incomplete."""


@dataclass(frozen=True)
class NodeConfig:
    """Everything that one node agent is told.

    Attributes:
        node_name: name of the Node; the kubeconfig's user must be ``system:node:<node_name>``.
        kubeconfig: credential of the node, in the group ``system:nodes``.
        state_dir: folder for pods, logs and volumes. It is made on start, for this user alone.
        images: what each image name stands for on this machine.
        provisioner_kubeconfig: credential of the volume provisioner; without it claims of the
            storage class ``headway.dev/local`` stay unbound.
        address: IP address that the API server reaches the log endpoint at.
        log_port: port of the log endpoint; 0 takes a free one, which the Node then announces.
        serving_cert: PEM file with the log endpoint's certificate, valid for ``address``.
        serving_key: PEM file with its key.
        client_ca: PEM file with the authority that signs the API server's client certificate.
        log_client: common name that this certificate must have. Other certificates of the same
            authority are refused: users have those, too.
        host_namespaces: makes it a host machine, which takes only runs with ``placement: Host`` of
            these namespaces, and asks the API server who may read logs; None takes every pod.
        pod_network: IPv4 network inside 127.0.0.0/8 that pods get their addresses from.
        max_pods: pods that this node takes at most.
        labels: more labels for the Node.
        taints: taints for the Node when it is first registered, as in its ``spec.taints``.
        crash_backoff: seconds before the second restart of a container; it doubles from there.
        crash_backoff_limit: seconds that it grows to.
        shutdown_grace: seconds that pods get at most when the agent itself is told to stop.
        lease_seconds: a node that has not renewed its lease for so long counts as lost.
        log_file_bytes: a container's log file is rotated when it is this large.
        log_files: log files kept for a run, the current one included.
    """

    node_name: str
    kubeconfig: Path
    state_dir: Path
    images: dict[str, Image] = field(default_factory=dict)
    provisioner_kubeconfig: Path | None = None
    address: str = "127.0.0.1"
    log_port: int = 0
    serving_cert: Path | None = None
    serving_key: Path | None = None
    client_ca: Path | None = None
    log_client: str = "kube-apiserver-kubelet-client"
    host_namespaces: tuple[str, ...] | None = None
    pod_network: str = "127.64.0.0/16"
    max_pods: int = 110
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()
    crash_backoff: float = 10.0
    crash_backoff_limit: float = 300.0
    shutdown_grace: float = 10.0
    lease_seconds: int = 40
    log_file_bytes: int = 10 * 1024 * 1024
    log_files: int = 3

    @classmethod
    def load(cls, file: Path) -> NodeConfig:
        """Read a configuration file.

        Raises:
            ConfigError: the file cannot be read, or says something this agent does not know.
        """
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the node configuration {file}: {error}") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{file}: a JSON object is expected")
        try:
            return cls(**{key: _typed(key, value) for key, value in content.items()})
        except (TypeError, AttributeError, ValueError) as error:
            raise ConfigError(f"{file}: {error}") from error

    def dump(self, file: Path) -> None:
        """Write the configuration so that ``load`` reads the same back; never half of it."""
        write_whole(file, json.dumps(asdict(self), indent=2, default=str) + "\n")


_PATHS = frozenset(
    {
        "kubeconfig",
        "state_dir",
        "provisioner_kubeconfig",
        "serving_cert",
        "serving_key",
        "client_ca",
    }
)


def _typed(key: str, value: Any) -> Any:
    if key in _PATHS:
        return None if value is None else Path(value)
    if key == "images":
        return {name: Image.from_json(image) for name, image in value.items()}
    if key == "taints":
        return tuple(value)
    if key == "host_namespaces":
        return None if value is None else tuple(value)
    return value

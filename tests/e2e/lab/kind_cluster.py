"""A kind cluster with one control plane and some workers that share a folder."""

from __future__ import annotations

import itertools
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands import LabError, run, say, succeeds

SHARED = "/shared"
_ADDRESSED_WITHIN = 90.0
_READY_WITHIN = "240s"
_CLOSED_NETWORK: dict[str, Any] = {
    "networking": {"ipFamily": "ipv4", "disableDefaultCNI": True, "kubeProxyMode": "nftables"},
    "kubeadmConfigPatches": [
        "kind: KubeletConfiguration\nfailCgroupV1: false\ncgroupDriver: cgroupfs\n"
    ],
}


@dataclass(frozen=True)
class KindCluster:
    """How to make one cluster and reach it.

    Attributes:
        name: of the cluster.
        kind: the program.
        kubectl: the program.
        kubeconfig: where the administrator's is written.
        shared: folder of this machine that every node sees at ``/shared``.
        image: node image; None means kind's own.
        own_network: the nodes' network is set up here: the node image brings no network of its own.
        entering: what to put before a command so that it reaches the API server.
        environment: what makes docker and kind use the right engine.
    """

    name: str
    kind: Path
    kubectl: Path
    kubeconfig: Path
    shared: Path
    image: str | None = None
    own_network: bool = False
    entering: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def up(self, workers: int = 3) -> None:
        """Make it, and wait until every node is Ready.

        Raises:
            LabError: it does not come up.
        """
        self.shared.mkdir(parents=True, exist_ok=True)
        self.shared.chmod(0o1777)
        say(f"making the kind cluster {self.name} with {workers} workers")
        chosen = ["--image", self.image] if self.image else []
        self._kind(
            *("create", "cluster", "--name", self.name, "--config", "-"),
            *("--kubeconfig", str(self.kubeconfig), *chosen),
            stdin=json.dumps(self._config(workers)),
        )
        if self.own_network:
            self._route(workers + 1)
        self.ask("wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={_READY_WITHIN}")
        say(f"every node of {self.name} is ready")

    def down(self) -> None:
        """Take it away, if it is there."""
        self._kind("delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))

    def is_there(self) -> bool:
        """Whether it was made and answers."""
        return self.kubeconfig.exists() and succeeds(self._asking("get", "nodes"))

    def nodes(self) -> list[str]:
        """Names of the nodes: the control plane's first."""
        return sorted(self._kind("get", "nodes", "--name", self.name).split())

    def load(self, archives: Sequence[Path], nodes: Sequence[str] = ()) -> None:
        """Put image archives onto nodes, by default onto every one."""
        nodes = nodes or self.nodes()
        for archive in archives:
            say(f"loading {archive.name} onto {len(nodes)} nodes")
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._load_onto, nodes, itertools.repeat(archive)))

    def _load_onto(self, node: str, archive: Path) -> None:
        taking = shlex.join(
            ["docker", "exec", "-i", node, "ctr", "--namespace=k8s.io", "images", "import", "-"]
        )
        run(["sh", "-c", f"{taking} < {shlex.quote(str(archive))}"], env=self.environment)

    def ask(self, *args: str) -> str:
        """What ``kubectl args...`` prints."""
        return run(self._asking(*args))

    def _asking(self, *args: str) -> list[str | Path]:
        return [*self.entering, self.kubectl, f"--kubeconfig={self.kubeconfig}", *args]

    def _kind(self, *args: str, stdin: str | None = None) -> str:
        command = [*self.entering, self.kind, *args]
        return run(command, env=self.environment, stdin=stdin)

    def _config(self, workers: int) -> dict[str, Any]:
        mount = {"hostPath": str(self.shared), "containerPath": SHARED}
        roles = ["control-plane", *["worker"] * workers]
        return {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [{"role": role, "extraMounts": [mount]} for role in roles],
            **(_CLOSED_NETWORK if self.own_network else {}),
        }

    def _route(self, nodes: int) -> None:
        """Tell every node the way to the pods of the others: its network plugin does not."""
        deadline = time.monotonic() + _ADDRESSED_WITHIN
        while True:
            found = [
                _addressed(n) for n in json.loads(self.ask("get", "nodes", "-o", "json"))["items"]
            ]
            known = [node for node in found if node]
            if len(known) == nodes:
                break
            if time.monotonic() > deadline:
                raise LabError(f"only {len(known)} of {nodes} nodes have addresses")
            time.sleep(0.5)
        for name, _, _ in known:
            others = [f"ip route replace {pods} via {via}" for n, pods, via in known if n != name]
            run(["docker", "exec", name, "sh", "-c", " && ".join(others)], env=self.environment)


def _addressed(node: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """A node's name, the range of its pods, and its own address; None while it has none."""
    pods = node["spec"].get("podCIDR")
    own = [a["address"] for a in node["status"].get("addresses", ()) if a["type"] == "InternalIP"]
    return (node["metadata"]["name"], pods, own[0]) if pods and own else None

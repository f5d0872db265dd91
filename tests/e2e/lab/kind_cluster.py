"""A kind cluster with one control plane and some workers that share a folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from commands import LabError, run, say, succeeds
from headway_cluster.kind.docker import Docker
from headway_cluster.kind.program import Kind, configuration

SHARED = "/shared"
_ADDRESSED_WITHIN = 90.0
_READY_WITHIN = "240s"
_CLOSED_NETWORK = Path(__file__).with_name("closed-network.yaml")


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
            LabError, ClusterError: it does not come up.
        """
        self.shared.mkdir(parents=True, exist_ok=True)
        self.shared.chmod(0o1777)
        say(f"making the kind cluster {self.name} with {workers} workers")
        base = yaml.safe_load(_CLOSED_NETWORK.read_text()) if self.own_network else {}
        mount = {"hostPath": str(self.shared), "containerPath": SHARED}
        self._kind.create(configuration(base, workers, [mount]), self.image)
        if self.own_network:
            self._route(workers + 1)
        self.ask("wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={_READY_WITHIN}")
        say(f"every node of {self.name} is ready")

    def down(self) -> None:
        """Take it away, if it is there."""
        self._kind.delete()

    def is_there(self) -> bool:
        """Whether it was made and answers."""
        return self.kubeconfig.exists() and succeeds(self._asking("get", "nodes"))

    def nodes(self) -> list[str]:
        """Names of the nodes: the control plane's first."""
        return [machine.name for machine in self._docker.machines(self.name)]

    def load(self, archives: Sequence[Path], nodes: Sequence[str] = ()) -> None:
        """Put image archives onto nodes, by default onto every one."""
        for archive in archives:
            say(f"loading {archive.name} onto {', '.join(nodes) or 'every node'}")
            self._kind.load_archive(archive, nodes)

    def ask(self, *args: str) -> str:
        """What ``kubectl args...`` prints."""
        return run(self._asking(*args))

    def _asking(self, *args: str) -> list[str | Path]:
        return [*self.entering, self.kubectl, f"--kubeconfig={self.kubeconfig}", *args]

    @property
    def _kind(self) -> Kind:
        command = [*self.entering, str(self.kind)]
        return Kind(command, self.name, self.kubeconfig, self._docker.environment)

    @property
    def _docker(self) -> Docker:
        return Docker.of({**os.environ, **self.environment})

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

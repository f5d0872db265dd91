"""Where the lab keeps its things, and under which names they are known on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway_cluster.binaries.toolsets import KIND_VERSION, KUBERNETES_VERSION
from headway_cluster.home import Home

NETWORK = "headway-lab"
"""Network namespace of the engine and all its nodes: a loopback, bridges, and no way out."""
ENGINE_FOLDER = Path("/run/headway-lab")
"""The engine's sockets: their paths must be short."""
NODE_IMAGE = f"headway-lab/node:{KUBERNETES_VERSION}-kind-{KIND_VERSION}"
NODE_BASE = "headway-lab/node-base:1"
ETCD_TAG = "3.7.0-0"
COREDNS_VERSION = "v1.14.6"
PAUSE_TAG = "3.10.2"


@dataclass(frozen=True)
class Places:
    """The folders of the lab.

    Attributes:
        home: whose cache holds programs and images.
    """

    home: Home

    @property
    def root(self) -> Path:
        """All that the lab keeps between two runs: the engine's images and its log."""
        return self.home.cache / "lab"

    @property
    def socket(self) -> str:
        """Address of the engine, as ``DOCKER_HOST`` takes it."""
        return f"unix://{ENGINE_FOLDER}/docker.sock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, for the cluster in the lab."""
        return self.root / "kubeconfig"

    @property
    def shared(self) -> Path:
        """The folder that every node sees at ``/shared``."""
        return self.root / "shared"

    @property
    def scratch(self) -> Path:
        """What is only needed while something is made."""
        return self.root / "scratch"

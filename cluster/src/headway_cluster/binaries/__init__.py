"""The programs of a control plane: found where they are, or built from their Go modules once."""

from headway_cluster.binaries.finding import ensure, ensure_toolset
from headway_cluster.binaries.toolsets import KUBERNETES_VERSION

__all__ = ["KUBERNETES_VERSION", "ensure", "ensure_toolset"]

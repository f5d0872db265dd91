"""A local cluster whose nodes are containers: made by kind on a Docker engine."""

from headway_cluster.kind.cluster import KindCluster, KindOptions
from headway_cluster.kind.images import COMPLETE

__all__ = ["COMPLETE", "KindCluster", "KindOptions"]

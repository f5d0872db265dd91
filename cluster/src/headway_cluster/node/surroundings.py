"""What all pods of one node share."""

from __future__ import annotations

from dataclasses import dataclass

from headway_cluster.node.addresses import Addresses
from headway_cluster.node.announcing import Announcer
from headway_cluster.node.api import Api
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.hosting import HostRules


@dataclass(frozen=True)
class Surroundings:
    """What the workers of one node share.

    Attributes:
        config: the node's configuration.
        api: the API server, as the node.
        addresses: the pod network.
        announcer: writes events.
        cpu: cores of the node.
        memory: bytes of memory of the node.
        rules: what a host machine takes; None takes every pod.
    """

    config: NodeConfig
    api: Api
    addresses: Addresses
    announcer: Announcer
    cpu: int
    memory: int
    rules: HostRules | None = None

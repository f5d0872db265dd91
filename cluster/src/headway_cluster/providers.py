"""Which local cluster it is to be: kind's containers, or the process node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headway_cluster.errors import ClusterError
from headway_cluster.home import Home
from headway_cluster.kind import KindCluster
from headway_cluster.local import LocalCluster
from headway_cluster.standing import ClusterStatus, Provider, standing

Say = Callable[[str], None]


class Cluster(Protocol):
    """A local cluster, whatever it is made of."""

    @property
    def folder(self) -> Path:
        """Where it lives."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; it exists as long as there is a cluster."""

    def up(self, say: Say = ...) -> Path:
        """Bring it up; returns the kubeconfig."""

    def down(self, say: Say = ...) -> bool:
        """Delete it; returns whether there was anything."""

    def status(self) -> ClusterStatus:
        """What is true of it."""

    def program(self, name: str, say: Say = ...) -> Path:
        """A program that goes with it, such as kubectl."""


@dataclass(frozen=True)
class Choice:
    """A provider, and why this one, for people."""

    provider: Provider
    because: str


def choose(
    asked: Provider | None,
    up: Provider | None,
    look: Callable[[], ClusterError | None],
) -> Choice:
    """The provider to bring up.

    Args:
        asked: the one that the person named; None leaves it to us.
        up: the one whose cluster is up, or half up, already.
        look: finds out what keeps kind from working here, None if nothing does; called only
            where that decides.

    Raises:
        ClusterError: the one asked for is not the one that is up.
    """
    if up is not None:
        if asked not in (None, up):
            raise ClusterError(
                f"There is a local cluster already, of provider {up.value}",
                ["headway cluster down", f"headway cluster up --provider {asked}"],
            )
        return Choice(up, "its cluster is here already")
    if asked is not None:
        return Choice(asked, "as asked for")
    if obstacle := look():
        return Choice(Provider.PROCESS, f"not kind: {str(obstacle).splitlines()[0]}")
    return Choice(Provider.KIND, "Docker runs, and Headway's images are there")


def here(home: Home) -> Cluster:
    """The cluster that is up in a home; where none is, the one that needs nothing."""
    return KindCluster(home) if standing(home.cluster) is Provider.KIND else LocalCluster(home)

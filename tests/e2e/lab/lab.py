"""The lab: an engine, a node image in it, and a cluster made of that."""

from __future__ import annotations

from dataclasses import dataclass

import programs
from engine import Engine, install_packages
from headway_cluster.home import Home
from kind_cluster import KindCluster
from node_image import NodeImage
from places import NODE_IMAGE, Places

CLUSTER = "headway-e2e"


@dataclass(frozen=True)
class Lab:
    """All of it, under one home.

    Attributes:
        places: where things are kept.
        engine: the Docker engine in its namespace.
    """

    places: Places
    engine: Engine

    @classmethod
    def of_this_home(cls) -> Lab:
        """The lab whose parts lie in the cache of ``HEADWAY_HOME``."""
        places = Places(Home.find())
        return cls(places, Engine(places))

    def build(self) -> None:
        """Programs, the engine, the node image: minutes once, then they are there."""
        install_packages()
        made = programs.ensure(self.places.home)
        self.engine.start()
        NodeImage(self.places, self.engine, made).ensure()

    def cluster(self) -> KindCluster:
        """The cluster, whether it is there or not."""
        made = programs.ensure(self.places.home)
        return KindCluster(
            CLUSTER,
            made["kind"],
            made["kubectl"],
            self.places.kubeconfig,
            self.places.shared,
            image=NODE_IMAGE,
            own_network=True,
            entering=self.engine.entering,
            environment=self.engine.environment,
        )

    def up(self, workers: int = 3) -> None:
        """A cluster that is ready; one that is there and answers is left as it is."""
        self.build()
        cluster = self.cluster()
        if cluster.is_there():
            return
        cluster.down()
        cluster.up(workers)

    def down(self) -> None:
        """The cluster away."""
        self.engine.start()
        self.cluster().down()

    def stop(self) -> None:
        """Cluster, engine and network away; programs and images stay in the cache."""
        if self.engine.answers():
            self.cluster().down()
        self.engine.stop()

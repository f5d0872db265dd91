"""The local cluster of containers.

Who owns what: ``<home>/state/cluster`` says that the kind cluster ``headway`` of one Docker engine
is this home's, and how it was asked for. It is written before anything is made, so that whatever
was left half done is known to be ours, and is made anew.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from headway_cluster import binaries
from headway_cluster.errors import ClusterError
from headway_cluster.home import WAITING, Home
from headway_cluster.kind import images, program
from headway_cluster.kind.docker import BALANCER, Docker, Machine
from headway_cluster.kind.images import HeadwayImages
from headway_cluster.kind.program import Kind
from headway_cluster.node.api import Api, ApiError, ApiUnavailableError, Json
from headway_cluster.one_at_a_time import one_at_a_time
from headway_cluster.standing import ClusterStatus, Provider, details, note, standing

NAME = "headway"
_READY_WITHIN = 240.0
_POLL = 0.5
Say = Callable[[str], None]


@dataclass(frozen=True)
class KindOptions:
    """How the cluster is asked for; what is left out is kind's own choice.

    Attributes:
        node_image: image of the nodes.
        workers: nodes beside the control plane's.
        configuration: settings in kind's own words.
        archives: folder with the archives of Headway's images; left out, the engine's are taken.
    """

    node_image: str | None = None
    workers: int | None = None
    configuration: Mapping[str, Any] | None = None
    archives: str | None = None

    def over(self, earlier: KindOptions) -> KindOptions:
        """These, and for what they leave out, those of an earlier call."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return replace(earlier, **given)

    @property
    def shape(self) -> tuple[object, ...]:
        """What only a new cluster can follow."""
        return (self.node_image, self.workers, self.configuration)


@dataclass(frozen=True)
class Noted:
    """What is known of the cluster between two commands.

    Attributes:
        options: how it was asked for.
        engine: the variables that name its Docker engine.
        created: kind made it, to the end.
        operator: image to install with, once it is on the nodes.
        trainer: image of runs that name none.
    """

    options: KindOptions = field(default_factory=KindOptions)
    engine: Mapping[str, str] = field(default_factory=dict)
    created: bool = False
    operator: str | None = None
    trainer: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Noted | None:
        """What was written; None where no kind cluster was begun here."""
        if standing(folder) is not Provider.KIND:
            return None
        found = details(folder)
        return cls(
            KindOptions(**found["options"]),
            found["engine"],
            found["created"],
            found["operator"],
            found["trainer"],
        )

    def write(self, folder: Path) -> None:
        """Keep it."""
        note(folder, Provider.KIND, asdict(self))


class KindCluster:
    """The kind cluster of one home."""

    def __init__(
        self, home: Home, options: KindOptions | None = None, *, bare: bool = False
    ) -> None:
        """Take the home; nothing is started yet.

        Args:
            home: where everything is kept.
            options: how it is asked for.
            bare: Headway is not installed on it, so that its images are not needed.
        """
        self._home = home
        self._options = options or KindOptions()
        self._bare = bare

    @property
    def folder(self) -> Path:
        """What this machine knows of the cluster."""
        return self._home.cluster

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it exists as long as there is a cluster."""
        return self.folder / "kubeconfig"

    @property
    def noted(self) -> Noted:
        """What is known of it."""
        return Noted.read(self.folder) or Noted(engine=Docker.of(os.environ).where)

    def obstacle(self, trainers: tuple[str, ...] = images.ANY) -> ClusterError | None:
        """Why it cannot be brought up; None where nothing is in the way.

        Args:
            trainers: images that will do, where they are the engine's.
        """
        if found := self._docker.obstacle():
            return found
        try:
            self._images(trainers)
        except ClusterError as error:
            return error
        return None

    def up(self, say: Say = lambda _: None) -> Path:
        """Bring the cluster up, or what of it does not run; returns the kubeconfig.

        Args:
            say: told what is done, one short line at a time.

        Raises:
            ClusterError: a step failed; running the command again goes on from there.
        """
        if found := self._docker.obstacle():
            raise found
        held = self._images()
        kind = self._kind(say)
        with one_at_a_time(self._home.lock, say, WAITING):
            self._make(kind, say)
            self._wait_until_ready()
            self._load(kind, held, say)
        say(f"Kubernetes {self.status().version} is ready at {Api(self.kubeconfig).server}")
        return self.kubeconfig

    def down(self, say: Say = lambda _: None) -> bool:
        """Delete the cluster with all that is in it; returns whether there was anything.

        Args:
            say: told what is done.

        Raises:
            ClusterError: Docker does not answer, or kind fails.
        """
        if Noted.read(self.folder) is None:
            return False
        if found := self._docker.obstacle():
            raise ClusterError(
                f"The kind cluster {NAME} cannot be deleted: {found}",
                [
                    "start Docker, and then: headway cluster down",
                    f"rm -r {self.folder}    (if that engine is gone for good)",
                ],
            )
        kind = self._kind(say)
        with one_at_a_time(self._home.lock, say, WAITING):
            say(f"deleting the kind cluster {NAME}")
            kind.delete()
            if self.folder.exists():
                shutil.rmtree(self.folder)
        return True

    def status(self) -> ClusterStatus:
        """What is true of the cluster, without changing anything."""
        nodes = self._nodes()
        ready = {node["metadata"]["name"] for node in nodes if _is_ready(node)}
        try:
            machines = self._docker.machines(NAME)
            components = {m.name: _told(m, ready) for m in machines}
        except ClusterError as error:
            machines, components = [], {"docker": str(error).splitlines()[-1]}
        return ClusterStatus(
            provider=Provider.KIND,
            running=bool(machines) and all(_works(m, ready) for m in machines),
            server=Api(self.kubeconfig).server if self.kubeconfig.exists() else None,
            version=nodes[0]["status"]["nodeInfo"]["kubeletVersion"] if nodes else "-",
            kubeconfig=self.kubeconfig,
            home=self.folder,
            components=components or {"nodes": "none"},
        )

    def program(self, name: str, say: Say = lambda _: None) -> Path:
        """A program that goes with a cluster, such as kubectl.

        Raises:
            ClusterError: it can neither be found nor made.
        """
        return binaries.ensure(self._home, [name], say)[name]

    @property
    def _docker(self) -> Docker:
        return Docker(self.noted.engine)

    def _kind(self, say: Say) -> Kind:
        command = [program.find(self._home, say)]
        return Kind(command, NAME, self.kubeconfig, self._docker.environment)

    def _images(self, trainers: tuple[str, ...] = images.ANY) -> HeadwayImages | None:
        """The images to load; None where the nodes need none, or hold them already."""
        if self._bare:
            return None
        noted = self.noted
        archives = self._options.over(noted.options).archives
        try:
            if archives is not None:
                return images.in_archives(Path(archives))
            return images.in_engine(self._docker, trainers)
        except ClusterError:
            held = noted.created and noted.operator and self._docker.machines(NAME)
            if held and self._options.archives is None:
                return None
            raise

    def _make(self, kind: Kind, say: Say) -> None:
        """The cluster's containers, running."""
        noted, machines = Noted.read(self.folder), self._docker.machines(NAME)
        if noted is None and machines:
            raise ClusterError(
                f"Docker has a kind cluster {NAME} already, and it is not this home's",
                [
                    f"kind delete cluster --name {NAME}    (if it is of no use)",
                    "headway cluster up --provider process",
                ],
            )
        noted = noted or self.noted
        if noted.created and machines:
            if any(value is not None for value in self._options.shape):
                say("the cluster is there already: its nodes stay as they are")
            if stopped := [m for m in machines if m.state != "running"]:
                say(f"starting {', '.join(m.name for m in stopped)}")
                self._docker.start(stopped)
            if not self.kubeconfig.exists():
                kind.export()
            return
        noted = Noted(self._options.over(noted.options), noted.engine)
        noted.write(self.folder)
        if machines:
            say(f"deleting what an interrupted start left of the kind cluster {NAME}")
            kind.delete()
        options = noted.options
        say(f"making the kind cluster {NAME}")
        base = options.configuration or {}
        kind.create(program.configuration(base, options.workers), options.node_image, say)
        replace(noted, created=True).write(self.folder)

    def _load(self, kind: Kind, held: HeadwayImages | None, say: Say) -> None:
        """Headway's images onto every node; they are noted once they are there."""
        if held is None:
            return
        both = (held.operator, held.trainer)
        for image in both:
            say(f"loading {image.name} onto the nodes")
            if image.archive is not None:
                kind.load_archive(image.archive)
            else:
                kind.load_images([image.name])
        operator, trainer = (image.name for image in both)
        noted = self.noted
        archives = self._options.archives or noted.options.archives
        options = replace(noted.options, archives=archives)
        replace(noted, options=options, operator=operator, trainer=trainer).write(self.folder)

    def _wait_until_ready(self) -> None:
        wanted = sum(m.role != BALANCER for m in self._docker.machines(NAME))
        deadline = time.monotonic() + _READY_WITHIN
        while True:
            ready = [node for node in self._nodes() if _is_ready(node)]
            if len(ready) >= wanted:
                return
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{len(ready)} of {wanted} nodes of the kind cluster {NAME} are ready after "
                    f"{_READY_WITHIN:.0f} s",
                    ["headway cluster status", "headway cluster up    (it goes on from here)"],
                )
            time.sleep(_POLL)

    def _nodes(self) -> list[Json]:
        """The cluster's nodes; none where it does not answer."""
        if not self.kubeconfig.exists():
            return []
        try:
            found: list[Json] = Api(self.kubeconfig).get("/api/v1/nodes")["items"]
        except (ApiError, ApiUnavailableError):
            return []
        return found


def _is_ready(node: Json) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _works(machine: Machine, ready: set[str]) -> bool:
    return machine.state == "running" and (machine.role == BALANCER or machine.name in ready)


def _told(machine: Machine, ready: set[str]) -> str:
    if machine.state != "running":
        return f"stopped ({machine.state})"
    return "running" if _works(machine, ready) else "running, not ready"

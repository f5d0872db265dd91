"""This machine as a host of somebody's cluster: joined, looked at, and taken away again.

Who owns what: the folder ``<home>/state/host`` holds the credential, the configuration and the
state of the one node agent; the cluster holds a Node, its lease, and a binding of the role that
lets this node look runs up. ``leave`` removes all of it.

Where root joins and runs are another user, only the folders of the credential and of the agent's
state belong to that user; root writes in neither once they do.
"""

from __future__ import annotations

import contextlib
import ipaddress
import platform
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from headway_api import names

from headway_cluster import evacuating, host_errands, host_user, ports, signing
from headway_cluster.errors import ClusterError
from headway_cluster.home import Home
from headway_cluster.node.api import Api, ApiError
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.images import Image
from headway_cluster.node.pod_folder import pods_of
from headway_cluster.node.renewing import CLUSTER_CA, write_credential
from headway_cluster.pki import KeyPair
from headway_cluster.ports import LOOPBACK
from headway_cluster.processes import Daemon
from headway_cluster.signing import Asks, Wanted

Json = dict[str, Any]
Say = Callable[[str], None]
_AGENT = "host"
_CLUSTER_UID = "cluster-uid"
_CREDENTIAL = "credential-"
_READY_WITHIN = 60.0
_STOPS_WITHIN = 60.0
"""Seconds: its own patience with its pods, and some. Killed earlier, it would leave them behind."""
_POLL = 0.5
_TAINT = {"key": names.LABEL_HOST, "value": "true", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Joining:
    """How this machine joins.

    Attributes:
        name: of the Node.
        namespaces: whose runs are taken.
        images: what each image name stands for on this machine.
        address: where the cluster reaches the log endpoint.
        user: the user that runs get; None for whoever joins.
        as_root: whether runs may be root, where root joins and names no user.
    """

    name: str
    namespaces: tuple[str, ...]
    images: Mapping[str, Image] = field(default_factory=dict)
    address: str = LOOPBACK
    user: str | None = None
    as_root: bool = False


@dataclass(frozen=True)
class HostStatus:
    """What is true of this machine as a host.

    Attributes:
        name: of the Node.
        namespaces: whose runs are taken.
        server: the cluster's address.
        pid: of the node agent; None where it does not run.
        credential_until: when the credential expires, which the agent renews before.
        logs_until: when the certificate of the log endpoint expires, which ``renew`` replaces.
    """

    name: str
    namespaces: tuple[str, ...]
    server: str
    pid: int | None
    credential_until: datetime
    logs_until: datetime


@dataclass(frozen=True)
class _Credential:
    kubeconfig: Path
    serving: KeyPair
    client_ca: Path


class HostMachine:
    """This machine, as the host of at most one cluster."""

    def __init__(self, home: Home) -> None:
        """Take the home; nothing is started or read yet."""
        self.folder = home.state / "host"

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    def status(self) -> HostStatus | None:
        """What is true; None where this machine was not joined."""
        if not self._config.exists():
            return None
        config = NodeConfig.load(self._config)
        process = self.agent().process()
        return HostStatus(
            name=config.node_name,
            namespaces=config.host_namespaces or (),
            server=Api(config.kubeconfig).server,
            pid=process.pid if process else None,
            credential_until=signing.life(config.kubeconfig.parent, signing.CLIENT)[1],
            logs_until=signing.life(config.kubeconfig.parent, signing.SERVING)[1],
        )

    def agent(self, user: str | None = None) -> Daemon:
        """The node agent."""
        command = [sys.executable, "-m", "headway_cluster.node", "--config", str(self._config)]
        return Daemon(_AGENT, [*command, *(["--user", user] if user else [])], self.folder / "run")

    def join(self, person: Asks, server: str, how: Joining, say: Say) -> None:
        """Join a cluster, or go on with a join that was interrupted.

        Args:
            person: the cluster, as whoever joins this machine to it.
            server: its address.
            how: what of this machine it gets.
            say: told what is done, and what somebody else has to do.

        Raises:
            ClusterError: a step failed; what was made before is removed by ``leave``.
        """
        host_user.check(how.user, as_root=how.as_root)
        _check_address(how.address)
        known = self.status()
        if known is not None:
            if known.pid is not None or known.name != how.name:
                raise ClusterError(
                    f"this machine is host {known.name} of {known.server} already; to be another "
                    "one, it has to leave first: headway host leave"
                )
            self._check_cluster(person, known.server)
        if known is None and host_errands.found(person, f"/api/v1/nodes/{how.name}"):
            raise ClusterError(f"there is a node {how.name} already; choose another --name")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700 if how.user is None else 0o711)
        if known is None:
            (self.folder / _CLUSTER_UID).write_text(host_errands.identity(person).uid)
        found = self._kept(how) or self._ask(how.name, how.address, how.user, person, server, say)
        listen = ports.allotted(self.folder / "ports.json", ("logs",), how.address)
        config = NodeConfig(
            node_name=how.name,
            kubeconfig=found.kubeconfig,
            state_dir=self.folder / "state",
            images=dict(how.images),
            address=how.address,
            log_port=listen["logs"],
            serving_cert=found.serving.certificate,
            serving_key=found.serving.key,
            client_ca=found.client_ca,
            host_namespaces=how.namespaces,
            labels={names.LABEL_HOST: "true"},
            taints=(_TAINT,),
            pod_network=ports.pod_network(self.folder / "pod-network"),
        )
        self._settle(config)
        host_errands.bind(person, Api(config.kubeconfig), how.name)
        self._start(config, how.user, person, say)

    def renew(self, person: Asks, server: str, say: Say) -> bool:
        """Get another credential before this one expires; runs go on. False where not joined.

        Raises:
            ClusterError: nobody approved it.
        """
        if not self._config.exists():
            return False
        config = NodeConfig.load(self._config)
        user = host_user.owner_of(config.kubeconfig.parent)
        self._check_cluster(person, Api(config.kubeconfig).server)
        found = self._ask(config.node_name, config.address, user, person, server, say)
        config = replace(
            config,
            kubeconfig=found.kubeconfig,
            serving_cert=found.serving.certificate,
            serving_key=found.serving.key,
            client_ca=found.client_ca,
        )
        self.agent().kill()  # without a good-bye: the next one takes up what runs
        self._settle(config)
        self._start(config, user, person, say)
        return True

    def leave(self, person: Asks, say: Say, *, now: bool) -> bool:
        """Take no more runs, let those that run end, and leave nothing; False where not joined.

        Interrupted while it waits for runs, it takes runs again.

        Args:
            person: the cluster.
            say: told what is done and waited for.
            now: whether runs are evicted: they go on elsewhere, from their checkpoints.

        Raises:
            ClusterError: a step is not allowed, or it is another cluster.
        """
        known = self.status()
        if known is None:
            # A join that did not get far enough for an agent to run.
            shutil.rmtree(self.folder, ignore_errors=True)
            return False
        self._check_cluster(person, known.server)
        path = f"/api/v1/nodes/{known.name}"
        try:
            if host_errands.found(person, path):
                self._make_run()
                person.request("PATCH", path, {"spec": {"unschedulable": True}})
                try:
                    with _ends_as_exits():
                        evacuating.empty(person, known.name, say, now=now)
                except BaseException:
                    # Interrupted, it has not left: it goes on taking runs.
                    person.request("PATCH", path, {"spec": {"unschedulable": False}})
                    raise
            self._stop(say)
            host_errands.delete(person, path)
            host_errands.unbind(person, known.name)
        except ApiError as error:
            raise ClusterError(f"the cluster does not allow it: {error}") from error
        shutil.rmtree(self.folder)
        return True

    def forget(self, say: Say) -> str | None:
        """Leave a cluster that is gone, without asking it; returns what may be left of it there.

        Args:
            say: told what is done.

        Raises:
            ClusterError: what runs here cannot be ended.
        """
        known = self.status()
        if known is not None:
            self._stop(say)
        shutil.rmtree(self.folder, ignore_errors=True)
        return (
            None
            if known is None
            else f"node/{known.name} clusterrolebinding/{host_errands.binding(known.name)}"
        )

    def _make_run(self) -> None:
        """Only the agent ends what runs here; one that was killed is started again for that."""
        config = NodeConfig.load(self._config)
        agent = self.agent(host_user.owner_of(config.kubeconfig.parent))
        agent.start()
        deadline = time.monotonic() + _READY_WITHIN
        while not ports.is_open(config.address, config.log_port):
            if agent.process() is None or time.monotonic() > deadline:
                raise ClusterError(f"the node agent does not run; its last words:\n{agent.tail()}")
            time.sleep(_POLL)

    def _stop(self, say: Say) -> None:
        if any(pods_of(NodeConfig.load(self._config).state_dir).glob("*")):
            self._make_run()
        say("stopping the node agent")
        self.agent().stop(_STOPS_WITHIN)

    def _check_cluster(self, person: Asks, server: str) -> None:
        """Whoever asks must mean the cluster of this host, not the one that is current."""
        if host_errands.identity(person).uid != (self.folder / _CLUSTER_UID).read_text():
            raise ClusterError(
                f"this machine is a host of {server}, which is another cluster than the one that "
                "is chosen; choose that with --context, or, if it is gone: headway host leave "
                "--forget"
            )

    # Joining

    def _kept(self, how: Joining) -> _Credential | None:
        """The credential that an earlier join has got, if it still serves."""
        known = self.status()
        if known is None or min(known.credential_until, known.logs_until) <= datetime.now(UTC):
            return None
        config = NodeConfig.load(self._config)
        user = host_user.owner_of(config.kubeconfig.parent)
        if (config.address, user) != (how.address, how.user):
            return None
        certificate, key, client_ca = config.serving_cert, config.serving_key, config.client_ca
        if certificate is None or key is None or client_ca is None:
            return None
        return _Credential(config.kubeconfig, KeyPair(certificate, key), client_ca)

    def _ask(
        self, name: str, address: str, user: str | None, person: Asks, server: str, say: Say
    ) -> _Credential:
        """A new credential, in a new folder that belongs to the user."""
        folder = Path(tempfile.mkdtemp(prefix=_CREDENTIAL, dir=self.folder))
        try:
            say(f"asking for a credential of node {name}")
            files = signing.signed(Wanted(name, signing.CLIENT), folder, person, person, say)
            (folder / CLUSTER_CA).write_text(host_errands.identity(person).authority)
            kubeconfig = write_credential(folder, server, name, files)
            say("asking for the certificate of its log endpoint")
            wanted = Wanted(name, signing.SERVING, (address,))
            serving = signing.signed(wanted, folder, Api(kubeconfig), person, say)
            client_ca = folder / "client-ca.crt"
            client_ca.write_text(host_errands.client_authority(person))
            host_user.hand_over(folder, user)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _Credential(kubeconfig, serving, client_ca)

    def _settle(self, config: NodeConfig) -> None:
        """From now on it is this configuration and its credential; there is no other one."""
        config.dump(self._config)
        self._config.chmod(0o644)  # it holds no secret, and its folder says who gets to it
        for folder in self.folder.glob(f"{_CREDENTIAL}*"):
            if folder != config.kubeconfig.parent:
                shutil.rmtree(folder)

    def _start(self, config: NodeConfig, user: str | None, person: Asks, say: Say) -> None:
        if not config.state_dir.exists():
            config.state_dir.mkdir(mode=0o700)
            host_user.hand_over(config.state_dir, user)
        host_user.try_out(user, reads=self._config, writes=config.state_dir)
        say("starting the node agent")
        agent = self.agent(user)
        agent.start()
        self._wait_until_ready(person, config.node_name, agent)

    def _wait_until_ready(self, person: Asks, name: str, agent: Daemon) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while not host_errands.is_ready(host_errands.found(person, f"/api/v1/nodes/{name}")):
            if agent.process() is None:
                raise ClusterError(f"the node agent ended; its last words:\n{agent.tail()}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the node was not ready within {_READY_WITHIN:.0f} s; see {agent.log}"
                )
            time.sleep(_POLL)


@contextlib.contextmanager
def _ends_as_exits() -> Iterator[None]:
    """Within it, a terminal that is closed, and SIGTERM, interrupt as Ctrl-C does.

    Not under nohup, and not in a thread, which signals do not reach.
    """

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    reached = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number, by in before.items() if reached and by is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _check_address(address: str) -> None:
    """Whether the log endpoint can listen there, before anybody is asked for a certificate.

    Raises:
        ClusterError: it cannot.
    """
    try:
        ipaddress.IPv4Address(address)
        with socket.socket() as one:
            one.bind((address, 0))
    except ValueError as error:
        raise ClusterError(f"{address} is no IPv4 address") from error
    except OSError as error:
        raise ClusterError(
            f"{address} is no address of this machine ({error.strerror}): --address is where it "
            "listens, and where the cluster reaches it for logs"
        ) from error


def default_name() -> str:
    """A name for this machine's Node."""
    word = re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-") or "machine"
    return f"host-{word}"[:60].rstrip("-")

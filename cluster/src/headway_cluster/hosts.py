"""This machine as a host of somebody's cluster: joined, looked at, and taken away again.

Who owns what: the folder ``<home>/state/host`` holds the credential, the configuration and the
state of the one node agent; the cluster holds a Node, its lease, and a binding of the role that
lets this node look runs up. ``leave`` removes all of it.
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from headway_api import names

from headway_cluster import kubeconfig, ports, signing
from headway_cluster.errors import ClusterError
from headway_cluster.home import Home
from headway_cluster.node.api import Api, ApiError
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.images import Image
from headway_cluster.ports import LOOPBACK
from headway_cluster.processes import Daemon
from headway_cluster.signing import Asks, Wanted

Json = dict[str, Any]
Say = Callable[[str], None]
_AGENT = "host"
_READY_WITHIN = 60.0
_STOPS_WITHIN = 30.0
_POLL = 0.5
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
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
    """What is true of this machine as a host."""

    name: str
    namespaces: tuple[str, ...]
    server: str
    pid: int | None
    valid_until: datetime


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
            valid_until=signing.valid_until(self.folder),
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
        _check_user(how)
        known = self.status()
        if known is not None and known.pid is not None:
            raise ClusterError(f"this machine is host {known.name} of {known.server} already")
        if known is None and _found(person, f"/api/v1/nodes/{how.name}"):
            raise ClusterError(f"there is a node {how.name} already; choose another --name")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        say(f"asking for a credential of node {how.name}")
        credential = self._credential(person, server, how, say)
        node = Api(credential)
        say("asking for the certificate of its log endpoint")
        serving = signing.signed(
            Wanted(how.name, signing.SERVING, (how.address,)), self.folder, node, person, say
        )
        self._bind(person, how.name)
        ca = self.folder / "client-ca.crt"
        ca.write_text(_client_authority(person))
        listen = ports.allotted(self.folder / "ports.json", ("logs",))
        NodeConfig(
            node_name=how.name,
            kubeconfig=credential,
            state_dir=self.folder / "state",
            images=dict(how.images),
            address=how.address,
            log_port=listen["logs"],
            serving_cert=serving.certificate,
            serving_key=serving.key,
            client_ca=ca,
            host_namespaces=how.namespaces,
            labels={names.LABEL_HOST: "true"},
            taints=(_TAINT,),
            pod_network=ports.pod_network(self.folder / "pod-network"),
        ).dump(self._config)
        self._belong_to(how.user)
        say("starting the node agent")
        agent = self.agent(how.user)
        agent.start()
        self._wait_until_ready(person, how.name, agent)

    def renew(self, person: Asks, server: str, say: Say) -> bool:
        """Get another credential before this one expires; runs go on. False where not joined.

        Raises:
            ClusterError: nobody approved it.
        """
        if not self._config.exists():
            return False
        config = NodeConfig.load(self._config)
        owner = pwd.getpwuid(self.folder.stat().st_uid).pw_name
        user = owner if os.geteuid() == 0 and owner != "root" else None
        how = Joining(config.node_name, config.host_namespaces or (), address=config.address)
        say(f"asking for another credential of node {how.name}")
        node = Api(self._credential(person, server, how, say))
        serving = Wanted(how.name, signing.SERVING, (how.address,))
        signing.signed(serving, self.folder, node, person, say)
        self._belong_to(user)
        agent = self.agent(user)
        agent.kill()  # without a good-bye: the next one takes up what runs
        agent.start()
        self._wait_until_ready(person, how.name, agent)
        return True

    def leave(self, person: Asks, say: Say, *, now: bool) -> bool:
        """Take no more runs, let those that run end, and leave nothing; False where not joined.

        Args:
            person: the cluster.
            say: told what is done and waited for.
            now: whether runs are evicted: they go on elsewhere, from their checkpoints.

        Raises:
            ClusterError: a step is not allowed.
        """
        known = self.status()
        if known is None:
            return False
        path = f"/api/v1/nodes/{known.name}"
        try:
            if _found(person, path):
                person.request("PATCH", path, {"spec": {"unschedulable": True}})
                self._empty(person, known.name, say, now=now)
            say("stopping the node agent")
            self.agent().stop(_STOPS_WITHIN)
            for gone in (path, f"{_RBAC}/clusterrolebindings/{_binding(known.name)}"):
                _delete(person, gone)
        except ApiError as error:
            raise ClusterError(f"the cluster does not allow it: {error}") from error
        shutil.rmtree(self.folder)
        return True

    # Joining

    def _credential(self, person: Asks, server: str, how: Joining, say: Say) -> Path:
        files = signing.signed(Wanted(how.name, signing.CLIENT), self.folder, person, person, say)
        authority = self.folder / "cluster-ca.crt"
        roots = person.request("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
        authority.write_text(roots["data"]["ca.crt"])
        return kubeconfig.write(
            self.folder / "kubeconfig",
            server=server,
            authority=authority,
            user=f"system:node:{how.name}",
            credential=files,
        )

    def _bind(self, person: Asks, name: str) -> None:
        body: Json = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _binding(name)},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": names.HOST_CLUSTER_ROLE,
            },
            "subjects": [
                {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "User",
                    "name": f"system:node:{name}",
                }
            ],
        }
        try:
            person.request("POST", f"{_RBAC}/clusterrolebindings", body)
        except ApiError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise ClusterError(
                    f"you may not bind the role {names.HOST_CLUSTER_ROLE}; somebody who may has to "
                    f"type: kubectl create clusterrolebinding {_binding(name)} --clusterrole="
                    f"{names.HOST_CLUSTER_ROLE} --user=system:node:{name}; then join again"
                ) from error

    def _belong_to(self, user: str | None) -> None:
        if user is None:
            return
        owner = pwd.getpwnam(user)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def _wait_until_ready(self, person: Asks, name: str, agent: Daemon) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while not _is_ready(_found(person, f"/api/v1/nodes/{name}")):
            if agent.process() is None:
                raise ClusterError(f"the node agent ended; its last words:\n{agent.tail()}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the node was not ready within {_READY_WITHIN:.0f} s; see {agent.log}"
                )
            time.sleep(_POLL)

    # Leaving

    def _empty(self, person: Asks, name: str, say: Say, *, now: bool) -> None:
        """Wait until nothing runs here, or have it taken away."""
        told: set[str] = set()
        while alive := _living(person, name):
            for pod in alive:
                metadata = pod["metadata"]
                key = f"{metadata['namespace']}/{metadata['name']}"
                if key in told:
                    continue
                told.add(key)
                say(f"{'evicting' if now else 'waiting for the end of'} {key}")
                if now:
                    where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
                    person.request(
                        "POST",
                        f"{where}/eviction",
                        {
                            "apiVersion": "policy/v1",
                            "kind": "Eviction",
                            "metadata": {
                                "name": metadata["name"],
                                "namespace": metadata["namespace"],
                            },
                        },
                    )
            time.sleep(_POLL)


def default_name() -> str:
    """A name for this machine's Node."""
    word = re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-") or "machine"
    return f"host-{word}"[:60].rstrip("-")


def _check_user(how: Joining) -> None:
    if how.user is not None:
        try:
            pwd.getpwnam(how.user)
        except KeyError as error:
            raise ClusterError(f"there is no user {how.user} on this machine") from error
        if os.geteuid() != 0:
            raise ClusterError("only root can let runs be another user")
    elif os.geteuid() == 0 and not how.as_root:
        raise ClusterError(
            "runs would be root on this machine: name another user with --as-user, or say "
            "--as-root if that is meant"
        )


def _found(person: Asks, path: str) -> Json | None:
    try:
        return person.request("GET", path)
    except ApiError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise ClusterError(f"{path} cannot be read: {error}") from error


def _delete(person: Asks, path: str) -> None:
    try:
        person.request("DELETE", path)
    except ApiError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise


def _living(person: Asks, node: str) -> list[Json]:
    found = person.request("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")
    over = ("Succeeded", "Failed")
    return [p for p in found.get("items") or () if p["status"].get("phase") not in over]


def _client_authority(person: Asks) -> str:
    """Who signs the API server's own client certificate."""
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    try:
        return str(person.request("GET", path)["data"]["client-ca-file"])
    except (ApiError, KeyError) as error:
        raise ClusterError(f"the cluster does not say who its API server is: {error}") from error


def _is_ready(node: Json | None) -> bool:
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _binding(node: str) -> str:
    return f"{names.HOST_CLUSTER_ROLE}-{node}"

"""The local cluster: a control plane on loopback and one process node.

Who owns what: the folder ``<home>/state/cluster`` is the only state. ``up`` brings the programs to
what the folder says, whatever died in between; ``down`` ends all of them, the pods first.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from headway_api import names
from headway_api.version import __version__

from headway_cluster import binaries, ports
from headway_cluster.binaries import KUBERNETES_VERSION
from headway_cluster.controlplane import KUBELET_CLIENT, PROGRAMS, ControlPlane, Options
from headway_cluster.errors import ClusterError
from headway_cluster.home import WAITING, Home
from headway_cluster.node import provisioner
from headway_cluster.node.api import Api, ApiError, ApiUnavailableError, Json
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.images import Image
from headway_cluster.node.pod_folder import end_all, pods_of
from headway_cluster.one_at_a_time import one_at_a_time
from headway_cluster.ports import LOOPBACK
from headway_cluster.processes import Daemon, running
from headway_cluster.removing import remove
from headway_cluster.standing import ClusterStatus, Provider, note

NODE = "headway-local"
NODE_AGENT = "node"
PROVISIONER = "headway-provisioner"
_NODE_READY_WITHIN = 60.0
_NODE_STOPS_WITHIN = 30.0
_POLL = 0.1

Say = Callable[[str], None]


@dataclass(frozen=True)
class LocalOptions:
    """How a local cluster differs from the usual one (tests do).

    Attributes:
        images: image names that the node knows; by default those of this version of Headway.
        control_plane: options of the control plane.
        crash_backoff: seconds before the second restart of a container.
    """

    images: Mapping[str, Image] | None = None
    control_plane: Options = field(default_factory=Options)
    crash_backoff: float = 10.0


def python_environment() -> Image:
    """The image that stands for the Python environment of this very process."""
    bin_folder = str(Path(sys.executable).parent)
    return Image(path=(bin_folder,), env={"PYTHONUNBUFFERED": "1"})


class LocalCluster:
    """The cluster of one home."""

    def __init__(
        self,
        home: Home,
        options: LocalOptions | None = None,
        programs: Mapping[str, Path] | None = None,
    ) -> None:
        """Take the home; nothing is started or read yet.

        Args:
            home: where everything is kept.
            options: what is unusual about it.
            programs: the control plane's programs; found or built where left out.
        """
        self._home = home
        self._options = options or LocalOptions()
        self._programs = programs

    @property
    def folder(self) -> Path:
        """Where the cluster lives."""
        return self._home.cluster

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it exists as long as there is a cluster."""
        return self.folder / "kubeconfig"

    @property
    def control_plane(self) -> ControlPlane:
        """The control plane, whether it runs or not."""
        return ControlPlane(
            self.folder / "control-plane", self._programs or {}, self._options.control_plane
        )

    def up(self, say: Say = lambda _: None) -> Path:
        """Bring the cluster up, or what of it does not run; returns the kubeconfig.

        Args:
            say: told what is done, one short line at a time.

        Raises:
            ClusterError: a step failed; running the command again goes on from there.
        """
        if self._is_up(say):
            return self.kubeconfig
        note(self.folder, Provider.PROCESS)
        if self._programs is None:
            self._programs = binaries.ensure(self._home, PROGRAMS, say)
        with one_at_a_time(self._home.lock, say, WAITING):
            if self._is_up(say):
                return self.kubeconfig
            note(self.folder, Provider.PROCESS)  # a `down` may have come while it was built
            return self._start(say)

    def _is_up(self, say: Say) -> bool:
        up = self.status().running and self.control_plane.ready()
        if up:
            say("the cluster is up already")
        return up

    def _start(self, say: Say) -> Path:
        plane = self.control_plane
        started = plane.up(say)
        shutil.copy(plane.kubeconfig, self.kubeconfig)
        api = Api(self.kubeconfig)
        self._bootstrap(api)
        say("starting the process node")
        node = self._node(plane)
        if started:
            # An agent that is left of the time before may know another address and a credential
            # that has expired. The next one takes up what runs.
            node.kill()
        node.start()
        self._wait_for_node(api, node)
        say(f"Kubernetes {self._version()} is ready at {plane.server}")
        return self.kubeconfig

    def down(self, say: Say = lambda _: None) -> bool:
        """Stop everything and delete the cluster's data; returns whether there was anything.

        Args:
            say: told what is done.

        Raises:
            ClusterError: its data cannot be deleted; nothing runs any more.
        """
        if not self.folder.exists():
            return False
        with one_at_a_time(self._home.lock, say, WAITING):
            say("stopping the pods and the process node")
            Daemon(NODE_AGENT, (), self._run).stop(_NODE_STOPS_WITHIN)
            # An agent that was killed, now or before, has left its pods running.
            end_all(pods_of(self._node_state))
            say("stopping the control plane")
            self.control_plane.down()
            _delete(self.folder)
        return True

    def status(self) -> ClusterStatus:
        """What is true of the cluster, without changing anything."""
        plane = self.control_plane
        found = {name: plane.pid(name) for name in PROGRAMS}
        agent = running(self._run / f"{NODE_AGENT}.pid")
        found["process node"] = agent.pid if agent else None
        return ClusterStatus(
            provider=Provider.PROCESS,
            running=all(found.values()),
            server=plane.server or None,
            version=self._version() if found["kube-apiserver"] else KUBERNETES_VERSION,
            kubeconfig=self.kubeconfig,
            home=self.folder,
            components={
                n: f"running (pid {pid})" if pid else "stopped" for n, pid in found.items()
            },
        )

    def program(self, name: str, say: Say = lambda _: None) -> Path:
        """A program that belongs to the cluster's Kubernetes, such as kubectl.

        Raises:
            ClusterError: it can neither be found nor made.
        """
        return binaries.ensure(self._home, [name], say)[name]

    def node(self) -> Daemon:
        """The node agent, for stopping and starting it while the control plane runs."""
        return self._node(self.control_plane)

    def _version(self) -> str:
        """What the API server says it is: KUBEBUILDER_ASSETS may hold another than is built."""
        try:
            return str(Api(self.kubeconfig).get("/version")["gitVersion"])
        except (ApiError, ApiUnavailableError, OSError, ValueError, KeyError):
            return KUBERNETES_VERSION

    @property
    def _run(self) -> Path:
        return self.folder / "run"

    @property
    def _node_state(self) -> Path:
        return self.folder / "node" / "state"

    def _node(self, plane: ControlPlane) -> Daemon:
        folder = self.folder / "node"
        folder.mkdir(parents=True, exist_ok=True)
        credential = plane.user(f"system:node:{NODE}", ["system:nodes"], file="node")
        serving = plane.serving_certificate("node", [LOOPBACK, NODE])
        known = self._options.images
        if known is None:
            environment = python_environment()
            known = {
                names.default_operator_image(__version__): environment,
                names.default_trainer_image(__version__): environment,
            }
        listen = ports.allotted(folder / "ports.json", ("logs",))
        config = folder / "config.json"
        NodeConfig(
            node_name=NODE,
            kubeconfig=credential,
            state_dir=self._node_state,
            images=dict(known),
            provisioner_kubeconfig=plane.user(PROVISIONER),
            log_port=listen["logs"],
            pod_network=ports.pod_network(folder / "pod-network"),
            serving_cert=serving.certificate,
            serving_key=serving.key,
            client_ca=plane.client_authority,
            log_client=KUBELET_CLIENT,
            crash_backoff=self._options.crash_backoff,
        ).dump(config)
        return Daemon(
            NODE_AGENT,
            [sys.executable, "-m", "headway_cluster.node", "--config", str(config)],
            self._run,
            tied=self._options.control_plane.tied,
        )

    def _bootstrap(self, api: Api) -> None:
        """What the node needs in the API: its volume provisioner's role and storage class."""
        for path, manifest in _objects():
            try:
                api.create(path, manifest)
            except ApiError as error:
                if error.code != HTTPStatus.CONFLICT:
                    raise ClusterError(f"{manifest['kind']}: {error}") from error
            except ApiUnavailableError as error:
                raise ClusterError(f"the API server does not answer: {error}") from error

    def _wait_for_node(self, api: Api, node: Daemon) -> None:
        deadline = time.monotonic() + _NODE_READY_WITHIN
        while not _is_ready(api):
            if node.process() is None:
                raise ClusterError(
                    f"the process node ended while it started; its last words ({node.log}):\n"
                    f"{node.tail()}"
                )
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the process node was not ready within {_NODE_READY_WITHIN:.0f} s; see "
                    f"{node.log}"
                )
            time.sleep(_POLL)


def _delete(folder: Path) -> None:
    """Delete the folder of a cluster that no longer runs.

    Raises:
        ClusterError: that is not possible.
    """
    try:
        remove(folder)
    except OSError as error:
        raise ClusterError(
            f"nothing of it runs any more, but {folder} cannot be deleted: {error}",
            ["headway cluster down    (it tries again)"],
        ) from error


def _is_ready(api: Api) -> bool:
    try:
        node = api.get(f"/api/v1/nodes/{NODE}")
    except (ApiError, ApiUnavailableError):
        return False
    conditions = node.get("status", {}).get("conditions") or ()
    tainted = node.get("spec", {}).get("taints") or ()
    return not tainted and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _objects() -> list[tuple[str, Json]]:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    role: Json = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": PROVISIONER},
        "rules": list(provisioner.PROVISIONER_RULES),
    }
    binding: Json = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": PROVISIONER},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": PROVISIONER,
        },
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PROVISIONER}
        ],
    }
    logs: Json = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": KUBELET_CLIENT},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:kubelet-api-admin",
        },
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": KUBELET_CLIENT}
        ],
    }
    return [
        (f"{rbac}/clusterroles", role),
        (f"{rbac}/clusterrolebindings", binding),
        (f"{rbac}/clusterrolebindings", logs),
        ("/apis/storage.k8s.io/v1/storageclasses", dict(provisioner.STORAGE_CLASS)),
    ]

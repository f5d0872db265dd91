"""The node agent: everything put together."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from http import HTTPStatus
from pathlib import Path

import psutil

from headway_cluster.node.addresses import Addresses
from headway_cluster.node.announcing import Announcer
from headway_cluster.node.api import Api, ApiError, ApiUnavailableError, Follower, Json
from headway_cluster.node.config import ConfigError, NodeConfig
from headway_cluster.node.hosting import HostRules, may_read_logs
from headway_cluster.node.log_endpoint import LogEndpoint, NoLogError, Request, Source, tls
from headway_cluster.node.pod_folder import PodFolder, end_all, pods_of
from headway_cluster.node.pods import parse
from headway_cluster.node.provisioner import Provisioner
from headway_cluster.node.registration import Registration
from headway_cluster.node.renewing import Renewal
from headway_cluster.node.surroundings import Surroundings
from headway_cluster.node.worker import PodWorker
from headway_cluster.removing import discard

log = logging.getLogger(__name__)

_LOOK_FOR_SIGNALS = 0.5
_LAST_WRITES = 5.0
"""Seconds that the end of the last pods may take to be told, after their processes have ended."""


class AlreadyRunningError(Exception):
    """Another agent works in this state folder."""


class Agent:
    """A process node. ``run`` is its whole life.

    Attributes:
        renewal: of a host's credential; None where the node is no host.
    """

    def __init__(self, config: NodeConfig) -> None:
        """Prepare the agent; nothing is registered or started yet.

        Raises:
            AlreadyRunningError: another agent works in this state folder.
            ConfigError: a credential cannot be read.
        """
        config.state_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        config.state_dir.chmod(0o700)
        self._config = config
        self._lock = _lock(config.state_dir / "agent.lock")
        self._pods_dir = pods_of(config.state_dir)
        self._pods_dir.mkdir(mode=0o700, exist_ok=True)
        self._workers: dict[str, PodWorker] = {}
        self._workers_lock = threading.Lock()
        self._leaving = False
        try:
            api = Api(config.kubeconfig)
            self._announcer = Announcer(api, config.node_name)
            self._around = Surroundings(
                config=config,
                api=api,
                addresses=Addresses(config.pod_network),
                announcer=self._announcer,
                cpu=os.cpu_count() or 1,
                memory=psutil.virtual_memory().total,
                rules=(
                    HostRules(api, config.host_namespaces)
                    if config.host_namespaces is not None
                    else None
                ),
            )
            self._endpoint = self._log_endpoint()
            self._provisioner = self._volume_provisioner()
            self.renewal = (
                Renewal(api, config.node_name, config.kubeconfig.parent)
                if config.host_namespaces is not None
                else None
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"node {config.node_name}: {error}") from error
        self._registration = Registration(
            api, config, self._endpoint.port if self._endpoint else None
        )
        self._pods = _PodFollower(self, api, config.node_name)

    def run(self, stop: threading.Event) -> None:
        """Be a node until ``stop`` is set; then end every pod and leave."""
        self._take_up()
        self._announcer.start()
        if self._endpoint is not None:
            self._endpoint.start()
        self._registration.start()
        self._pods.start()
        if self._provisioner is not None:
            self._provisioner.start()
        if self.renewal is not None:
            self.renewal.start()
        # Never for ever: the kernel may hand a signal to a thread that just starts another one,
        # and Python's handlers run in this one, which nobody would then wake.
        while not stop.wait(_LOOK_FOR_SIGNALS):
            pass
        self._leave()

    def _leave(self) -> None:
        log.info("node %s is stopping; its pods are ended", self._config.node_name)
        with self._workers_lock:
            self._leaving = True
            workers = list(self._workers.values())
        # The pods first: whoever watches them should see them end, and not the node alone.
        for worker in workers:
            worker.shut_down(self._config.shutdown_grace)
        self._registration.leave()
        if self._provisioner is not None:
            self._provisioner.stop()
        if self.renewal is not None:
            self.renewal.stop()
        deadline = time.monotonic() + self._config.shutdown_grace + _LAST_WRITES
        left = [worker.key for worker in workers if not worker.join(deadline)]
        if left:
            log.warning("the end of these pods could not be told: %s", ", ".join(left))
        self._pods.stop()
        if self._endpoint is not None:
            self._endpoint.stop()
        self._announcer.stop(1.0)
        # Whatever the API server knows of it: no process of a pod outlives the node.
        end_all(self._pods_dir)
        os.close(self._lock)

    # Pods

    def _take_up(self) -> None:
        """Find the pods that an agent before this one had taken."""
        for root in sorted(self._pods_dir.iterdir()):
            folder = PodFolder(root)
            pod = folder.pod()
            if pod is None or not folder.exists:
                log.warning("%s is not a pod's folder any more; it is removed", root)
                folder.end_everything()
                discard(root)
                continue
            worker = PodWorker(self._around, folder, pod, self._forget)
            self._workers[pod.uid] = worker
            worker.begin()

    def pod_seen(self, raw: Json) -> None:
        """The API server has this pod on this node."""
        pod = parse(raw)
        with self._workers_lock:
            worker = self._workers.get(pod.uid)
            if worker is None:
                if self._leaving:
                    # It stays bound, and is taken when the node comes back.
                    return
                folder = PodFolder(self._pods_dir / pod.uid)
                worker = PodWorker(self._around, folder, pod, self._forget)
                self._workers[pod.uid] = worker
        worker.update(pod)

    def pod_gone(self, uid: str) -> None:
        """The API server has this pod no longer."""
        with self._workers_lock:
            worker = self._workers.get(uid)
        if worker is not None:
            worker.gone()

    def pods_listed(self, objects: list[Json]) -> None:
        """These are all pods of this node."""
        present = {one["metadata"]["uid"] for one in objects}
        with self._workers_lock:
            missing = [uid for uid in self._workers if uid not in present]
        for uid in missing:
            self.pod_gone(uid)
        for one in objects:
            self.pod_seen(one)

    def _forget(self, worker: PodWorker) -> None:
        with self._workers_lock:
            self._workers.pop(worker.uid, None)

    # Logs

    def _log_endpoint(self) -> LogEndpoint | None:
        config = self._config
        if not (config.serving_cert and config.serving_key and config.client_ca):
            log.warning("no certificate is configured for the log endpoint: kubectl logs will fail")
            return None
        return LogEndpoint(
            config.address,
            config.log_port,
            tls(config.serving_cert, config.serving_key, config.client_ca),
            self._reads_logs,
            self._find_log,
        )

    def _reads_logs(self, user: str, groups: list[str]) -> bool:
        config = self._config
        if config.host_namespaces is None:
            return user == config.log_client
        try:
            return may_read_logs(self._around.api, config.node_name, user, groups)
        except (ApiError, ApiUnavailableError) as error:
            log.warning("whether %s may read logs cannot be told: %s", user, error)
            return False

    def _find_log(self, request: Request) -> Source:
        key = f"{request.namespace}/{request.pod}"
        with self._workers_lock:
            # Of two pods with one name, the one that came last is meant.
            found = [worker for worker in self._workers.values() if worker.key == key]
        container = found[-1].container(request.container) if found else None
        if not found:
            raise NoLogError(HTTPStatus.NOT_FOUND, f"pod {key} is not on this node")
        if container is None:
            raise NoLogError(
                HTTPStatus.NOT_FOUND, f"pod {key} has no container {request.container}"
            )
        latest, before, reason = container
        run = before if request.previous else latest
        if run is None:
            message = (
                f'previous terminated container "{request.container}" in pod "{request.pod}"'
                " not found"
                if request.previous
                else f'container "{request.container}" in pod "{request.pod}" is waiting to start:'
                f" {reason}"
            )
            raise NoLogError(HTTPStatus.BAD_REQUEST, message)
        end = run.folder / "exit.json"
        return Source(run.log, lambda: end.exists() or not run.folder.exists())

    # Volumes

    def _volume_provisioner(self) -> Provisioner | None:
        config = self._config
        if config.provisioner_kubeconfig is None:
            return None
        root = config.state_dir / "claims"
        root.mkdir(mode=0o700, exist_ok=True)
        return Provisioner(Api(config.provisioner_kubeconfig), config.node_name, root)


class _PodFollower(Follower):
    """The pods that are bound to this node."""

    def __init__(self, agent: Agent, api: Api, node: str) -> None:
        super().__init__(api, "/api/v1/pods", "pods", fieldSelector=f"spec.nodeName={node}")
        self._agent = agent

    def listed(self, objects: list[Json]) -> None:
        self._agent.pods_listed(objects)

    def changed(self, kind: str, obj: Json) -> None:
        if kind == "DELETED":
            self._agent.pod_gone(obj["metadata"]["uid"])
        else:
            self._agent.pod_seen(obj)


def _lock(file: Path) -> int:
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise AlreadyRunningError(
            f"another node agent works in {file.parent}; stop it first"
        ) from error
    return lock

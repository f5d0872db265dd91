"""A Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler.

With RBAC, Node authorization and real certificates. Everything that it keeps lies in one folder:

``pki/``          authorities, certificates, keys
``etcd/``         the data
``run/``          pid files and logs
``kubeconfigs/``  one for every user
``ports.json``    where it listens
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
import yaml

from headway_cluster import kubeconfig, ports
from headway_cluster.errors import ClusterError
from headway_cluster.pki import Authority, KeyPair, signing_key
from headway_cluster.ports import LOOPBACK
from headway_cluster.processes import Daemon, running

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_SERVICE_NETWORK = "10.96.0.0/16"
_SERVICE_ADDRESS = "10.96.0.1"
_START_WITHIN = 90.0
_STOP_WITHIN = 3.0
"""Seconds for etcd's clients to end; the API server would wait for its watchers for longer."""
_POLL = 0.1

ADMIN = "headway-admin"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""Common name of the certificate that the API server shows to nodes."""


@dataclass(frozen=True)
class Options:
    """How a control plane runs.

    Attributes:
        tied: its programs end with the thread that started them (Linux).
        durable: etcd waits for the disk; a control plane for tests need not.
        audit: file for the audit log (metadata of every request); None writes none.
        flags: more flags by program.
    """

    tied: bool = False
    durable: bool = True
    audit: Path | None = None
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)


class ControlPlane:
    """One control plane in one folder. The object holds no state that the folder does not."""

    def __init__(
        self, folder: Path, binaries: Mapping[str, Path], options: Options | None = None
    ) -> None:
        """Take the folder and the programs; nothing is started yet."""
        self.folder = folder
        self._binaries = binaries
        self._options = options or Options()
        self._daemons: dict[str, Daemon] = {}
        self._server = ""
        self._etcd_client: KeyPair | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfigs" / f"{ADMIN}.yaml"

    @property
    def server(self) -> str:
        """The API server's URL, once it was started."""
        if not self._server and self.kubeconfig.exists():
            content = yaml.safe_load(self.kubeconfig.read_text())
            self._server = content["clusters"][0]["cluster"]["server"]
        return self._server

    @property
    def _pki(self) -> Path:
        return self.folder / "pki"

    @property
    def _run(self) -> Path:
        return self.folder / "run"

    def up(self, say: Callable[[str], None] = lambda _: None) -> bool:
        """Start what does not run, and wait until the API server is ready.

        Returns:
            Whether anything had to be started: where it listens, and every certificate but the
            authorities', may be others then.

        Raises:
            ClusterError: a program does not start, or is not ready in time.
        """
        if self.running() == set(PROGRAMS) and self.ready():
            return False
        self.down()
        self._configure()
        say("starting etcd and the API server")
        for name in ("etcd", "kube-apiserver"):
            self._daemons[name].start()
        self._wait_until_ready()
        say("starting the controller manager and the scheduler")
        for name in ("kube-controller-manager", "kube-scheduler"):
            self._daemons[name].start()
        return True

    def down(self) -> bool:
        """Stop every program; returns whether any ran."""
        etcd, *clients = PROGRAMS
        with ThreadPoolExecutor(len(clients)) as pool:
            stopped = list(pool.map(lambda name: self._found(name).stop(_STOP_WITHIN), clients))
        return self._found(etcd).stop() or any(stopped)

    def running(self) -> set[str]:
        """The programs that run."""
        return {n for n in PROGRAMS if running(self._run / f"{n}.pid") is not None}

    def pid(self, name: str) -> int | None:
        """The pid of a program; None where it does not run."""
        process = running(self._run / f"{name}.pid")
        return process.pid if process else None

    def restart(self, name: str, *, away: float) -> None:
        """Stop one program for a while, as an outage does, and start it again.

        Args:
            name: the program.
            away: seconds between its end and its start.

        Raises:
            ClusterError: it is not ready in time.
        """
        process = running(self._run / f"{name}.pid")
        if process is None:
            raise ClusterError(f"{name} does not run")
        command = process.cmdline()
        self._found(name).stop()
        time.sleep(away)
        Daemon(name, command, self._run, tied=self._options.tied).start()
        self._wait_until_ready()

    def user(self, name: str, groups: Sequence[str] = (), *, file: str = "") -> Path:
        """A kubeconfig for a user of these groups, by a client certificate.

        Args:
            name: the user.
            groups: the user's groups.
            file: name of the kubeconfig file, where the user's is none.
        """
        stem = file or name
        credential = self._authority().issue(self._pki, f"user-{stem}", name, groups=groups)
        return kubeconfig.write(
            self.folder / "kubeconfigs" / f"{stem}.yaml",
            server=self.server,
            authority=self._authority().files.certificate,
            user=name,
            credential=credential,
        )

    def serving_certificate(self, name: str, hosts: Sequence[str]) -> KeyPair:
        """A server certificate that the API server trusts, such as a node's."""
        return self._authority().issue(self._pki, f"serving-{name}", name, hosts=hosts)

    @property
    def client_authority(self) -> Path:
        """The certificate of the authority that signs users and the API server's own client."""
        return self._authority().files.certificate

    def _authority(self) -> Authority:
        return Authority.load_or_make(self._pki, "cluster-ca")

    def _found(self, name: str) -> Daemon:
        return self._daemons.get(name) or Daemon(name, (), self._run)

    def _configure(self) -> None:
        """Certificates, kubeconfigs and command lines for the next start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        listen = ports.allotted(self.folder / "ports.json", ("etcd", "etcd-peer", "kube-apiserver"))
        self._server = f"https://{LOOPBACK}:{listen['kube-apiserver']}"
        cluster = self._authority()
        self.user(ADMIN, ["system:masters"])
        commands = {
            "etcd": self._etcd(listen),
            "kube-apiserver": self._apiserver(listen, cluster),
            "kube-controller-manager": self._controller_manager(cluster),
            "kube-scheduler": self._scheduler(),
        }
        self._daemons = {
            name: Daemon(
                name,
                [
                    str(self._binaries[name]),
                    *(f"--{key}={value}" for key, value in flags.items()),
                    *self._options.flags.get(name, ()),
                ],
                self._run,
                tied=self._options.tied,
            )
            for name, flags in commands.items()
        }

    def _etcd(self, listen: Mapping[str, int]) -> dict[str, object]:
        authority = Authority.load_or_make(self._pki, "etcd-ca")
        serving = authority.issue(self._pki, "etcd", "etcd", hosts=[LOOPBACK, "localhost"])
        self._etcd_client = authority.issue(self._pki, "etcd-client", "kube-apiserver")
        client = f"https://{LOOPBACK}:{listen['etcd']}"
        peer = f"https://{LOOPBACK}:{listen['etcd-peer']}"
        flags: dict[str, object] = {
            "name": "headway",
            "data-dir": self.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"headway={peer}",
            "cert-file": serving.certificate,
            "key-file": serving.key,
            "client-cert-auth": "true",
            "trusted-ca-file": authority.files.certificate,
            "peer-cert-file": serving.certificate,
            "peer-key-file": serving.key,
            "peer-client-cert-auth": "true",
            "peer-trusted-ca-file": authority.files.certificate,
            "log-level": "warn",
        }
        if not self._options.durable:
            flags["unsafe-no-fsync"] = "true"
        return flags

    def _apiserver(self, listen: Mapping[str, int], cluster: Authority) -> dict[str, object]:
        etcd = Authority.load_or_make(self._pki, "etcd-ca")
        client = self._etcd_client or etcd.issue(self._pki, "etcd-client", "kube-apiserver")
        serving = cluster.issue(
            self._pki,
            "kube-apiserver",
            "kube-apiserver",
            hosts=[
                LOOPBACK,
                _SERVICE_ADDRESS,
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ],
        )
        kubelet = cluster.issue(self._pki, KUBELET_CLIENT, KUBELET_CLIENT)
        tokens = signing_key(self._pki, "service-accounts")
        flags: dict[str, object] = {
            "bind-address": LOOPBACK,
            "advertise-address": LOOPBACK,
            "secure-port": listen["kube-apiserver"],
            "endpoint-reconciler-type": "none",
            "etcd-servers": f"https://{LOOPBACK}:{listen['etcd']}",
            "etcd-cafile": etcd.files.certificate,
            "etcd-certfile": client.certificate,
            "etcd-keyfile": client.key,
            "client-ca-file": cluster.files.certificate,
            "tls-cert-file": serving.certificate,
            "tls-private-key-file": serving.key,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": tokens.certificate,
            "service-account-signing-key-file": tokens.key,
            "service-cluster-ip-range": _SERVICE_NETWORK,
            "kubelet-client-certificate": kubelet.certificate,
            "kubelet-client-key": kubelet.key,
            "kubelet-certificate-authority": cluster.files.certificate,
            "kubelet-preferred-address-types": "InternalIP",
            "profiling": "false",
        }
        if self._options.audit:
            policy = self.folder / "audit-policy.yaml"
            policy.write_text(_AUDIT_POLICY)
            flags["audit-policy-file"] = policy
            flags["audit-log-path"] = self._options.audit
        return flags

    def _controller_manager(self, cluster: Authority) -> dict[str, object]:
        return {
            **self._component("kube-controller-manager"),
            "service-account-private-key-file": signing_key(self._pki, "service-accounts").key,
            "root-ca-file": cluster.files.certificate,
            "cluster-signing-cert-file": cluster.files.certificate,
            "cluster-signing-key-file": cluster.files.key,
            "use-service-account-credentials": "true",
            "kube-api-qps": 100,
            "kube-api-burst": 200,
        }

    def _scheduler(self) -> dict[str, object]:
        return self._component("kube-scheduler")

    def _component(self, name: str) -> dict[str, object]:
        return {
            "kubeconfig": self.user(f"system:{name}", file=name),
            "leader-elect": "false",
            "bind-address": LOOPBACK,
            "secure-port": 0,
            "profiling": "false",
        }

    def ready(self) -> bool:
        """Whether the API server answers the administrator, and says that it is ready."""
        if not self.server:
            return False
        credential = KeyPair(
            self._pki / f"user-{ADMIN}.crt",
            self._pki / f"user-{ADMIN}.key",
        )
        try:
            context = ssl.create_default_context(cafile=str(self.client_authority))
            context.load_cert_chain(credential.certificate, credential.key)
            with urllib3.PoolManager(ssl_context=context, retries=False) as pool:
                answer = pool.request("GET", f"{self.server}/readyz", timeout=2.0)
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        return answer.status == 200

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while not self.ready():
            for name in ("etcd", "kube-apiserver"):
                daemon = self._found(name)
                if daemon.process() is None:
                    raise ClusterError(
                        f"{name} ended while it started; its last words ({daemon.log}):\n"
                        f"{daemon.tail()}"
                    )
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the API server was not ready within {_START_WITHIN:.0f} s; see "
                    f"{self._found('kube-apiserver').log}"
                )
            time.sleep(_POLL)


_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""

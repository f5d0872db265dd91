"""The node image: Debian's systemd and containerd, our Kubernetes, and the images of its parts.

What kind's own node image holds is put together from Debian packages and Go modules, so that it
can be made where no registry is reached. kind finds in it what it looks for: ``/kind/version``, an
entrypoint that becomes systemd, containerd with the images that kubeadm wants, a template of the
CNI configuration, and a default storage class.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from commands import run, say
from debian import file_system
from engine import Engine
from headway_cluster.binaries.toolsets import KUBERNETES_VERSION
from places import COREDNS_VERSION, ETCD_TAG, NODE_BASE, NODE_IMAGE, PAUSE_TAG, Places

_HERE = Path(__file__).resolve().parent
_DEBIAN_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "containerd", "runc", "containernetworking-plugins",
    "iptables", "nftables", "iproute2", "conntrack", "ethtool", "socat", "util-linux", "mount",
    "kmod", "jq", "procps", "libseccomp2", "ca-certificates", "bash", "e2fsprogs", "pigz",
    "hostname",
)  # fmt: skip
_MASKED = (
    "systemd-binfmt.service", "systemd-modules-load.service", "systemd-udevd.service",
    "systemd-logind.service", "getty.target",
)  # fmt: skip
_PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENTRYPOINT = 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]'
_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")


class NodeImage:
    """Makes the image in the engine, step by step; a step that was done is not done again."""

    def __init__(self, places: Places, engine: Engine, programs: Mapping[str, Path]) -> None:
        """Take the engine that is to hold it and the programs of a node."""
        self._places = places
        self._engine = engine
        self._programs = programs

    def ensure(self) -> str:
        """The image's name, once the engine holds it.

        Raises:
            LabError: a step failed.
        """
        if self._engine.has(NODE_IMAGE):
            return NODE_IMAGE
        if not self._engine.has(NODE_BASE):
            self._make_base()
        self._make_node()
        return NODE_IMAGE

    def _make_base(self) -> None:
        say("a file system of Debian packages for the nodes (a minute and a half)")
        with file_system(self._places.scratch / "root", _DEBIAN_PACKAGES) as root:
            self._furnish(root)
            changes = ["--change", "ENV container=docker", "--change", _PATH]
            self._import(root, NODE_BASE, changes)

    def _furnish(self, root: Path) -> None:
        """Our files, the kubelet's programs, and only those services that a node needs."""
        shutil.copytree(_HERE / "node", root, dirs_exist_ok=True)
        (root / "kind").mkdir(exist_ok=True)
        (root / "kind" / "version").write_text(KUBERNETES_VERSION)
        for script in (root / "usr" / "local" / "bin").iterdir():
            script.chmod(0o755)
        for program in ("kubelet", "kubectl", "kubeadm"):
            shutil.copy(self._programs[program], root / "usr" / "bin" / program)
        for pattern in (
            "lib/systemd/system/multi-user.target.wants/*",
            "etc/systemd/system/*.wants/*",
            "lib/systemd/system/sockets.target.wants/*initctl*",
            "lib/systemd/system/sockets.target.wants/*udev*",
            "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
            "lib/systemd/system/sysinit.target.wants/systemd-udev*",
        ):
            for unwanted in root.glob(pattern):
                unwanted.unlink()
        run(["chroot", root, "systemctl", "-q", "enable", "containerd.service", "kubelet.service"])
        run(["chroot", root, "systemctl", "-q", "mask", *_MASKED])
        for unneeded in ("doc", "man", "locale"):
            shutil.rmtree(root / "usr" / "share" / unneeded, ignore_errors=True)

    def _make_node(self) -> None:
        say("the images of the control plane")
        scratch = self._places.scratch / "images"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        made: list[str] = []
        try:
            made += [
                self._program_image(scratch, f"registry.k8s.io/{name}:{KUBERNETES_VERSION}", name)
                for name in _CONTROL_PLANE
            ]
            made += [
                self._program_image(scratch, f"registry.k8s.io/etcd:{ETCD_TAG}", "etcd"),
                self._program_image(
                    scratch, f"registry.k8s.io/coredns/coredns:{COREDNS_VERSION}", "coredns"
                ),
                self._program_image(scratch, f"registry.k8s.io/pause:{PAUSE_TAG}", "pause"),
            ]
            archive = scratch / "all.tar"
            self._engine.docker("save", "-o", str(archive), *made)
            say("the node image")
            with self._container(archive) as container:
                self._fill(container)
                self._engine.docker("commit", "--change", _ENTRYPOINT, container, NODE_IMAGE)
        finally:
            if made:
                self._engine.docker("rmi", "--force", *made)
            shutil.rmtree(scratch, ignore_errors=True)

    def _program_image(self, scratch: Path, name: str, program: str) -> str:
        """An image of one static program, under the name that kubeadm looks for."""
        folder = scratch / program
        for inner in ("usr/local/bin", "etc"):
            (folder / inner).mkdir(parents=True)
        (folder / "tmp").mkdir(mode=0o1777)
        target = folder / "usr" / "local" / "bin" / program
        if program == "pause":
            _build_pause(target)
        else:
            shutil.copy(self._programs[program], target)
        if program == "kube-proxy":  # its nftables mode calls nft
            _copy_with_libraries(Path("/usr/sbin/nft"), folder)
        start = f'ENTRYPOINT ["/usr/local/bin/{program}"]'
        self._import(folder, name, ["--change", _PATH, "--change", start])
        shutil.rmtree(folder)
        return name

    @contextmanager
    def _container(self, archive: Path) -> Iterator[str]:
        name = "headway-lab-node-build"
        self._engine.docker("rm", "--force", "--volumes", name)
        self._engine.docker(
            *("run", "--detach", "--name", name, "--privileged", "--entrypoint", "sleep"),
            *("--volume", f"{archive}:/all.tar:ro", NODE_BASE, "infinity"),
        )
        try:
            yield name
        finally:
            self._engine.docker("rm", "--force", "--volumes", name)

    def _fill(self, container: str) -> None:
        """Have the node's own containerd import the images, so that it starts with them."""
        script = (
            "set -e; containerd >/dev/null 2>&1 & "
            "for _ in $(seq 200); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done; "
            "ctr --namespace=k8s.io images import --all-platforms --no-unpack --digests /all.tar; "
            "kill $(pidof containerd); wait; rm -rf /tmp/*"
        )
        self._engine.docker("exec", container, "bash", "-c", script)

    def _import(self, folder: Path, name: str, changes: list[str]) -> None:
        command = ["docker", "import", *changes, "-", name]
        pipe = f"tar -C {shlex.quote(str(folder))} -c . | {shlex.join(command)}"
        run(["bash", "-o", "pipefail", "-c", pipe], env=self._engine.environment)


def _build_pause(target: Path) -> None:
    """The program that holds a pod's namespaces open: it sleeps and collects the dead."""
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    source = _HERE / "pause.go"
    run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", target, source], env=env)


def _copy_with_libraries(program: Path, folder: Path) -> None:
    files = [program, *map(Path, re.findall(r"(/\S+)", run(["ldd", program])))]
    for file in files:
        place = folder / file.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.resolve(), place)

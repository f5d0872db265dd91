"""A Docker engine in a network namespace that has no way out."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import time
from pathlib import Path

from commands import LabError, run, say, succeeds
from headway_cluster.processes import Daemon
from places import ENGINE_FOLDER, NETWORK, Places

PACKAGES = ("docker.io", "debootstrap", "iproute2", "nftables", "jq", "buildah")
_NAMESPACE = Path("/run/netns") / NETWORK
_RESOLVER = "192.0.2.53"
"""An address of the namespace's own loopback (TEST-NET-1), where nobody answers: Docker would
otherwise be told of public resolvers."""
_NETWORKS = ("172.30.0.1/24", "base=172.31.0.0/16,size=24")
_ANSWERS_WITHIN = 40.0
_WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH_WATCHERS = 1024
"""Every node's systemd, containerd and kubelet takes some, and each followed log one more. Past the
limit a kubelet writes its own error into the log that it serves."""
_RUNC_WRAPPER = """\
#!/usr/bin/env python3
# Where CAP_SYS_RESOURCE is outside of the bounding set, a privileged container may not ask for it.
import json, os, sys

def without(capabilities):
    return {k: [c for c in v if c != "CAP_SYS_RESOURCE"] for k, v in capabilities.items()}

def mend(file, *path):
    try:
        with open(file) as content:
            document = json.load(content)
    except OSError:
        return
    place = document
    for key in path:
        place = place.get(key) or {}
    if place.get("capabilities"):
        place["capabilities"] = without(place["capabilities"])
        with open(file, "w") as content:
            json.dump(document, content)

for flag, value in zip(sys.argv, sys.argv[1:]):
    if flag in ("--bundle", "-b"):
        mend(os.path.join(value, "config.json"), "process")
    elif flag in ("--process", "-p"):
        mend(value)
os.execv("/usr/sbin/runc", ["runc", *sys.argv[1:]])
"""


def install_packages() -> None:
    """Install what is missing of Debian's packages, and let none of them start a service."""
    missing = [name for name in PACKAGES if not succeeds(["dpkg", "-s", name])]
    if not missing:
        return
    say(f"installing {', '.join(missing)}")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=quiet)
        run(["apt-get", "install", "-y", "-qq", *missing], env=quiet)
    finally:
        if ours:
            policy.unlink(missing_ok=True)


class Engine:
    """The engine: started when it is needed, found again by its file."""

    def __init__(self, places: Places) -> None:
        """Take where things are kept; nothing is started yet."""
        self._places = places

    @property
    def environment(self) -> dict[str, str]:
        """What makes docker and kind use this engine."""
        return {
            "DOCKER_HOST": self._places.socket,
            "KIND_EXPERIMENTAL_PROVIDER": "docker",
            "KUBECONFIG": str(self._places.kubeconfig),
        }

    @property
    def entering(self) -> list[str]:
        """What to put before a command so that it runs in the engine's network."""
        return ["nsenter", f"--net={_NAMESPACE}"]

    @property
    def _daemon(self) -> Daemon:
        root = self._places.root
        bip, pool = _NETWORKS
        command = [
            *self.entering, "dockerd",
            "--data-root", str(root / "docker"),
            "--exec-root", str(ENGINE_FOLDER / "run"),
            "--pidfile", str(ENGINE_FOLDER / "docker.pid"),
            "--host", self._places.socket,
            "--storage-driver", "overlay2",
            "--dns", _RESOLVER,
            "--bip", bip,
            "--default-address-pool", pool,
            "--config-file", str(root / "daemon.json"),
        ]  # fmt: skip
        return Daemon("dockerd", command, root)

    def answers(self) -> bool:
        """Whether the engine runs and takes commands."""
        return succeeds(["docker", "version"], env=self.environment)

    def start(self) -> None:
        """Start the engine in its namespace, unless it runs.

        Raises:
            LabError: it does not come up.
        """
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it makes a network namespace and runs an engine")
        if not _NAMESPACE.exists():
            run(["ip", "netns", "add", NETWORK])
        run([*self.entering, "ip", "link", "set", "lo", "up"])
        run([*self.entering, "ip", "addr", "replace", f"{_RESOLVER}/32", "dev", "lo"])
        if self.answers():
            return
        say(f"starting a Docker engine in the network namespace {NETWORK}")
        self._places.root.mkdir(parents=True, exist_ok=True)
        ENGINE_FOLDER.mkdir(exist_ok=True)
        self._configure()
        self._allow_watchers()
        (ENGINE_FOLDER / "docker.pid").unlink(missing_ok=True)
        daemon = self._daemon
        daemon.start()
        deadline = time.monotonic() + _ANSWERS_WITHIN
        while not self.answers():
            if daemon.process() is None or time.monotonic() > deadline:
                daemon.stop()
                raise LabError(f"the Docker engine did not start; its log ends:\n{daemon.tail()}")
            time.sleep(0.3)

    @staticmethod
    def _allow_watchers() -> None:
        """Let this machine watch enough files, until it is started again."""
        try:
            if int(_WATCHERS.read_text()) < _ENOUGH_WATCHERS:
                _WATCHERS.write_text(str(_ENOUGH_WATCHERS))
        except OSError as error:
            say(f"this machine may run out of file watchers: {_WATCHERS}: {error}")

    def _configure(self) -> None:
        wrapper = self._places.root / "runc"
        wrapper.write_text(_RUNC_WRAPPER.replace("/usr/bin/env python3", sys.executable, 1))
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        runtimes = {"runtimes": {"lab": {"path": str(wrapper)}}, "default-runtime": "lab"}
        (self._places.root / "daemon.json").write_text(json.dumps(runtimes))

    def stop(self) -> None:
        """End the engine and take its network away; its images stay."""
        if self._daemon.stop(grace=60):
            say("the Docker engine has ended")
        if _NAMESPACE.exists():
            run(["ip", "netns", "delete", NETWORK])
        shutil.rmtree(ENGINE_FOLDER, ignore_errors=True)

    def docker(self, *args: str, stdin: str | None = None, within: float = 600) -> str:
        """What ``docker args...`` prints."""
        return run(["docker", *args], env=self.environment, stdin=stdin, within=within)

    def has(self, image: str) -> bool:
        """Whether the engine holds an image."""
        return succeeds(["docker", "image", "inspect", image], env=self.environment)

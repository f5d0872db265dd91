"""The cluster that tests run on: the product's own local cluster, in a temporary home."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from headway_cluster import binaries
from headway_cluster.controlplane import PROGRAMS, Options
from headway_cluster.home import Home
from headway_cluster.local import LocalCluster, LocalOptions
from kubectl import Kubectl
from processes import lives
from waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "cli" / "src" / "headway_cli" / "manifests" / "headway.yaml"
OPERATOR_NAMESPACE = "headway-system"


@dataclass
class Cluster:
    """The cluster under test."""

    local: LocalCluster
    home: Path
    programs: dict[str, Path]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.local.kubeconfig

    @property
    def audit(self) -> Path:
        """The API server's audit log, a JSON object a line."""
        return self.home / "audit.log"

    def audited(self, begin: int = 0) -> Iterator[dict[str, Any]]:
        """The entries of the audit log, from that byte on.

        A last line that is still being written is left out.
        """
        with self.audit.open() as log:
            log.seek(begin)
            for line in log:
                if line.endswith("\n"):
                    yield json.loads(line)

    def kubectl(self, namespace: str = "default") -> Kubectl:
        """kubectl as the administrator."""
        return Kubectl(self.programs["kubectl"], self.kubeconfig, namespace)

    def environment(self) -> dict[str, str]:
        """What a command needs to use this cluster and no other."""
        return {
            **os.environ,
            "HEADWAY_HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def install(self) -> None:
        """Install Headway by its own manifests and wait until the operator is at work."""
        kubectl = self.kubectl(OPERATOR_NAMESPACE)
        kubectl("apply", "--server-side", "-f", str(MANIFESTS))
        kubectl.established()
        kubectl("wait", "--for=condition=Available", "deployment", "--all", "--timeout=180s")

    def operator(self) -> psutil.Process:
        """The operator's process, found by the address of its pod."""

        def look() -> psutil.Process | None:
            pods = self.kubectl(OPERATOR_NAMESPACE).items("pods")
            addresses = {p["status"].get("podIP") for p in pods}
            for process in psutil.process_iter(["cmdline"]):
                command = process.info["cmdline"] or []
                listens = {f"--listen-address={a}" for a in addresses}
                if "headway_operator" in command and listens & set(command):
                    return process
            return None

        found = eventually(look, within=60, why="the operator runs")
        assert found is not None
        return found

    def crash_operator(self) -> None:
        """SIGKILL, as a crash or the kernel would; the node starts it again."""
        process = self.operator()
        process.kill()
        eventually(lambda: not lives(process), within=60, why="the operator is gone")


@contextmanager
def temporary_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A control plane and a process node, without Headway; nothing of it is left afterwards.

    Args:
        durable: etcd waits for the disk, as in production.
    """
    programs = binaries.ensure(Home.find(), (*PROGRAMS, "kubectl"), say)
    with tempfile.TemporaryDirectory(prefix="headway-test-") as folder:
        home = Path(folder)
        local = LocalCluster(
            Home(home / "cache", home / "state"),
            LocalOptions(
                control_plane=Options(tied=True, durable=durable, audit=home / "audit.log"),
                crash_backoff=0.5,
            ),
            programs,
        )
        try:
            local.up(say)
            yield Cluster(local, home, programs)
        finally:
            local.down()


def say(text: str) -> None:
    """Tell what is done, past pytest's capture."""
    print(f"  {text}", file=sys.__stderr__)

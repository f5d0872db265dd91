"""The cluster that the end-to-end suite is given: any, as long as its nodes are containers.

The suite's parameters, all of them environment variables:

- ``HEADWAY_E2E_KUBECONFIG``: an administrator's kubeconfig. Without it the suite fails.
- ``HEADWAY_E2E_DOCKER``: address of the Docker engine whose containers are the nodes; left out,
  the docker command's own.
- ``HEADWAY_E2E_IMAGES``: folder with the archives of the images (``trainer-base.tar``); left out,
  ``build/images``. An archive that is not there is taken from the engine. That the nodes hold
  Headway's images already is up to whoever makes the cluster: ``operator`` on the control plane's,
  ``trainer-base`` on every worker, ``trainer`` on one worker or more.
- ``HEADWAY_E2E_SHARED``: a folder on every node that is the same one for all of them; left out,
  ``/shared``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from charts import CHART, Helm
from clusters import OPERATOR_NAMESPACE, ROOT, say
from headway_api.version import __version__
from headway_cluster import binaries
from headway_cluster.home import Home
from image_archives import Image, Layer, derived, of_programs
from kubectl import Kubectl
from machines import Machines
from waiting import eventually

KUBECONFIG = "HEADWAY_E2E_KUBECONFIG"
TRAINER = f"headway/trainer:{__version__}"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


class NoClusterError(Exception):
    """The suite was started without a cluster, or with one that cannot carry it."""


@dataclass(frozen=True)
class GivenCluster:
    """The cluster under test."""

    kubeconfig: Path
    machines: Machines
    images: Path
    programs: dict[str, Path]
    workers: tuple[str, ...]
    """Names of the nodes for trainers: at least three."""

    def kubectl(self, namespace: str = "default") -> Kubectl:
        """kubectl as the administrator."""
        return Kubectl(self.programs["kubectl"], self.kubeconfig, namespace)

    def environment(self) -> dict[str, str]:
        """What a command needs to use this cluster and no other."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    @property
    def helm(self) -> Helm:
        """helm as the administrator."""
        return Helm(self.programs["helm"], self.kubeconfig)

    def install(self, *args: str, chart: Path = CHART) -> None:
        """Install or upgrade Headway by its chart, into a namespace that enforces ``restricted``.

        The controller is put onto the control plane's node: the tests take the others away. Runs
        that name no image get ``trainer-base``: the one with torch and its CUDA libraries takes
        13 GB of a node, so that it need not be on all of them.
        """
        self.kubectl().apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": OPERATOR_NAMESPACE, "labels": RESTRICTED},
            }
        )
        values = {
            "nodeSelector": {_CONTROL_PLANE: ""},
            "tolerations": [{"key": _CONTROL_PLANE, "effect": "NoSchedule"}],
            "trainerImage": {"repository": "headway/trainer-base"},
        }
        release = ("headway", str(chart), "--namespace", OPERATOR_NAMESPACE)
        self.helm("upgrade", "--install", *release, *args, values=values)
        kubectl = self.kubectl(OPERATOR_NAMESPACE)
        kubectl.established()
        kubectl("rollout", "status", "deployment/headway-operator", "--timeout=120s")

    def uninstall(self) -> None:
        """Take Headway away, and wait until its pods are gone."""
        release = ("headway", "--namespace", OPERATOR_NAMESPACE)
        self.helm("uninstall", *release, "--ignore-not-found", "--wait", "--timeout=120s")
        kubectl = self.kubectl(OPERATOR_NAMESPACE)
        eventually(lambda: not kubectl.items("pods"), within=60, why="the operator is gone")

    @cached_property
    def learner(self) -> str:
        """A worker that holds the image with torch."""
        for node in self.workers:
            if TRAINER in self.machines.on(node, "ctr", "-n", "k8s.io", "images", "ls", "-q"):
                return node
        raise AssertionError(f"no worker holds {TRAINER}: load it onto one")

    def load(self, image: Image) -> str:
        """Put an image onto every worker; returns its name."""
        self.machines.load(image, self.workers)
        return image.name

    def archive(self, name: str, folder: Path) -> Path:
        """The archive of one of Headway's images, such as ``trainer-base``."""
        file = self.images / f"{name}.tar"
        if file.exists():
            return file
        return self.machines.save(f"headway/{name}:{__version__}", folder / f"{name}.tar")

    @contextmanager
    def shared_claim(self, kubectl: Kubectl, name: str) -> Iterator[str]:
        """A claim that every node can mount at once; its data goes with it.

        Yields:
            The folder on the nodes.
        """
        volume = f"{kubectl.namespace}-{name}"
        with self.machines.folder(self.workers[0]) as folder:
            size = {"storage": "1Gi"}
            common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
            bound = {"namespace": kubectl.namespace, "name": name}
            try:
                kubectl.apply(
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolume",
                        "metadata": {"name": volume},
                        "spec": {
                            **common,
                            "capacity": size,
                            "hostPath": {"path": folder, "type": "Directory"},
                            "claimRef": bound,
                            "persistentVolumeReclaimPolicy": "Retain",
                        },
                    },
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {"name": name},
                        "spec": {
                            **common,
                            "volumeName": volume,
                            "resources": {"requests": size},
                        },
                    },
                )
                yield folder
            finally:
                kubectl("delete", "pv", volume, "--ignore-not-found", "--wait=false")


def given() -> GivenCluster:
    """The cluster that the environment names.

    Raises:
        NoClusterError: there is none, or it cannot carry the suite.
    """
    kubeconfig = os.environ.get(KUBECONFIG)
    if not kubeconfig:
        raise NoClusterError(
            f"No cluster is given: {KUBECONFIG} is not set. `make e2e` makes one and runs the "
            "suite on it."
        )
    programs = binaries.ensure(Home.find(), ("kubectl", "helm"), say)
    kubectl = Kubectl(programs["kubectl"], Path(kubeconfig))
    try:
        nodes = kubectl.items("nodes")
    except AssertionError as error:
        raise NoClusterError(f"The cluster of {KUBECONFIG} does not answer: {error}") from error
    workers = tuple(
        sorted(
            n["metadata"]["name"] for n in nodes if _CONTROL_PLANE not in n["metadata"]["labels"]
        )
    )
    if len(workers) < 3:
        raise NoClusterError(
            f"The cluster of {KUBECONFIG} has {len(workers)} workers; the suite needs three."
        )
    machines = Machines(
        os.environ.get("HEADWAY_E2E_DOCKER", ""), os.environ.get("HEADWAY_E2E_SHARED", "/shared")
    )
    try:
        for node in workers:
            machines.on(node, "test", "-d", machines.shared)
    except (AssertionError, OSError) as error:
        raise NoClusterError(
            f"The nodes must be containers of a Docker engine (HEADWAY_E2E_DOCKER) and have a "
            f"folder {machines.shared} (HEADWAY_E2E_SHARED): {error}"
        ) from error
    images = Path(os.environ.get("HEADWAY_E2E_IMAGES") or ROOT / "build" / "images")
    return GivenCluster(Path(kubeconfig), machines, images, programs, workers)


def image_with_the_sdk(cluster: GivenCluster, folder: Path) -> Image:
    """A user's own image: a script and a module on top of ``headway/trainer-base``, own user."""
    script = (ROOT / "examples" / "scripts" / "fit_line.py").read_bytes()
    return derived(
        cluster.archive("trainer-base", folder),
        folder / "with-sdk.tar",
        "e2e/with-sdk:1",
        Layer({"app/fit_line.py": script, "app/users_own.py": _USERS_OWN.encode()}),
        User="10001:10001",
        WorkingDir="/app",
        Entrypoint=None,
        Cmd=["python", "fit_line.py", "--epochs", "3", "--batches", "10"],
        Env={"PYTHONPATH": "/app"},
    )


def image_without_the_sdk(folder: Path) -> Image:
    """A user's own image that knows nothing of Headway: a shell and a few programs."""
    return of_programs(
        folder / "shell.tar",
        "e2e/shell:1",
        ["sh", "sleep", "cat", "dd", "id", "touch", "true"],
        User="10002:10002",
        Cmd=["sh", "-c", "echo started; sleep 1; echo ended"],
    )


_USERS_OWN = """
import time

import headway


class Backtest:
    @staticmethod
    def run(symbol, days):
        with headway.operation("Backtest") as op:
            for day in op.epochs(days):
                time.sleep(0.02)
            op.result(symbol=symbol, days=days)
"""


def on_node(node: str, **pod: Any) -> dict[str, Any]:
    """A podTemplate for a run on one node; ``pod`` are further fields of the pod's spec."""
    return {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}, **pod}}

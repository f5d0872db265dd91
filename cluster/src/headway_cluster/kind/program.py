"""The kind program: what it is told, and what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway_cluster import binaries
from headway_cluster.errors import ClusterError
from headway_cluster.home import Home

Say = Callable[[str], None]
_LAST_LINES = 15
_STEP = re.compile(r"^\s*•\s*(.+)$")


def find(home: Home, say: Say) -> str:
    """The kind program: the person's own, else the cache's, built where it is missing.

    Raises:
        ClusterError: it cannot be made.
    """
    return shutil.which("kind") or str(binaries.ensure(home, ("kind",), say)["kind"])


def configuration(
    base: Mapping[str, Any],
    workers: int | None = None,
    mounts: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """A cluster for kind.

    Args:
        base: settings in kind's own words; may be empty.
        workers: nodes beside the control plane's; None leaves the nodes to ``base``.
        mounts: folders of this machine in every node, in kind's words; with ``workers`` only.
    """
    made = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", **base}
    if workers is not None:
        more = {"extraMounts": list(mounts)} if mounts else {}
        roles = ["control-plane", *["worker"] * workers]
        made["nodes"] = [{"role": role, **more} for role in roles]
    return made


@dataclass(frozen=True)
class Kind:
    """How one cluster is made and taken away.

    Attributes:
        command: the program, and what has to stand before it.
        cluster: its name.
        kubeconfig: where the administrator's is written.
        environment: all of it; it names the Docker engine.
    """

    command: Sequence[str]
    cluster: str
    kubeconfig: Path
    environment: Mapping[str, str]

    def create(
        self,
        configuration: Mapping[str, Any],
        image: str | None = None,
        say: Say = lambda _: None,
    ) -> None:
        """Make the cluster.

        Args:
            configuration: see :func:`configuration`.
            image: of the nodes; None means kind's own.
            say: told its steps.

        Raises:
            ClusterError: it fails.
        """
        chosen = ["--image", image] if image else []
        self._run(
            ("create", "cluster", "--config", "-", *self._kubeconfig, *chosen, *self._named),
            stdin=json.dumps(configuration),
            say=say,
        )

    def delete(self) -> None:
        """Take the cluster away, if it is there.

        Raises:
            ClusterError: it fails.
        """
        self._run(("delete", "cluster", *self._kubeconfig, *self._named))

    def export(self) -> None:
        """Write the kubeconfig again."""
        self._run(("export", "kubeconfig", *self._kubeconfig, *self._named))

    def load_archive(self, archive: Path, nodes: Sequence[str] = ()) -> None:
        """Put the images of an archive onto nodes, by default onto every one."""
        onto = ["--nodes", ",".join(nodes)] if nodes else []
        self._run(("load", "image-archive", str(archive), *onto, *self._named))

    def load_images(self, names: Sequence[str]) -> None:
        """Put images of the engine onto every node that does not hold them."""
        self._run(("load", "docker-image", *names, *self._named))

    @property
    def _named(self) -> tuple[str, str]:
        return ("--name", self.cluster)

    @property
    def _kubeconfig(self) -> tuple[str, str]:
        return ("--kubeconfig", str(self.kubeconfig))

    def _run(self, words: Sequence[str], stdin: str = "", say: Say = lambda _: None) -> None:
        """Run kind to its end.

        Raises:
            ClusterError: it fails; its last lines are told.
        """
        title = f"kind {' '.join(words[:2])}"
        last: deque[str] = deque(maxlen=_LAST_LINES)
        with tempfile.TemporaryFile("w+") as asked:
            asked.write(stdin)
            asked.seek(0)
            try:
                process = subprocess.Popen(
                    [*self.command, *words],
                    env=dict(self.environment),
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                raise ClusterError(f"{title} cannot be started: {error}") from error
        with process:
            try:
                for line in process.stdout or ():
                    last.append(line.rstrip())
                    if step := step_of(line):
                        say(f"kind: {step}")
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0:
            raise ClusterError(f"{title} failed:\n" + "\n".join(last))


def step_of(line: str) -> str | None:
    """The step that a line of ``kind create cluster`` begins, without its ornaments."""
    match = _STEP.match(line)
    if match is None:
        return None
    plain = re.sub(r"[^\x20-\x7e]+", "", match[1]).strip().removesuffix("...").strip()
    return plain or None

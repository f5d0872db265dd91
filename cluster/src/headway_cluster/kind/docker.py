"""The Docker engine that carries the nodes, asked by the docker command, as kind does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headway_cluster.errors import ClusterError

_WHERE = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
_ANSWERS_WITHIN = 30.0
_OTHERWISE = "headway cluster up --provider process    (no containers needed)"
_LABEL = "io.x-k8s.kind"
BALANCER = "external-load-balancer"
"""Role of the container that stands before several control planes; it is no node."""


@dataclass(frozen=True)
class Machine:
    """A container of a kind cluster.

    Attributes:
        name: of the container, and of the node.
        state: in Docker's words: running, exited, ...
        role: control-plane, worker or external-load-balancer.
    """

    name: str
    state: str
    role: str


@dataclass(frozen=True)
class Docker:
    """One engine.

    Attributes:
        where: the variables that name it, empty ones for those that are not set.
    """

    where: Mapping[str, str]

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Docker:
        """The engine that an environment names."""
        return cls({name: env.get(name, "") for name in _WHERE})

    @property
    def environment(self) -> dict[str, str]:
        """What makes docker and kind use this engine."""
        return {**os.environ, **self.where, "KIND_EXPERIMENTAL_PROVIDER": "docker"}

    def obstacle(self) -> ClusterError | None:
        """Why the engine cannot be used; None where it answers."""
        try:
            done = self._run("version", "--format", "{{.Server.Version}}")
        except FileNotFoundError:
            return ClusterError("there is no docker command", ["install Docker", _OTHERWISE])
        except (OSError, subprocess.TimeoutExpired) as error:
            return ClusterError(f"Docker does not answer: {error}", [_OTHERWISE])
        return None if done.returncode == 0 else obstacle(done.stderr)

    def has(self, image: str) -> bool:
        """Whether the engine holds an image."""
        return self._run("image", "inspect", image).returncode == 0

    def machines(self, cluster: str) -> list[Machine]:
        """The containers of a kind cluster, whether they run or not.

        Raises:
            ClusterError: the engine does not tell.
        """
        told = self._output(
            *("ps", "--all", "--filter", f"label={_LABEL}.cluster={cluster}", "--format"),
            f'{{{{.Names}}}}\t{{{{.State}}}}\t{{{{.Label "{_LABEL}.role"}}}}',
        )
        return sorted(
            (Machine(*line.split("\t")) for line in told.splitlines()), key=lambda m: m.name
        )

    def start(self, machines: Sequence[Machine]) -> None:
        """Start containers that have stopped.

        Raises:
            ClusterError: one does not start.
        """
        self._output("start", *(machine.name for machine in machines))

    def _output(self, *words: str) -> str:
        try:
            done = self._run(*words)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"docker {words[0]} failed: {error}") from error
        if done.returncode != 0:
            raise ClusterError(f"docker {words[0]} failed:\n{done.stderr.strip()}")
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWERS_WITHIN,
            check=False,
        )


def obstacle(said: str) -> ClusterError:
    """What it means that ``docker version`` failed, from its own words."""
    words = said.strip()
    last = words.splitlines()[-1] if words else "docker version failed"
    if "permission denied" in words.lower():
        return ClusterError(
            f"Docker runs, but you may not use it\n{last}",
            ["sudo usermod --append --groups docker $USER    (and log in again)", _OTHERWISE],
        )
    return ClusterError(
        f"Docker does not run\n{last}",
        ["start Docker (on Linux: sudo systemctl start docker)", _OTHERWISE],
    )

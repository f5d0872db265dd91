"""From a container's spec to the command of one run: everything named, nothing left to resolve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headway_api import environment as variables_of_ours
from headway_api import names

from headway_cluster.node import rendezvous
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.environment import (
    STANDARD_PATH,
    ConfigurationError,
    Facts,
    Sources,
    expand,
    resolve,
)
from headway_cluster.node.images import Image
from headway_cluster.node.paths import PathTranslation
from headway_cluster.node.pods import Container, Pod
from headway_cluster.node.quantities import whole
from headway_cluster.node.runs import CONTAINER_MARK, Command, Run
from headway_cluster.node.status import container_id
from headway_cluster.node.volumes import mounted

_SHARED = "/tmp"  # noqa: S108 - not a file that is made here


@dataclass(frozen=True)
class Launcher:
    """Makes commands for the containers of one pod.

    Attributes:
        pod: the pod.
        folders: its volumes, by name.
        facts: what the downward API tells.
        api_server: host and port that containers reach the API server at.
        config: the node's configuration.
    """

    pod: Pod
    folders: Mapping[str, Path]
    facts: Facts
    api_server: tuple[str, int]
    config: NodeConfig

    def command(self, container: Container, image: Image, run: Run, sources: Sources) -> Command:
        """What a run executes.

        Raises:
            ConfigurationError: something that the container's spec names is missing.
        """
        base = self._base(image, run)
        variables = resolve(self.pod, container, base, sources, self.facts)
        variables |= rendezvous.of(self.pod.labels, variables)
        mounts = self.mounts(container, variables)
        translate = self.translation(container, run, mounts)
        # The node's and the image's own variables name real folders already.
        env = {
            name: value if base.get(name) == value else translate(value)
            for name, value in variables.items()
        }
        env[variables_of_ours.TERMINATION_MESSAGE_PATH] = str(run.termination_log)
        if folder := translate.folder(names.SERVICE_ACCOUNT_PATH):
            env[variables_of_ours.SERVICE_ACCOUNT_DIR] = folder
        env[CONTAINER_MARK] = container_id(self.pod, container.name, run.number)
        argv = [*(container.command or image.entrypoint), *container.args]
        if container.args and not container.command and not image.entrypoint:
            raise ConfigurationError(
                f'image "{container.image}" has no entrypoint on this node: set command, not only'
                " args"
            )
        if not argv:
            raise ConfigurationError(
                f'no command specified, and image "{container.image}" has no entrypoint on this'
                " node"
            )
        return Command(
            argv=tuple(translate(expand(part, variables)) for part in argv),
            env=env,
            cwd=translate(container.working_dir) if container.working_dir else env["HOME"],
            log=str(run.log),
            log_file_bytes=self.config.log_file_bytes,
            log_files=self.config.log_files,
            memory_limit=whole(container.limits["memory"]) if "memory" in container.limits else 0,
            grace=self.pod.grace,
        )

    def mounts(self, container: Container, variables: Mapping[str, str]) -> dict[str, Path]:
        """The folders behind a container's mount paths.

        Raises:
            ConfigurationError: a ``subPath`` leads out of its volume.
        """
        return mounted(container, self.folders, lambda text: expand(text, variables))

    def translation(
        self, container: Container, run: Run, mounts: Mapping[str, Path]
    ) -> PathTranslation:
        """What turns a container's paths into real ones.

        All but ``/tmp``: every process finds the host's there, and programs and arguments name
        files of the host below it.
        """
        own = {path: folder for path, folder in mounts.items() if path.rstrip("/") != _SHARED}
        return PathTranslation({**own, container.termination_path: run.termination_log})

    def _base(self, image: Image, run: Run) -> dict[str, str]:
        """What is set before the pod's own variables.

        A container has no file system of its own, but what it writes to its home or its working
        directory should vanish with it: each run gets an empty folder for both.
        """
        host, port = self.api_server
        return {
            "PATH": ":".join((*image.path, *STANDARD_PATH)),
            "HOME": str(run.home),
            "HOSTNAME": self.pod.hostname,
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": str(port),
            **image.env,
        }

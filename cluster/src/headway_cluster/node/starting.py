"""The start of containers, and what they need for it; what cannot be had yet is tried again.

Volumes come first, for all containers together; then each container's environment and image.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from headway_cluster.node.admitting import IMAGE_NOT_AVAILABLE
from headway_cluster.node.announcing import About
from headway_cluster.node.api import ApiError, ApiUnavailableError
from headway_cluster.node.container_story import Story
from headway_cluster.node.environment import ConfigurationError, Facts
from headway_cluster.node.images import ImageNotAvailableError, find
from headway_cluster.node.launching import Launcher
from headway_cluster.node.pod_folder import PodFolder
from headway_cluster.node.pods import Container, Pod
from headway_cluster.node.references import NotYetAllowedError, References
from headway_cluster.node.retries import Retries
from headway_cluster.node.surroundings import Surroundings
from headway_cluster.node.volumes import VolumeError, Volumes

log = logging.getLogger(__name__)

VOLUMES = ""
"""Name of the volumes among the things that are tried again; containers have their own."""
CONFIG_RETRY = 5.0
_TOKEN_RETRY = 10.0


class Starter:
    """Starts the containers of one pod."""

    def __init__(self, around: Surroundings, folder: PodFolder, retries: Retries) -> None:
        """Take the pod's folder, and what is tried again in it; nothing is made yet."""
        self._around = around
        self._folder = folder
        self._retries = retries
        self._volumes: Volumes | None = None
        self._folders: dict[str, Path] | None = None

    @property
    def volumes_made(self) -> bool:
        """Whether containers can be started."""
        return self._folders is not None

    @property
    def refresh_at(self) -> float | None:
        """When a volume is to be made anew, as seconds since the epoch."""
        return self._volumes.refresh_at if self._volumes is not None else None

    def prepare(self, pod: Pod, facts: Facts) -> None:
        """Know the volumes of a pod."""
        self._volumes = Volumes(pod, self._folder.volumes, facts)

    def provide(self, pod: Pod, references: References, now: float) -> None:
        """Make the volumes, or what of them has become old, if that is due."""
        if self._volumes is None:
            return
        refresh_at = self._volumes.refresh_at
        if self._folders is None and self._retries.is_due(VOLUMES):
            self._make(self._volumes, pod, references)
        elif refresh_at is not None and now >= refresh_at:
            self._refresh(self._volumes, pod, references)

    def start(
        self, pod: Pod, container: Container, story: Story, facts: Facts, references: References
    ) -> bool:
        """Start a container, once the volumes are made; returns whether that worked."""
        number = story.run.number + 1 if story.run is not None else 0
        run = self._folder.run(container.name, number)
        launcher = self.launcher(pod, facts)
        assert launcher is not None  # noqa: S101 - the volumes are made; for the type checker
        try:
            image = find(self._around.config.images, container.image)
            command = launcher.command(container, image, run, references)
            story.begin(run, command)
        except ImageNotAvailableError as error:
            story.waiting = (IMAGE_NOT_AVAILABLE, str(error))
            self._warn(pod, container, str(error))
            self._retries.never(container.name)
        except ConfigurationError as error:
            story.waiting = ("CreateContainerConfigError", str(error))
            self._warn(pod, container, f"Error: {error}")
            self._retries.failed(container.name, CONFIG_RETRY)
        except (NotYetAllowedError, ApiUnavailableError) as error:
            log.debug("container %s of %s: %s", container.name, pod.key, error)
            self._retries.failed(container.name, 1.0)
        except (ApiError, OSError) as error:
            story.waiting = ("CreateContainerError", str(error))
            self._warn(pod, container, f"Error: {error}")
            self._retries.failed(container.name, CONFIG_RETRY)
        else:
            self._retries.worked(container.name)
            return True
        return False

    def launcher(self, pod: Pod, facts: Facts) -> Launcher | None:
        """What makes commands for the containers; None before the volumes are made."""
        if self._folders is None:
            return None
        return Launcher(
            pod=pod,
            folders=self._folders,
            facts=facts,
            api_server=self._around.api.host_and_port,
            config=self._around.config,
        )

    def clean_up(self) -> None:
        """Nothing runs any more: remove the volumes."""
        self._folders = None
        if self._volumes is not None:
            self._volumes.remove()

    def _make(self, volumes: Volumes, pod: Pod, references: References) -> None:
        try:
            self._folders = volumes.make(references)
        except (NotYetAllowedError, ApiUnavailableError) as error:
            log.debug("volumes of %s: %s", pod.key, error)
            self._retries.failed(VOLUMES, 1.0)
        except (VolumeError, ApiError) as error:
            self._around.announcer.warning(About.pod(pod), "FailedMount", str(error))
            self._retries.failed(VOLUMES, CONFIG_RETRY)
        else:
            self._retries.worked(VOLUMES)

    def _refresh(self, volumes: Volumes, pod: Pod, references: References) -> None:
        try:
            volumes.refresh(references)
        except (
            NotYetAllowedError,
            ApiUnavailableError,
            ApiError,
            ConfigurationError,
            OSError,
        ) as error:
            log.warning("pod %s: its token could not be renewed: %s", pod.key, error)
            volumes.refresh_at = time.time() + _TOKEN_RETRY

    def _warn(self, pod: Pod, container: Container, message: str) -> None:
        self._around.announcer.warning(About.pod(pod, container.name), "Failed", message)

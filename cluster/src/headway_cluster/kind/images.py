"""Which images Headway is installed with: those in a folder of archives, or in the engine."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headway_api import names
from headway_api.version import __version__

from headway_cluster.errors import ClusterError
from headway_cluster.kind.docker import Docker

_OPERATOR = ("operator",)
COMPLETE = ("trainer",)
"""Trainers with all that the built-in services need."""
ANY = (*COMPLETE, "trainer-base")
"""Those without torch as well: on them, runs of type Training need an image of their own."""
_DOCKER_HUB = "docker.io/"


@dataclass(frozen=True)
class Held:
    """An image that is there.

    Attributes:
        name: repository and tag, as a pod names it.
        archive: the file that it is in; None for one in the engine.
    """

    name: str
    archive: Path | None = None


@dataclass(frozen=True)
class HeadwayImages:
    """What an installation needs."""

    operator: Held
    trainer: Held


def in_archives(folder: Path) -> HeadwayImages:
    """The images in a folder of archives, as ``docker save`` and ``make images`` write them.

    Raises:
        ClusterError: one is missing.
    """
    if not folder.is_dir():
        raise ClusterError(f"{folder}: there is no such folder of image archives", _WAYS)
    held = [Held(name, file) for file in sorted(folder.glob("*.tar")) for name in _names_in(file)]
    return pick(held, str(folder), ANY)


def in_engine(docker: Docker, trainers: tuple[str, ...]) -> HeadwayImages:
    """The images of this version in the engine.

    Raises:
        ClusterError: one is missing.
    """
    wanted = [f"headway/{role}:{__version__}" for role in (*_OPERATOR, *trainers)]
    return pick([Held(name) for name in wanted if docker.has(name)], "Docker", trainers)


def pick(held: Iterable[Held], where: str, trainers: tuple[str, ...]) -> HeadwayImages:
    """The operator and the best of the trainers.

    Args:
        held: what there is.
        where: it is, for people.
        trainers: last parts of the repositories that will do, best first.

    Raises:
        ClusterError: one is missing.
    """
    by_role: dict[str, list[Held]] = {}
    for image in held:
        plain = Held(image.name.removeprefix(_DOCKER_HUB), image.archive)
        repository = plain.name.rpartition(":")[0]
        by_role.setdefault(repository.rpartition("/")[2], []).append(plain)
    return HeadwayImages(
        _best(by_role, _OPERATOR, names.default_operator_image(__version__), where),
        _best(by_role, trainers, names.default_trainer_image(__version__), where),
    )


def _best(by_role: dict[str, list[Held]], roles: tuple[str, ...], usual: str, where: str) -> Held:
    for role in roles:
        if found := by_role.get(role):
            # Of several names for one image, the one of this version that we ourselves give it.
            ours = f"headway/{role}:{__version__}"
            return min(found, key=lambda image: (image.name != ours, image.name))
    raise ClusterError(f"{where} has no image {usual}", _WAYS)


_WAYS = (
    "make images    (and name the archives: --images build/images)",
    "headway cluster up --provider process    (no images needed)",
)


def _names_in(archive: Path) -> list[str]:
    """The names of the images in an archive; none where it is something else.

    Source: the layout of ``docker save``: ``manifest.json`` lists ``RepoTags``.
    """
    try:
        with tarfile.open(archive) as tar:
            content = tar.extractfile("manifest.json")
            listed = json.load(content) if content else []
        return [str(name) for image in listed for name in image.get("RepoTags") or ()]
    except (OSError, tarfile.TarError, KeyError, ValueError, AttributeError, TypeError):
        return []

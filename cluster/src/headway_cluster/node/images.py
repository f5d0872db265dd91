"""What an image name stands for on a machine without container images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Image:
    """The environment that stands in for an image.

    Attributes:
        path: folders that come first in PATH, such as a virtual environment's ``bin``.
        env: variables that the image sets; a pod's own ``env`` wins over them.
        entrypoint: what runs when a container has no ``command`` of its own.
    """

    path: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Image:
        """Read ``{"path": [...], "env": {...}, "entrypoint": [...]}``; parts may be missing."""
        unknown = set(value) - {"path", "env", "entrypoint"}
        if unknown:
            raise ValueError(f"an image has path, env and entrypoint, but not {sorted(unknown)}")
        return cls(
            path=tuple(value.get("path") or ()),
            env=dict(value.get("env") or {}),
            entrypoint=tuple(value.get("entrypoint") or ()),
        )


class ImageNotAvailableError(Exception):
    """No image of this name is known here; the message names those that are."""


def canonical(name: str) -> str:
    """An image name with its tag, where it has neither tag nor digest.

    >>> canonical("headway/trainer")
    'headway/trainer:latest'
    """
    last = name.rsplit("/", 1)[-1]
    return name if ":" in last or "@" in last else f"{name}:latest"


def find(images: Mapping[str, Image], name: str) -> Image:
    """The environment for an image name.

    Raises:
        ImageNotAvailableError: none is configured under this name. Nothing else is run in its
            place: a similar image is not the image that was asked for.
    """
    wanted = canonical(name)
    for known, image in images.items():
        if canonical(known) == wanted:
            return image
    known_names = ", ".join(sorted(images)) or "none"
    raise ImageNotAvailableError(
        f'image "{name}" is not available on this node: it runs processes, not containers, and'
        f" knows the images {known_names}"
    )

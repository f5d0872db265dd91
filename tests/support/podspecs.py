"""Pods as the API server gives them, one line each."""

from __future__ import annotations

from typing import Any

from headway_api import names
from headway_api.version import __version__

IMAGE = names.default_trainer_image(__version__)
"""An image that every process node of the tests has."""


def a_container(name: str = "main", *command: str, **fields: Any) -> dict[str, Any]:
    """A container of a pod's spec; ``fields`` are those of the API."""
    return {
        "name": name,
        "image": IMAGE,
        **({"command": list(command)} if command else {}),
        **fields,
    }


def a_pod(
    *containers: dict[str, Any],
    name: str = "pod",
    namespace: str = "ns",
    init: tuple[dict[str, Any], ...] = (),
    metadata: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A pod; ``spec`` are fields of its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": "uid-1", **(metadata or {})},
        "spec": {
            "containers": list(containers or (a_container(),)),
            **({"initContainers": list(init)} if init else {}),
            **spec,
        },
        "status": status or {},
    }

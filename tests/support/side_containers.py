"""Containers beside a trainer, allowed where ``restricted`` is enforced."""

from __future__ import annotations

from typing import Any


def side_container(name: str, image: str, script: str, **fields: Any) -> dict[str, Any]:
    """A container that runs a shell script; ``fields`` are those of the API."""
    return {
        "name": name,
        "image": image,
        "command": ["sh", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **fields,
    }

"""Which provider's cluster is up in a home: the file beside it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_FILE = "provider.json"
_PROVIDER = "provider"


class Provider(StrEnum):
    """What makes a local cluster."""

    KIND = "kind"
    PROCESS = "process"


@dataclass(frozen=True)
class ClusterStatus:
    """What is true of the local cluster.

    Attributes:
        provider: what made it.
        running: whether every component runs.
        server: the API server's URL; None where there is no cluster.
        version: of Kubernetes.
        components: what is true of each program or node, by name.
    """

    provider: Provider
    running: bool
    server: str | None
    version: str
    kubeconfig: Path
    home: Path
    components: dict[str, str]


def standing(folder: Path) -> Provider | None:
    """Whose cluster is up, or half up, in a folder; None where there is none."""
    if not folder.exists():
        return None
    named = details(folder).get(_PROVIDER)
    return Provider(named) if named in list(Provider) else Provider.PROCESS


def details(folder: Path) -> dict[str, Any]:
    """What was noted with the provider; empty where nothing was."""
    try:
        found = json.loads((folder / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(folder: Path, provider: Provider, more: Mapping[str, Any] | None = None) -> None:
    """Write down whose cluster this is, before anything of it is made."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = folder / f"{_FILE}.part"
    made.write_text(json.dumps({**(more or {}), _PROVIDER: provider.value}, indent=2))
    made.replace(folder / _FILE)

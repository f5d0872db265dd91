"""Where Headway keeps things on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headway_api import environment

WAITING = "another headway is bringing this cluster up or taking it down: waiting for it"
"""What a command says that waits for :attr:`Home.lock`."""


@dataclass(frozen=True)
class Home:
    """The folders of one Headway; several live side by side under different ``HEADWAY_HOME``.

    Attributes:
        cache: what can be made again: binaries, compilers' caches.
        state: what cannot: clusters and their data.
    """

    cache: Path
    state: Path

    @classmethod
    def find(cls, env: Mapping[str, str] | None = None) -> Home:
        """The folders that ``HEADWAY_HOME`` names, or else those of the XDG base directories.

        Source: XDG Base Directory Specification, ``XDG_CACHE_HOME`` and ``XDG_STATE_HOME``.
        """
        env = os.environ if env is None else env
        if named := env.get(environment.HOME):
            root = Path(named).expanduser().absolute()
            return cls(root / "cache", root / "state")
        user = Path(env.get("HOME") or Path.home())
        cache = _xdg(env, "XDG_CACHE_HOME") or user / ".cache"
        state = _xdg(env, "XDG_STATE_HOME") or user / ".local" / "state"
        return cls(cache / "headway", state / "headway")

    @property
    def cluster(self) -> Path:
        """The folder of the local cluster."""
        return self.state / "cluster"

    @property
    def lock(self) -> Path:
        """The file that a command holds while it brings the local cluster up or takes it down."""
        return self.state / "cluster.lock"


def _xdg(env: Mapping[str, str], name: str) -> Path | None:
    """An XDG folder; relative paths are invalid by the specification, and ignored."""
    value = env.get(name, "")
    return Path(value) if value.startswith("/") else None

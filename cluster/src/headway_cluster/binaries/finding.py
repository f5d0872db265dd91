"""Finds programs: in ``KUBEBUILDER_ASSETS``, the cache, a mirror of releases; or builds them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from headway_cluster.binaries import building, mirror
from headway_cluster.binaries.toolsets import Toolset, toolset_of
from headway_cluster.home import Home
from headway_cluster.one_at_a_time import one_at_a_time

Say = Callable[[str], None]
ASSETS = "KUBEBUILDER_ASSETS"


def ensure(
    home: Home,
    programs: Iterable[str],
    say: Say,
    env: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """The programs as files on this machine, by name.

    Looked for in this order: the folder that ``KUBEBUILDER_ASSETS`` names, for those that it
    holds; the cache; the mirror that ``HEADWAY_KUBERNETES_MIRROR`` names; a build from Go modules,
    which takes minutes once and goes on where it was when it is interrupted.

    Args:
        home: whose cache is used.
        programs: names such as ``kube-apiserver``.
        say: told what is done, one short line at a time.
        env: the environment; the process's own by default.

    Raises:
        ClusterError: a program can neither be found nor made.
    """
    env = os.environ if env is None else env
    found: dict[str, Path] = {}
    missing: dict[str, list[str]] = {}
    for program in programs:
        toolset = toolset_of(program)
        file = _asset(env, program) or _executable(home.cache / toolset.folder / program)
        if file is None:
            missing.setdefault(toolset.module, []).append(program)
        found[program] = file or home.cache / toolset.folder / program
    for wanted in missing.values():
        _make(home, toolset_of(wanted[0]), wanted, say, env)
    return found


def ensure_toolset(home: Home, toolset: Toolset, say: Say) -> dict[str, Path]:
    """The programs of a toolset that may be of somebody else's making, by name.

    Raises:
        ClusterError: they cannot be made.
    """
    _make(home, toolset, toolset.programs, say, os.environ)
    return {program: home.cache / toolset.folder / program for program in toolset.programs}


def _make(
    home: Home, toolset: Toolset, programs: Sequence[str], say: Say, env: Mapping[str, str]
) -> None:
    """Download the programs into the cache, or build the whole toolset into it."""
    lock = home.cache / f"{toolset.module}.lock"
    with one_at_a_time(lock, say, "another headway is making the same programs: waiting for it"):
        wanted = [p for p in programs if not (home.cache / toolset.folder / p).exists()]
        if wanted and not mirror.fetch(toolset, wanted, home.cache / toolset.folder, say, env):
            building.build(toolset, home.cache, say)


def _asset(env: Mapping[str, str], program: str) -> Path | None:
    folder = env.get(ASSETS)
    return _executable(Path(folder) / program) if folder else None


def _executable(file: Path) -> Path | None:
    return file if file.is_file() and os.access(file, os.X_OK) else None

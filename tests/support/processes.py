"""Processes of this machine, which may be gone before they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_lives(pid: int) -> bool:
    """The same, of whatever has that pid now."""
    try:
        return lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def marked(variable: str, value: str) -> list[psutil.Process]:
    """The processes in whose environment a variable begins with a value."""
    return [p for p in psutil.process_iter() if _variable(p, variable).startswith(value)]


def variable_of(processes: Iterable[psutil.Process], name: str) -> str:
    """A variable that is the same for all of them, of the first that still tells it."""
    return next(filter(None, (_variable(p, name) for p in processes)))


def working_in(folder: Path) -> list[psutil.Process]:
    """The processes whose command line or working directory names a folder."""
    return [p for p in psutil.process_iter() if any(str(folder) in w for w in _words(p))]


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty where it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def listening(processes: Iterable[psutil.Process]) -> Iterator[int]:
    """The TCP ports on which processes listen."""
    for process in processes:
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        yield from (c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)


def _variable(process: psutil.Process, name: str) -> str:
    try:
        return process.environ().get(name, "")
    except (psutil.Error, OSError):
        return ""


def _words(process: psutil.Process) -> list[str]:
    try:
        return [*command_of(process), process.cwd()]
    except psutil.Error:
        return command_of(process)

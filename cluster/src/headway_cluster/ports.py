"""Ports of this machine, kept from one start to the next while they are free."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

from headway_cluster.writing import write_whole

LOOPBACK = "127.0.0.1"


def allotted(file: Path, names: Sequence[str], address: str = LOOPBACK) -> dict[str, int]:
    """A free port for each name: the one that it had the last time, where nobody took it.

    Raises:
        OSError: the address is not this machine's, or none of its ports is free.
    """
    try:
        known = {str(k): int(v) for k, v in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        known = {}
    held: list[socket.socket] = []
    ports: dict[str, int] = {}
    try:
        for name in names:
            taken = _free(address, known.get(name, 0))
            held.append(taken)
            ports[name] = int(taken.getsockname()[1])
    finally:
        for one in held:
            one.close()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(ports))
    return ports


def _free(address: str, port: int) -> socket.socket:
    """A socket that holds a port, or another one where that is taken."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((address, port))
    except OSError:
        holder.close()
        if port == 0:
            raise
        return _free(address, 0)
    return holder


def is_open(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((address, port), timeout=1.0):
            return True
    except OSError:
        return False


def pod_network(file: Path) -> str:
    """A network for the pods of this node, so that clusters side by side do not meet.

    One of 2,048 networks of 2,048 addresses below 127.64.0.0/10, drawn once from those in which
    nobody listens.
    """
    if not file.exists():
        taken = _networks_listened_in()
        number = secrets.choice([n for n in range(_NETWORKS) if n not in taken])
        write_whole(file, f"127.{64 + number // 32}.{number % 32 * 8}.0/21")
    return file.read_text()


_NETWORKS = 2048


def _networks_listened_in() -> set[int]:
    """Numbers of the networks in which pods of another cluster on this machine listen."""
    try:
        sockets = psutil.net_connections("tcp4")
    except (psutil.Error, OSError):  # not everywhere may everybody ask
        return set()
    listening = (s.laddr for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr)
    addresses = [str(ip).split(".") for ip, *_ in listening]
    return {
        (int(second) - 64) * 32 + int(third) // 8
        for first, second, third, _ in addresses
        if first == "127" and 64 <= int(second) < 128
    }

"""How the workers of a run find each other where there is no cluster DNS.

All of them run on this machine, in one network: the address of the first is loopback, and each
attempt of each run gets a port of its own, which every worker can tell without asking.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

from headway_api import environment, names

ADDRESS: Final = "127.0.0.1"
FIRST_PORT: Final = 20000
PORTS: Final = 10000
"""Below the ports that Linux gives to clients (32768 and up)."""
_GLOO_INTERFACE: Final = "GLOO_SOCKET_IFNAME"
_LOOPBACK: Final = "lo"


def of(labels: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that differ for a worker on this node; none for any other pod.

    Args:
        labels: the pod's.
        variables: the container's, as its spec says.
    """
    uid, attempt = labels.get(names.LABEL_OPERATION_UID), labels.get(names.LABEL_ATTEMPT)
    if not uid or not attempt or environment.MASTER_ADDR not in variables:
        return {}
    port = FIRST_PORT + zlib.crc32(f"{uid}/{attempt}".encode()) % PORTS
    return {
        environment.MASTER_ADDR: ADDRESS,
        environment.MASTER_PORT: str(port),
        _GLOO_INTERFACE: variables.get(_GLOO_INTERFACE, _LOOPBACK),
    }

"""The addresses of pods: loopback addresses of this machine, one for each pod.

On Linux all of 127.0.0.0/8 belongs to the loopback interface, so that every pod can have an address
of its own, reachable from this machine only, with nothing to set up.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network


class NoAddressLeftError(Exception):
    """Every address of the pod network is taken."""


class Addresses:
    """Hands out addresses at random.

    Other clusters of this machine share the loopback interface and know nothing of this one. In a
    large network two pods hardly ever get the same address, nor does one get what was just given
    back.
    """

    def __init__(self, network: str, choose: Callable[[int], int] = random.randrange) -> None:
        """Take the network, and what chooses a number below another.

        Raises:
            ValueError: it is not an IPv4 network with room for pods.
        """
        self._network = IPv4Network(network)
        self._room = self._network.num_addresses - 2
        if self._room < 1:
            raise ValueError(f"the pod network {network} has no room for pods")
        self._choose = choose
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def take(self) -> str:
        """An address that no pod of this node has.

        Raises:
            NoAddressLeftError: there is none left.
        """
        first = self._choose(self._room)
        with self._lock:
            for step in range(self._room):
                # The first and the last address of a network are no hosts' by convention.
                address = str(self._network[(first + step) % self._room + 1])
                if address not in self._taken:
                    self._taken.add(address)
                    return address
        raise NoAddressLeftError(f"every address of {self._network} is taken")

    def keep(self, address: str) -> bool:
        """Mark an address that a pod already has; False when it is not one of this network's."""
        if IPv4Address(address) not in self._network:
            return False
        with self._lock:
            self._taken.add(address)
            return True

    def give_back(self, address: str) -> None:
        """The pod is gone."""
        with self._lock:
            self._taken.discard(address)

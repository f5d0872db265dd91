"""A host's credential, replaced before it expires, as a kubelet does it.

The node asks for its next certificate with the one that it has. The cluster's controller manager
approves that by itself where the node may (``certificatesigningrequests/selfnodeclient``, which the
role ``headway-host`` says).
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime
from pathlib import Path

from headway_cluster import kubeconfig, signing
from headway_cluster.errors import ClusterError
from headway_cluster.node.api import Api, ApiError, ApiUnavailableError
from headway_cluster.pki import KeyPair
from headway_cluster.signing import Wanted

log = logging.getLogger(__name__)

CLUSTER_CA = "cluster-ca.crt"
_AFTER = 0.8
"""Part of a credential's life after which the next one is asked for."""
_TRIES_LEFT = 20
"""How often it is tried in what is left of its life."""
_LOOK_EVERY = 3600.0
"""Seconds: a machine that slept must not find out too late."""
_SHORTEST = 60.0


def write_credential(folder: Path, server: str, node: str, files: KeyPair) -> Path:
    """The kubeconfig of a node with a new credential; complete, or as it was before."""
    return kubeconfig.write(
        folder / "kubeconfig",
        server=server,
        authority=folder / CLUSTER_CA,
        user=f"system:node:{node}",
        credential=files,
    )


def due(begins: datetime, ends: datetime) -> float:
    """When the next credential is asked for, as seconds since the epoch."""
    return begins.timestamp() + _AFTER * (ends - begins).total_seconds()


class Renewal:
    """A thread that keeps a host's credential valid."""

    def __init__(self, api: Api, node: str, folder: Path) -> None:
        """Take what it renews.

        Args:
            api: the API server, as the node; it takes each new credential up.
            node: the node's name.
            folder: where the credential lies.
        """
        self._api = api
        self._node = node
        self._folder = folder
        self._asked = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="renewal", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self) -> None:
        """Renew at once; safe in a signal handler."""
        self._asked.set()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._asked.set()

    def _keep(self) -> None:
        failed_until = 0.0
        while True:
            begins, ends = signing.life(self._folder, signing.CLIENT)
            at = failed_until or due(begins, ends)
            self._asked.wait(min(max(at - time.time(), 0.0), _LOOK_EVERY))
            if self._stopped.is_set():
                return
            if not self._asked.is_set() and time.time() < at:
                continue
            self._asked.clear()
            try:
                self._renew()
            except (ApiError, ApiUnavailableError, ClusterError, OSError) as error:
                left = max(ends.timestamp() - time.time(), 0.0)
                failed_until = time.time() + max(left / _TRIES_LEFT, _SHORTEST)
                log.warning(
                    "the credential of node %s, valid until %s, was not renewed: %s",
                    self._node,
                    ends,
                    error,
                )
            else:
                failed_until = 0.0

    def _renew(self) -> None:
        wanted = Wanted(self._node, signing.CLIENT)
        apart = self._folder / "next"
        apart.mkdir(mode=0o700, exist_ok=True)
        files = signing.signed(wanted, apart, self._api, None, log.info)
        write_credential(self._folder, self._api.server, self._node, files)
        # Only now: whoever looks at a certificate's life looks at that of the one in use.
        for file in (files.key, files.certificate):
            file.replace(self._folder / file.name)
        apart.rmdir()
        self._api.reload()
        log.info("node %s has another credential", self._node)

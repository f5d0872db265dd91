"""Kubeconfig files for the users of a local cluster."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from headway_cluster.pki import KeyPair
from headway_cluster.writing import PRIVATE, write_whole

CONTEXT = "headway"


def write(file: Path, *, server: str, authority: Path, user: str, credential: KeyPair) -> Path:
    """Write a kubeconfig that needs no other file; readable by its owner alone, never half."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {"server": server, "certificate-authority-data": _encoded(authority)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _encoded(credential.certificate),
                    "client-key-data": _encoded(credential.key),
                },
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, yaml.safe_dump(content, sort_keys=False), PRIVATE)
    return file


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()

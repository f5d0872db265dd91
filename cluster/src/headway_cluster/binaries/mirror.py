"""Official release binaries, from a mirror that the user names."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import urllib3

from headway_cluster.binaries.toolsets import KUBERNETES_VERSION, Toolset
from headway_cluster.errors import ClusterError

MIRROR = "HEADWAY_KUBERNETES_MIRROR"
"""URL below which ``<version>/bin/<os>/<arch>/<program>`` and ``<program>.sha256`` lie."""
_CHUNK = 1 << 20
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def fetch(
    toolset: Toolset,
    programs: Sequence[str],
    folder: Path,
    say: Callable[[str], None],
    env: Mapping[str, str],
) -> bool:
    """Download programs whose checksums are right; returns whether all of them are there now.

    Args:
        toolset: only the control plane's is at a mirror.
        programs: the names wanted.
        folder: where they go.
        say: told what is done.
        env: without the variable there is no mirror, and nothing is sent anywhere.

    Raises:
        ClusterError: a download is not what its checksum says.
    """
    base = env.get(MIRROR, "").rstrip("/")
    if not base or toolset.module != "controlplane":
        return False
    machine = _MACHINES.get(platform.machine().lower())
    if machine is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with urllib3.PoolManager(retries=urllib3.Retry(3, backoff_factor=0.5)) as pool:
        for program in programs:
            url = f"{base}/{KUBERNETES_VERSION}/bin/{sys.platform}/{machine}/{program}"
            say(f"downloading {program}")
            if not _download(pool, url, folder / program):
                say(f"{url} is not there: building instead")
                return False
    return True


def _download(pool: urllib3.PoolManager, url: str, file: Path) -> bool:
    try:
        expected = pool.request("GET", f"{url}.sha256", timeout=30.0)
        if expected.status != 200:
            return False
        answer = pool.request("GET", url, preload_content=False, timeout=60.0)
        if answer.status != 200:
            return False
        digest, part = hashlib.sha256(), file.with_suffix(".part")
        with part.open("wb") as out:
            for chunk in answer.stream(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
    except urllib3.exceptions.HTTPError:
        return False
    words = expected.data.decode(errors="replace").split()
    if not words or digest.hexdigest() != words[0]:
        part.unlink()
        raise ClusterError(f"{url} does not match its checksum: the mirror may be broken")
    part.chmod(0o755)
    part.replace(file)
    return True

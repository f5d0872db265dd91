"""The machines of a kind cluster: each node is a container of a Docker engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from image_archives import Image


@dataclass(frozen=True)
class Machines:
    """Power, files and images of nodes.

    Attributes:
        docker: address of the engine (``DOCKER_HOST``); empty means the docker command's own.
        shared: a folder that every node sees, and all of them the same.
    """

    docker: str
    shared: str

    def run(self, *args: str, stdin: IO[bytes] | None = None, timeout: float = 120) -> str:
        """What ``docker args...`` prints; a failure shows what it said."""
        done = subprocess.run(
            ["docker", *args],
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **({"DOCKER_HOST": self.docker} if self.docker else {})},
        )
        if done.returncode != 0:
            raise AssertionError(f"docker {' '.join(args)}: {done.stderr.decode().strip()}")
        return done.stdout.decode()

    def on(self, node: str, *command: str) -> str:
        """What a command on a node prints."""
        return self.run("exec", node, *command)

    def is_up(self, node: str) -> bool:
        """Whether the machine has power."""
        return bool(json.loads(self.run("inspect", "-f", "{{json .State.Running}}", node)))

    def cut(self, node: str) -> None:
        """Take its power away, without a word."""
        self.run("stop", "--time", "0", node)

    def power(self, node: str) -> None:
        """Give it power again."""
        self.run("start", node)

    def reboot(self, node: str) -> None:
        """Off and on again at once."""
        self.run("restart", "--time", "0", node)

    def load(self, image: Image, nodes: Iterable[str]) -> None:
        """Put an image onto nodes, as ``kind load`` does."""

        def onto(node: str) -> None:
            with image.archive.open("rb") as file:
                self.run(
                    *("exec", "-i", node, "ctr", "--namespace=k8s.io", "images", "import"),
                    *("--snapshotter=overlayfs", "-"),
                    stdin=file,
                    timeout=300,
                )

        with ThreadPoolExecutor() as pool:
            list(pool.map(onto, nodes))

    def save(self, image: str, file: Path) -> Path:
        """An image of the engine as an archive."""
        self.run("save", "-o", str(file), image, timeout=300)
        return file

    @contextmanager
    def folder(self, node: str) -> Iterator[str]:
        """A new folder in the shared one that every user may write; it is removed afterwards."""
        path = f"{self.shared}/{uuid4().hex[:12]}"
        self.on(node, "mkdir", "-p", "-m", "0777", path)
        self.on(node, "chmod", "0777", path)
        try:
            yield path
        finally:
            self.on(node, "rm", "-rf", path)

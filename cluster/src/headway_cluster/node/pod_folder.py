"""What the agent keeps of a pod on the disk, so that the next agent knows it.

``pod.json``                    the pod as the API server last gave it
``accepted.json``               when this node took it, the address it got, why it failed as a whole
``volumes/<name>``              its volumes
``containers/<name>/<number>``  one folder for every run of a container that is still kept
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headway_cluster.node.pods import Pod, parse
from headway_cluster.node.runs import Run
from headway_cluster.node.status import Verdict
from headway_cluster.removing import discard
from headway_cluster.writing import PRIVATE, write_whole

_LOST_PATIENCE = 15.0


@dataclass(frozen=True)
class Accepted:
    """What was settled when the node took the pod, and what became of it as a whole.

    Attributes:
        ip: its address.
        time: when it was taken, in seconds since the epoch.
        verdict: why it has failed as a whole.
    """

    ip: str
    time: float
    verdict: Verdict | None = None


class PodFolder:
    """The folder of one pod."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def exists(self) -> bool:
        """Whether this node has taken the pod."""
        return self._accepted.exists()

    @property
    def volumes(self) -> Path:
        """The folder of the pod's volumes."""
        return self.root / "volumes"

    @property
    def _accepted(self) -> Path:
        return self.root / "accepted.json"

    def save_pod(self, pod: Pod) -> None:
        """Keep the pod's object."""
        self._write("pod.json", pod.raw)

    def save_accepted(self, accepted: Accepted) -> None:
        """Keep what was settled."""
        self._write("accepted.json", asdict(accepted))

    def pod(self) -> Pod | None:
        """The pod as it was kept; None when it cannot be read."""
        try:
            return parse(json.loads((self.root / "pod.json").read_text()))
        except (OSError, ValueError, KeyError):
            return None

    def accepted(self) -> Accepted | None:
        """What was settled; None when nothing is kept."""
        try:
            content = json.loads(self._accepted.read_text())
            verdict = content["verdict"]
            return Accepted(
                ip=content["ip"],
                time=content["time"],
                verdict=Verdict(**verdict) if verdict else None,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def run(self, container: str, number: int) -> Run:
        """One run of a container, which need not exist."""
        return Run(self.root / "containers" / container / str(number), number)

    def runs(self, container: str) -> list[Run]:
        """The runs that are kept, the oldest first."""
        folder = self.root / "containers" / container
        try:
            numbers = sorted(int(one.name) for one in folder.iterdir() if one.name.isdigit())
        except OSError:
            return []
        return [self.run(container, number) for number in numbers]

    def every_run(self) -> list[Run]:
        """The runs of all its containers."""
        containers = [one.name for one in (self.root / "containers").glob("*")]
        return [run for container in containers for run in self.runs(container)]

    def end_everything(self) -> None:
        """End what runs in the folder of a pod that nothing else is known about."""
        _end(self.every_run())

    def remove(self) -> None:
        """Delete all of it; every run must have ended."""
        # First what makes the folder count: a removal that is cut short is taken up again.
        with contextlib.suppress(OSError):
            (self.root / "pod.json").unlink()
        discard(self.root)

    def _write(self, name: str, content: Any) -> None:
        self.root.mkdir(parents=True, mode=0o700, exist_ok=True)
        write_whole(self.root / name, json.dumps(content), PRIVATE)


def pods_of(state: Path) -> Path:
    """Where a node with this state folder keeps the folders of its pods."""
    return state / "pods"


def end_all(pods: Path) -> None:
    """End whatever runs of a node's pods, whether anything else is known of them or not."""
    folders = [PodFolder(one) for one in pods.iterdir()] if pods.is_dir() else []
    _end([run for folder in folders for run in folder.every_run()])


def _end(runs: Sequence[Run]) -> None:
    for run in runs:
        run.stop(0)
    patience = time.monotonic() + _LOST_PATIENCE
    while any(run.supervised for run in runs) and time.monotonic() < patience:
        time.sleep(0.02)
    for run in runs:
        # What a supervisor has left that was killed is ended now.
        with contextlib.suppress(OSError):
            run.state()

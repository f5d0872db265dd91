"""``make e2e``: makes a kind cluster, runs the end-to-end suite on it, and leaves nothing running.

    python tests/e2e/run.py [--place docker|lab] [--keep] [-- pytest arguments]

The cluster is made on this machine's own Docker engine where one answers and has, or can get,
kind's node image; else in the lab (``tests/e2e/lab``), which needs no registry.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent / "lab"))

from base_image import BUILDAH, base_images  # noqa: E402
from commands import LabError, run, say, succeeds  # noqa: E402
from headway_cluster import binaries  # noqa: E402
from headway_cluster.errors import ClusterError  # noqa: E402
from headway_cluster.home import Home  # noqa: E402
from kind_cluster import SHARED, KindCluster  # noqa: E402
from lab import CLUSTER, Lab  # noqa: E402

IMAGES = ROOT / "build" / "images"
_IMAGES = ("operator", "trainer-base", "trainer")
_WORKERS = 3
_NO_PLACE = 77
_INTERRUPTED = 130


def main() -> int:
    """Run the suite.

    Returns:
        pytest's exit code; 1 where the cluster could not be made, 77 where none can be here.
    """
    parser = argparse.ArgumentParser(prog="tests/e2e/run.py", description=__doc__.splitlines()[0])
    parser.add_argument("--place", choices=("docker", "lab"), help="where the cluster is made")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument("arguments", nargs="*", help="what pytest is told (after --)")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        with _cluster(chosen.place, keep=chosen.keep) as cluster:
            _load(cluster)
            return _suite(cluster, chosen.arguments)
    except NoPlaceError as error:
        print(f"the end-to-end suite DID NOT RUN: {error}", file=sys.stderr)
        return _NO_PLACE
    except (LabError, ClusterError) as error:
        print(f"the end-to-end suite DID NOT RUN: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


class NoPlaceError(Exception):
    """This machine has no place for a cluster."""


@contextmanager
def _cluster(place: str | None, *, keep: bool) -> Iterator[KindCluster]:
    own = None if place == "lab" else _on_own_docker()
    if own is None and place == "docker":
        raise NoPlaceError("Docker does not answer here, or kind's node image cannot be had")
    if own is None and (sys.platform != "linux" or os.geteuid() != 0):
        raise NoPlaceError("Docker does not answer here, and the lab needs Linux and root")
    lab = Lab.of_this_home()
    try:
        if own is None:
            lab.build()
            _build_images(["--engine=buildah", *base_images(lab.places.scratch)], BUILDAH)
            lab.up(_WORKERS)
        else:
            _build_images(["--engine=docker"])
            own.down()
            own.up(_WORKERS)
        yield own or lab.cluster()
    finally:
        if keep:
            say("left running: python tests/e2e/lab stop" if own is None else f"left: {CLUSTER}")
        elif own is None:
            lab.stop()
        else:
            own.down()


def _load(cluster: KindCluster) -> None:
    """Each image where it is needed: the one with torch takes 13 GB of a node, so one has it."""
    plane, *workers = cluster.nodes()
    for name, nodes in (("operator", [plane]), ("trainer-base", workers), ("trainer", workers[:1])):
        cluster.load([IMAGES / f"{name}.tar"], nodes)


def _build_images(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Build what the cluster needs, of the code as it is: quick where nothing has changed."""
    say("building the images")
    command = [sys.executable, ROOT / "images.py", *arguments, *_IMAGES]
    if subprocess.call(command, env={**os.environ, **(env or {})}):
        raise LabError("the images cannot be built")


def _on_own_docker() -> KindCluster | None:
    """A cluster on this machine's Docker; None where there is none, or no node image for it."""
    if not succeeds(["docker", "version"]):
        return None
    home = Home.find()
    programs = binaries.ensure(home, ("kind", "kubectl"), say)
    folder = home.cache / "e2e"
    folder.mkdir(parents=True, exist_ok=True)
    image = _node_image(programs["kind"])
    if not succeeds(["docker", "image", "inspect", image]):
        say(f"getting {image}")
        try:
            run(["docker", "pull", "--quiet", image], within=900)
        except LabError as error:
            say(f"{error}\nusing the lab instead")
            return None
    return KindCluster(
        CLUSTER, programs["kind"], programs["kubectl"], folder / "kubeconfig", folder / "shared"
    )


def _node_image(kind: Path) -> str:
    """The node image that this kind uses by itself, as its help says."""
    told = run([kind, "create", "cluster", "--help"])
    start = told.index("kindest/node:")
    return told[start:].split()[0].strip('")')


def _suite(cluster: KindCluster, arguments: Sequence[str]) -> int:
    env = {
        **os.environ,
        **cluster.environment,
        "HEADWAY_E2E_KUBECONFIG": str(cluster.kubeconfig),
        "HEADWAY_E2E_DOCKER": cluster.environment.get("DOCKER_HOST", ""),
        "HEADWAY_E2E_IMAGES": str(IMAGES),
        "HEADWAY_E2E_SHARED": SHARED,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [*cluster.entering, sys.executable, "-m", "pytest", "tests/e2e", *arguments]
    return subprocess.call(command, cwd=ROOT, env=env)


def _as_interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

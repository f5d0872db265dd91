"""``make bench``: measures, prints a table, and writes JSON.

Ratios are measured in one run, interleaved where the machine's mood could matter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import calls
import on_cluster
from clusters import say, temporary_cluster
from headway_cluster import binaries
from headway_cluster.home import Home
from kubectl import Kubectl
from measuring import Figure, save, table
from namespaces import own_namespace


def main() -> int:
    """Run the benchmarks; returns 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-results/bench.json"))
    parser.add_argument("--only", action="append", help="names of benchmarks to run")
    parser.add_argument("--cancels", type=int, default=300, help="how many runs to cancel")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        help="measure on this cluster, where Headway is installed, what can be measured there "
        "(cancels, starts); its clock must be this machine's",
    )
    parser.add_argument("--trainer-image", default="", help="image of the runs there")
    given = parser.parse_args()
    figures: list[Figure] = []

    def run(name: str, bench: Callable[[], list[Figure]]) -> None:
        if given.only and name not in given.only:
            return
        say(f"measuring: {name}")
        figures.extend(bench())

    if given.kubeconfig:
        with own_namespace(partial(Kubectl, _kubectl(), given.kubeconfig), "bench") as there:
            run("cancels", lambda: on_cluster.cancels(there, given.cancels, given.trainer_image))
            run("starts", lambda: on_cluster.starts(there, given.trainer_image))
    else:
        _on_a_local_cluster(run, given.cancels)
    print(table(figures))
    save(figures, given.out)
    say(f"written to {given.out}")
    return 1 if any(figure.met is False for figure in figures) else 0


def _kubectl() -> Path:
    return binaries.ensure(Home.find(), ("kubectl",), say)["kubectl"]


def _on_a_local_cluster(
    run: Callable[[str, Callable[[], list[Figure]]], None], cancels: int
) -> None:
    run("calls", calls.progress_call)
    run("starting", calls.starting)
    with temporary_cluster(durable=True) as cluster:
        cluster.install()
        cluster.kubectl()("create", "namespace", "bench")
        kubectl = cluster.kubectl("bench")
        run("writes", lambda: on_cluster.writes(cluster, kubectl))
        run("cancels", lambda: on_cluster.cancels(kubectl, cancels))
        run("operator_cpu", lambda: on_cluster.operator_cpu(cluster, kubectl))
        run("starts", lambda: on_cluster.starts(kubectl))
        run("slowdown", lambda: on_cluster.slowdown(kubectl))


if __name__ == "__main__":
    sys.exit(main())

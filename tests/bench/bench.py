"""``make bench``: measures, prints a table, and writes JSON.

Ratios are measured in one run, interleaved where the machine's mood could matter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import calls
import on_cluster
from clusters import say, temporary_cluster
from measuring import Figure, save, table


def main() -> int:
    """Run the benchmarks; returns 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-results/bench.json"))
    parser.add_argument("--only", action="append", help="names of benchmarks to run")
    given = parser.parse_args()
    figures: list[Figure] = []

    def run(name: str, bench: Callable[[], list[Figure]]) -> None:
        if given.only and name not in given.only:
            return
        say(f"measuring: {name}")
        figures.extend(bench())

    run("calls", calls.progress_call)
    run("starting", calls.starting)
    with temporary_cluster(durable=True) as cluster:
        cluster.install()
        cluster.kubectl()("create", "namespace", "bench")
        kubectl = cluster.kubectl("bench")
        run("writes", lambda: on_cluster.writes(cluster, kubectl))
        run("cancels", lambda: on_cluster.cancels(cluster, kubectl))
        run("operator_cpu", lambda: on_cluster.operator_cpu(cluster, kubectl))
        run("starts", lambda: on_cluster.starts(kubectl))
        run("slowdown", lambda: on_cluster.slowdown(kubectl))
    print(table(figures))
    save(figures, given.out)
    say(f"written to {given.out}")
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())

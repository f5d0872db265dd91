"""What one call costs, and what starting costs: no cluster is needed."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import headway
from headway_api import environment
from measuring import Figure
from tqdm import tqdm

_CALLS = 100_000
_ROUNDS = 15


def progress_call() -> list[Figure]:
    """A progress call and a batch of a loop, beside ``tqdm.update``, interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[environment.PROGRESS_FILE] = str(Path(folder) / "progress")
        with headway.operation() as op, Path(os.devnull).open("w") as nowhere:
            bar = tqdm(total=_CALLS * _ROUNDS, file=nowhere)

            def ours() -> None:
                for step in range(_CALLS):
                    op.progress(step, _CALLS)

            def batches() -> None:
                for _ in op.batches(range(_CALLS)):
                    pass

            def theirs() -> None:
                for _ in range(_CALLS):
                    bar.update(1)

            def nothing() -> None:
                for _ in range(_CALLS):
                    pass

            timed = {f: [] for f in (nothing, ours, batches, theirs)}
            for _ in range(_ROUNDS):
                for work, seconds in timed.items():
                    seconds.append(_timed(work))
            bar.close()
        del os.environ[environment.PROGRESS_FILE]
    base = statistics.median(timed[nothing])
    cost = {f: (statistics.median(s) - base) / _CALLS * 1e9 for f, s in timed.items()}
    figures = []
    for what, work in (("one op.progress() call", ours), ("one batch of op.batches()", batches)):
        ratio = cost[work] / cost[theirs]
        figures.append(
            Figure(
                what,
                f"{cost[work]:.0f} ns",
                f"tqdm.update {cost[theirs]:.0f} ns: {ratio:.2f} x",
                "1 µs, or 2 x tqdm.update",
                cost[work] <= 1000 or ratio <= 2,
                {"nanoseconds": cost[work], "tqdm_nanoseconds": cost[theirs], "ratio": ratio},
            )
        )
    return figures


def starting() -> list[Figure]:
    """Import times and the start of the command line: medians of whole processes."""
    python = [sys.executable, "-c"]
    bin_folder = Path(sys.executable).parent
    bare = _process([*python, "pass"])
    figures = []
    for what, code, aim in (
        ("import headway", "import headway", 60),
        ("import headway and enter an operation's module", "import headway.handle", None),
        ("import headway_trainer", "import headway_trainer", None),
    ):
        took = (_process([*python, code]) - bare) * 1000
        figures.append(_start(what, took, bare * 1000, aim))
    for arguments in (["--help"], ["report", "--help"]):
        took = _process([str(bin_folder / "headway"), *arguments]) * 1000
        aim = 300 if arguments == ["--help"] else None
        figures.append(_start(f"headway {' '.join(arguments)}", took, bare * 1000, aim))
    return figures


def _start(what: str, took: float, bare: float, aim: float | None) -> Figure:
    """What starting something takes beside a bare Python, all in milliseconds."""
    return Figure(
        what,
        f"{took:.0f} ms",
        f"bare python {bare:.0f} ms: {took / bare:.1f} x",
        f"{aim} ms" if aim else "",
        took <= aim if aim else None,
        {"milliseconds": took, "bare_python_milliseconds": bare, "ratio": took / bare},
    )


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _process(command: list[str], rounds: int = 9) -> float:
    def once() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    once()
    return statistics.median(_timed(once) for _ in range(rounds))

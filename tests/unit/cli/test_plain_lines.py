"""The view for pipes: a line per change, and nothing else."""

from __future__ import annotations

from typing import Any

from headway_cli.view.plain import PlainLines
from headway_cli.view.run_view import RunView
from headway_cli.view.tracking import Tracker
from shown import NOON, Run, training_progress


class Log:
    """The lines that a pipe gets."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tracker = Tracker(0.0)
        self._plain = PlainLines()

    def view(self, now: float) -> RunView:
        view = self._tracker.view(now, NOON)
        assert view is not None
        return view

    def see(self, now: float, phase: str = "Running", **more: Any) -> str | None:
        self._tracker.see(self._run(phase, **more), now)
        return self._plain.line(self.view(now), NOON)

    def later(self, now: float) -> str | None:
        return self._plain.line(self.view(now), NOON)


def test_a_change_is_one_line(run: Run) -> None:
    log = Log(run)
    assert log.see(0, "Starting", reason="Pulling", message="Pulling the image.") == (
        "12:00:00  Starting  Pulling the image."
    )
    line = log.see(1, progress=training_progress(15, 342, metrics={"loss": 0.25}))
    assert line == (
        "12:00:00  Running  Training MLP model on AAPL, MSFT (+1 more) [1d] [epoch 15/20] "
        "(batch 342/500)  loss=0.25"
    )


def test_the_same_again_is_no_line(run: Run) -> None:
    log = Log(run)
    log.see(0, progress=training_progress(1, 1))
    assert log.see(1, progress=training_progress(1, 1, sequence=2)) is None


def test_silence_is_told_once(run: Run) -> None:
    log = Log(run)
    log.see(0, progress=training_progress(1, 1))
    log.see(1, progress=training_progress(1, 2, sequence=2))
    assert log.later(20) is None
    assert log.later(41) == "12:00:00  Running  no update for 40s"
    assert log.later(42) is None
    assert log.see(43, progress=training_progress(1, 3, sequence=3)) is not None


def test_a_line_is_one_line(run: Run) -> None:
    log = Log(run)
    line = log.see(0, "Starting", reason="VolumeMount", message="two\nlines")
    assert line == "12:00:00  Starting  VolumeMount: two lines"

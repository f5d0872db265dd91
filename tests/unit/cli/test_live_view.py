"""The live view on real screens, 80 and 200 columns wide, and narrower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from headway_cli.view.live import Footer, LiveView
from headway_cli.view.painter import Painter
from headway_cli.view.run_view import RunView
from headway_cli.view.tracking import Tracker
from shown import NOON, Run, Terminal, stamp, training_progress

Terminals = Callable[..., Terminal]
HISTORY = [
    {"step": i, "time": stamp(i), "metrics": {"loss": 1 / i, "val_loss": 1.1 / i}}
    for i in range(1, 15)
]


def view_of(run: Run, phase: str = "Running", later: float = 2.0, **more: Any) -> RunView:
    """A run that reported twice, seen ``later`` seconds after its last update."""
    tracker = Tracker(0.0)
    for sequence, batch in ((1, 200), (2, 342)):
        progress = training_progress(
            15,
            batch,
            sequence=sequence,
            at=10.0 * sequence,
            metrics={"learning_rate": 0.001, "loss": 0.0714, "val_loss": 0.0785},
        )
        tracker.see(run(phase, progress=progress, history=HISTORY, **more), 10.0 * sequence)
    view = tracker.view(20.0 + later, NOON)
    assert view is not None
    return view


def drawn(terminal: Terminal, view: RunView, footer: Footer | None = None) -> list[str]:
    Painter(terminal.console).paint(LiveView(view, footer or Footer("Ctrl-C: detach or cancel")))
    return terminal.lines()


@pytest.mark.parametrize("columns", [80, 200])
def test_two_bars_with_pace_eta_metrics_and_silence(
    columns: int, run: Run, terminal: Terminals
) -> None:
    lines = drawn(terminal(columns), view_of(run))
    assert lines[0].startswith("● train-mlp  Running  0s  Training  mlp on AAPL, MSFT (+1 more)")
    assert lines[1].strip().startswith("Training MLP model on AAPL, MSFT (+1 more) [1d]")
    epoch, batch = lines[2], lines[3]
    assert epoch.startswith("  epoch ━")
    assert "73%   15/20 ETA 3m5s" in epoch
    assert batch.startswith("  batch ━")
    assert "68% 342/500 14.2 batches/s" in batch
    # The bars begin and end at the same columns.
    assert epoch.index("%") == batch.index("%")
    assert "loss 0.0714 █" in lines[4]
    assert lines[-2] == "  last update 2s ago"
    assert lines[-1] == "  Ctrl-C: detach or cancel"
    assert all(len(line) < columns for line in lines)


def test_the_wide_view_is_wider(run: Run, terminal: Terminals) -> None:
    narrow, wide = (drawn(terminal(columns), view_of(run))[2] for columns in (80, 200))
    assert wide.count("━") > narrow.count("━")


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_a_narrow_terminal_never_wraps_a_bar(columns: int, run: Run, terminal: Terminals) -> None:
    lines = drawn(terminal(columns), view_of(run))
    assert sum("━" in line for line in lines) <= 2
    assert all(len(line) <= columns for line in lines)


def test_losses_come_first_and_settings_last(run: Run, terminal: Terminals) -> None:
    text = " ".join(drawn(terminal(200), view_of(run)))
    assert text.index("loss 0.0714") < text.index("val_loss") < text.index("learning_rate")


def test_a_metric_that_is_no_number_stands_first(run: Run, terminal: Terminals) -> None:
    tracker = Tracker(0.0)
    progress = training_progress(1, 1, metrics={"loss": 0.5}, nonFinite={"val_loss": "NaN"})
    tracker.see(run(progress=progress), 0.0)
    view = tracker.view(0.0, NOON)
    assert view is not None
    lines = drawn(terminal(80), view)
    assert "  val_loss NaN   loss 0.5" in lines


def test_silence_is_told_and_nothing_is_estimated(run: Run, terminal: Terminals) -> None:
    lines = drawn(terminal(80), view_of(run, later=40.0))
    text = "\n".join(lines)
    assert "last update 40s ago: the trainer is silent" in text
    assert "ETA" not in text
    assert "batches/s" not in text


def test_a_view_just_opened_does_not_claim_an_update(run: Run, terminal: Terminals) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress=training_progress(1, 1)), 0.0)
    view = tracker.view(7.0, NOON)
    assert view is not None
    assert "  no update in the 7s since this view was opened" in drawn(terminal(80), view)


def test_a_run_that_waits_says_why(run: Run, terminal: Terminals) -> None:
    tracker = Tracker(0.0)
    waiting = run("Starting", reason="Unschedulable", message="0/1 nodes have 8 CPUs.")
    tracker.see(waiting, 0.0)
    view = tracker.view(0.0, NOON)
    assert view is not None
    lines = drawn(terminal(80), view)
    assert "  Unschedulable: 0/1 nodes have 8 CPUs." in lines
    assert not any("━" in line for line in lines)


def test_a_run_that_no_controller_takes_up_says_where_to_look(
    run: Run, terminal: Terminals
) -> None:
    tracker = Tracker(0.0)
    tracker.see(run("Pending", startTime=None), 0.0)
    view = tracker.view(0.0, NOON.replace(minute=5))
    assert view is not None
    assert "  no controller has taken it up for 5m; see: headway doctor" in drawn(
        terminal(80), view
    )


def test_the_phase_is_not_said_twice(run: Run, terminal: Terminals) -> None:
    view = view_of(
        run, "Cancelling", reason="CancelRequested", message="Cancelling: asked to stop."
    )
    assert "  CancelRequested: asked to stop." in drawn(terminal(80), view)


def test_a_question_takes_the_place_of_the_hint(run: Run, terminal: Terminals) -> None:
    lines = drawn(terminal(80), view_of(run), Footer("hint", "Leave?", "no answer"))
    assert lines[-2:] == ["  no answer", "  Leave?"]


def test_a_terminal_without_unicode_gets_plain_signs(run: Run, terminal: Terminals) -> None:
    screen = terminal(80)
    options = screen.console.options.copy()
    options.encoding = "ascii"
    lines = screen.console.render_lines(LiveView(view_of(run)), options, pad=False)
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    assert text.isascii()


def test_nothing_is_written_where_nothing_changed(run: Run, terminal: Terminals) -> None:
    screen = terminal(80)
    painter, view = Painter(screen.console), view_of(run)
    painter.paint(LiveView(view))
    before = screen.written()
    painter.paint(LiveView(view))
    assert screen.written() == before


def test_a_frame_overwrites_the_one_before_without_erasing_it(
    run: Run, terminal: Terminals
) -> None:
    screen = terminal(80)
    painter = Painter(screen.console)
    painter.paint(LiveView(view_of(run, later=2.0)))
    before = screen.written()
    painter.paint(LiveView(view_of(run, later=3.0)))
    assert "\x1b[2J" not in screen.file.getvalue()
    assert "\x1b[2K" not in screen.file.getvalue()
    assert screen.file.getvalue()[before:].count("\x1b[J") == 1
    assert "  last update 3s ago" in screen.lines()
    assert sum("last update" in line for line in screen.lines()) == 1


@pytest.mark.parametrize("columns", [60, 120])
def test_a_resized_window_keeps_one_view(columns: int, run: Run, terminal: Terminals) -> None:
    screen = terminal(80)
    painter = Painter(screen.console)
    painter.paint(LiveView(view_of(run, later=2.0)))
    screen.resize(columns)
    painter.paint(LiveView(view_of(run, later=3.0)))
    assert sum("last update" in line for line in screen.lines()) == 1


def test_what_follows_a_cleared_view_stands_in_its_place(run: Run, terminal: Terminals) -> None:
    screen = terminal(80)
    painter = Painter(screen.console)
    painter.paint(LiveView(view_of(run)))
    painter.clear()
    screen.console.print("done")
    assert screen.lines() == ["done"]
    assert screen.file.getvalue().count("\x1b[?25l") == screen.file.getvalue().count("\x1b[?25h")

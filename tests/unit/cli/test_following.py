"""The loop between what arrives, what is shown and what is pressed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import StringIO

import pytest
from headway_cli.exits import ExitCode
from headway_cli.following import Ending, Event, Gone, Said, Seen, Trouble, follow
from headway_cli.keyboard import Keyboard
from headway_cli.problems import Problem
from headway_cli.view.painter import Painter
from rich.console import Console
from shown import Run, Terminal, stamp, training_progress


class Scripted:
    """A feed that says what it was told to, then that the run was deleted."""

    def __init__(self, events: Iterable[Event | None], *, local: bool = False) -> None:
        self._events = iter(events)
        self.local = local
        self.cancels: list[bool] = []

    def next(self, timeout: float) -> Event | None:
        return next(self._events, Gone())

    def cancel(self, *, now: bool) -> None:
        self.cancels.append(now)


def followed(*events: Event) -> tuple[Ending, str]:
    """What following these events in a pipe ends with, and what it printed."""
    out = StringIO()
    ending = follow(Scripted(events), console=Console(file=out, force_terminal=False))
    return ending, out.getvalue()


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        ("Succeeded", ExitCode.SUCCESS),
        ("Failed", ExitCode.FAILED),
        ("Cancelled", ExitCode.CANCELLED),
    ],
)
def test_the_exit_code_is_the_runs_outcome(phase: str, code: ExitCode, run: Run) -> None:
    ending, text = followed(Seen(run()), Seen(run(phase, completionTime=stamp(3))))
    assert ending.code is code
    assert text.splitlines()[-1].startswith(f"train-mlp {phase}")


def test_a_pipe_gets_a_line_per_change_and_the_result_last(run: Run) -> None:
    _, text = followed(
        Seen(run("Starting", reason="Pulling", message="Pulling the image.")),
        Seen(run(progress=training_progress(1, 1))),
        Seen(run(progress=training_progress(1, 1, sequence=2))),
        Seen(run(progress=training_progress(1, 2, sequence=3))),
        Seen(run("Succeeded", completionTime=stamp(9))),
    )
    lines = [line.split("  ", 1)[-1] for line in text.splitlines()]
    assert [line.split()[0] for line in lines] == [
        "Starting",
        "Running",
        "Running",
        "Succeeded",
        "train-mlp",
    ]
    assert "\x1b" not in text


def test_an_outage_is_told_once_and_so_is_its_end(run: Run) -> None:
    _, text = followed(
        Seen(run()),
        Trouble("no answer"),
        Trouble("no answer"),
        Trouble(""),
        Seen(run("Succeeded")),
    )
    assert text.count("no answer") == 1
    assert text.count("connected again") == 1


def test_what_a_child_prints_is_passed_on_as_it_is(run: Run) -> None:
    _, text = followed(Seen(run()), Said("[bold]hello[/bold]  :x:"), Seen(run("Succeeded")))
    assert "[bold]hello[/bold]  :x:" in text.splitlines()


def test_a_run_that_is_deleted_is_a_problem_of_its_own(run: Run) -> None:
    with pytest.raises(Problem, match="train-mlp was deleted while it was followed") as caught:
        followed(Seen(run()), Gone())
    assert caught.value.code is ExitCode.NOT_FOUND


def test_a_terminal_that_was_held_up_shows_what_is_and_a_pipe_all_that_was(
    run: Run, terminal: Callable[..., Terminal]
) -> None:
    seen = [Seen(run(progress=training_progress(1, n, sequence=n))) for n in range(1, 9)]
    screen = terminal(80)
    follow(Scripted([*seen, None, Seen(run("Succeeded"))]), console=screen.console)
    drawn = screen.file.getvalue()
    assert "(batch 8/500)" in drawn
    assert "(batch 3/500)" not in drawn
    _, text = followed(*seen, Seen(run("Succeeded")))
    assert text.count("(batch") == 8


class Refusing(Scripted):
    """A feed of a run that may not be cancelled."""

    def cancel(self, *, now: bool) -> None:
        super().cancel(now=now)
        raise Problem("You may not cancel operation train-mlp.")


def test_a_cancel_that_is_refused_stays_told_while_progress_arrives(
    run: Run, terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = iter(["\x03", "c"])
    monkeypatch.setattr(Keyboard, "present", True)
    monkeypatch.setattr(Keyboard, "pressed", lambda _: next(pressed, ""))
    screen = terminal(80)
    seen = [Seen(run(progress=training_progress(1, n, sequence=n))) for n in range(1, 6)]
    frames = [event for one in seen for event in (one, None)]
    feed = Refusing([*frames, Seen(run("Succeeded"))])
    shown = []
    monkeypatch.setattr(Painter, "clear", lambda _: shown.extend(screen.lines()))
    follow(feed, console=screen.console)
    assert feed.cancels == [False]
    text = "\n".join(shown)
    assert "The cancel failed: You may not cancel operation train-mlp." in text
    assert "(batch 5/500)" in text
    assert "Ctrl-C: detach or cancel" in text


def test_a_run_that_is_over_is_shown_at_once(run: Run) -> None:
    ending, text = followed(Seen(run("Failed", reason="Error", message="It broke.")))
    assert ending.code is ExitCode.FAILED
    assert "Error: It broke." in text

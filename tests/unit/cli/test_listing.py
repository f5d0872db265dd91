"""The table of runs."""

from __future__ import annotations

from datetime import timedelta

from headway_cli.view import listing
from shown import NOON, Run, stamp, training_progress

WALL = NOON + timedelta(minutes=3)


def test_a_row_tells_type_phase_progress_and_age(run: Run) -> None:
    row = listing.row(run(progress=training_progress(15, 250, percent=72.6)), WALL)
    header, line = listing.lines([row])
    assert header.split() == ["NAME", "TYPE", "PHASE", "PROGRESS", "EPOCH", "AGE", "MESSAGE"]
    assert line.split()[:6] == ["train-mlp", "Training", "Running", "72%", "15/20", "3m"]
    assert line.endswith("(batch 250/500)")


def test_a_run_without_progress_has_dashes(run: Run) -> None:
    row = listing.row(run("Pending", startTime=None, attempt=None), WALL)
    (_, line) = listing.lines([row], wide=True)
    assert line.split() == ["train-mlp", "Training", "Pending", "-", "-", "-", "-", "3m"]


def test_a_finished_run_says_why_it_ended(run: Run) -> None:
    row = listing.row(run("Failed", reason="OOMKilled", message="Too much memory."), WALL)
    assert row.message == "OOMKilled: Too much memory."


def test_an_attempt_that_has_said_nothing_yet_has_the_controllers_words(run: Run) -> None:
    left = training_progress(20, 500)
    row = listing.row(
        run(attempt=2, progress=left, reason="Started", message="Pod b runs on n."), WALL
    )
    assert row.message == "Started: Pod b runs on n."


def test_messages_are_cut_to_the_terminal_and_whole_in_a_pipe(run: Run) -> None:
    row = listing.row(run("Failed", reason="Error", message="word " * 60), WALL)
    narrow = listing.lines([row], width=100)
    assert len(narrow[1]) <= 100
    assert narrow[1].endswith("…")
    assert len(listing.lines([row])[1]) > 300
    assert "MESSAGE" not in listing.lines([row], width=60)[0]


def test_colour_does_not_shift_columns(run: Run) -> None:
    rows = [listing.row(run(phase), WALL) for phase in ("Running", "Succeeded", "Failed")]
    plain = listing.lines(rows)
    coloured = listing.lines(rows, colour=True)
    assert plain[0] == coloured[0]
    for clean, painted in zip(plain[1:], coloured[1:], strict=True):
        assert "\x1b[" in painted
        assert clean.split()[2] in painted


def test_the_newest_stands_next_to_the_prompt(run: Run) -> None:
    old, new = run(name="old"), run(name="new")
    newer = new.model_copy(
        update={
            "metadata": new.metadata.model_copy(
                update={"creation_timestamp": NOON + timedelta(seconds=1)}
            )
        }
    )
    assert [r.metadata.name for r in listing.newest_last([newer, old])] == ["old", "new"]


def test_namespaces_come_first_where_all_are_shown(run: Run) -> None:
    row = listing.row(run(completionTime=stamp(9)), WALL)
    assert listing.lines([row], namespaces=True)[1].split()[:2] == ["default", "train-mlp"]

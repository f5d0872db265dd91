"""``op.checkpoint`` and ``op.resume``: what was interrupted goes on as if it had not been."""

from __future__ import annotations

import json
from pathlib import Path

import headway
import pytest
from headway.cancellation import StopReason
from headway_api import environment
from hypothesis import given, settings
from hypothesis import strategies as st

EPOCHS, BATCHES = 4, 5


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv(environment.WORKSPACE, str(tmp_path))
    monkeypatch.setenv(environment.PROGRESS_FILE, str(tmp_path / "progress.jsonl"))
    monkeypatch.setenv(environment.CHECKPOINT_EVERY_EPOCHS, "1")
    return tmp_path


def newest_run(workspace: Path) -> str:
    return max(workspace.glob("local-*"), key=lambda f: f.stat().st_mtime_ns).name


def train(*, stop_at=None, reason=StopReason.INTERRUPTED):
    """A loop whose whole state is the list of what it has done."""
    done: list[tuple[int, int]] = []
    with headway.operation() as op:
        if saved := op.resume():
            done += [tuple(pair) for pair in json.loads((saved.folder / "done").read_text())]
        op.checkpoint(lambda folder: (folder / "done").write_text(json.dumps(done)))
        for epoch in op.epochs(EPOCHS):
            for batch in op.batches(range(BATCHES)):
                done.append((epoch, batch))
                if len(done) == stop_at:
                    op.token.cancel(reason)
    return done, op


def test_stopped_within_an_epoch_it_goes_on_after_that_batch(workspace, monkeypatch):
    done, op = train(stop_at=8)
    assert op.stop_reason is StopReason.INTERRUPTED
    assert len(done) == 8
    monkeypatch.setenv(environment.RESUME_FROM, newest_run(workspace))
    done, _ = train()
    assert done == [(e, b) for e in range(EPOCHS) for b in range(BATCHES)]


@settings(max_examples=25, deadline=None)
@given(stops=st.lists(st.integers(1, EPOCHS * BATCHES - 1), min_size=1, max_size=5, unique=True))
def test_wherever_it_is_stopped_and_however_often_nothing_is_done_twice(tmp_path_factory, stops):
    workspace = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(environment.WORKSPACE, str(workspace))
        patch.setenv(environment.CHECKPOINT_EVERY_EPOCHS, "1")
        for stop_at in [*sorted(stops), None]:
            done, _ = train(stop_at=stop_at)
            for number, folder in enumerate(sorted(workspace.glob("local-*"))):
                folder.rename(workspace / f"part{number}-{len(done)}")
            newest = max(workspace.glob("part*"), key=lambda f: int(f.name.partition("-")[2]))
            patch.setenv(environment.RESUME_FROM, newest.name)
    assert done == [(e, b) for e in range(EPOCHS) for b in range(BATCHES)]


def test_stopped_again_before_its_first_batch_it_loses_nothing(workspace, monkeypatch):
    train(stop_at=8)
    monkeypatch.setenv(environment.RESUME_FROM, newest_run(workspace))
    with headway.operation() as op:
        saved = op.resume()
        again = (saved.folder / "done").read_text()
        op.checkpoint(lambda folder: (folder / "done").write_text(again))
        op.token.cancel(StopReason.SUSPENDED)
        for _ in op.epochs(EPOCHS):
            pytest.fail("it was stopped before")
    last = json.loads((workspace / "progress.jsonl").read_text().splitlines()[-1])
    told = last["report"]["checkpoint"]
    assert (told["epochsCompleted"], told["batchesCompleted"]) == (1, 3)


@settings(max_examples=25, deadline=None)
@given(stops=st.sets(st.integers(1, 3 * 7 - 1), min_size=1, max_size=5))
def test_an_epoch_of_two_loaders_goes_on_in_the_one_that_it_was_in(tmp_path_factory, stops):
    def train(stop_at):
        done = []
        with headway.operation() as op:
            if saved := op.resume():
                done += [tuple(e) for e in json.loads((saved.folder / "done").read_text())]
            op.checkpoint(lambda folder: (folder / "done").write_text(json.dumps(done)))
            for epoch in op.epochs(3):
                for name, length in (("learn", 5), ("validate", 2)):
                    for batch in op.batches(range(length)):
                        done.append((epoch, name, batch))
                        if len(done) == stop_at:
                            op.token.cancel(StopReason.INTERRUPTED)
        return done

    workspace = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(environment.WORKSPACE, str(workspace))
        patch.setenv(environment.PROGRESS_FILE, str(workspace / "progress.jsonl"))
        patch.setenv(environment.CHECKPOINT_EVERY_EPOCHS, "1")
        for stop_at in [*sorted(stops), None]:
            done = train(stop_at)
            for number, folder in enumerate(sorted(workspace.glob("local-*"))):
                folder.rename(workspace / f"part{number}-{len(done)}")
            newest = max(workspace.glob("part*"), key=lambda f: int(f.name.partition("-")[2]))
            patch.setenv(environment.RESUME_FROM, newest.name)
    assert done == [
        (epoch, name, batch)
        for epoch in range(3)
        for name, length in (("learn", 5), ("validate", 2))
        for batch in range(length)
    ]


def test_what_follows_an_epoch_that_early_stopping_left_is_never_left_out(workspace, monkeypatch):
    def run(stop_at=None):
        learned, judged = [], []
        with headway.operation() as op:
            op.resume()
            op.checkpoint(lambda folder: (folder / "nothing").touch())
            for epoch in op.epochs(9):
                learned += [(epoch, batch) for batch in op.batches(range(5))]
                if epoch == 2:
                    break
            for batch in op.batches(range(4)):
                judged.append(batch)
                if batch == stop_at:
                    op.token.cancel(StopReason.SUSPENDED)
        return learned, judged

    run(stop_at=1)
    last = json.loads((workspace / "progress.jsonl").read_text().splitlines()[-1])
    told = last["report"]["checkpoint"]
    assert (told["epochsCompleted"], told["batchesCompleted"]) == (2, 5)
    (workspace / newest_run(workspace)).rename(workspace / "before")
    monkeypatch.setenv(environment.RESUME_FROM, "before")
    assert run() == ([], [0, 1, 2, 3])


def gone_on(workspace, monkeypatch, loop, stop_at):
    """What is done over two runs of a loop: it is stopped when so much is done, and goes on."""

    def run(stop_at=None):
        done = []
        with headway.operation() as op:
            if saved := op.resume():
                done += [tuple(e) for e in json.loads((saved.folder / "done").read_text())]
            op.checkpoint(lambda folder: (folder / "done").write_text(json.dumps(done)))

            def do(*what):
                done.append(what)
                if len(done) == stop_at:
                    op.token.cancel(StopReason.SUSPENDED)

            loop(op, do)
        return done

    stopped = run(stop_at)
    (workspace / newest_run(workspace)).rename(workspace / "before")
    monkeypatch.setenv(environment.RESUME_FROM, "before")
    return stopped, run()


@pytest.mark.parametrize("stop_at", range(4, 16))
def test_a_loader_that_a_break_left_is_not_taken_up_again(workspace, monkeypatch, stop_at):
    def loop(op, do):
        for epoch in op.epochs(3):
            for batch in op.batches(range(20)):
                do(epoch, "learn", batch)
                if batch == 2:
                    break
            for batch in op.batches(range(2)):
                do(epoch, "validate", batch)

    _, done = gone_on(workspace, monkeypatch, loop, stop_at)
    whole = [
        (epoch, name, batch)
        for epoch in range(3)
        for name, length in (("learn", 3), ("validate", 2))
        for batch in range(length)
    ]
    assert done == whole


@pytest.mark.parametrize("stop_at", range(1, 22))
def test_a_loader_within_another_ones_batch_is_no_part_of_the_epochs_batches(
    workspace, monkeypatch, stop_at
):
    def loop(op, do):
        for epoch in op.epochs(2):
            for batch in op.batches(range(5)):
                do(epoch, "learn", batch)
                if batch == 1:
                    for each in op.batches(range(4)):
                        do(epoch, "validate", each)

    _, done = gone_on(workspace, monkeypatch, loop, stop_at)
    learned = [(epoch, batch) for epoch, name, batch in done if name == "learn"]
    assert list(dict.fromkeys(learned)) == [(e, b) for e in range(2) for b in range(5)]
    assert len(learned) <= 11, "no more than the batch that it was stopped in is done again"


@pytest.mark.parametrize("stop_at", [3, 8, 11, 15])
def test_of_several_loops_it_goes_on_in_the_one_that_it_was_in(workspace, monkeypatch, stop_at):
    def loop(op, do):
        for stage in ("learn", "tune"):
            for epoch in op.epochs(4):
                for batch in op.batches(range(2)):
                    do(stage, epoch, batch)

    _, done = gone_on(workspace, monkeypatch, loop, stop_at)
    assert done == [(s, e, b) for s in ("learn", "tune") for e in range(4) for b in range(2)]


@pytest.mark.parametrize("stop_at", [3, 8, 11, 13, 15])
def test_a_program_that_leaves_loops_out_by_itself_gives_their_start(
    workspace, monkeypatch, stop_at
):
    def run(stop_at=None):
        done, fold, start = [], 0, 0
        with headway.operation() as op:
            if saved := op.resume():
                fold, told = json.loads((saved.folder / "done").read_text())
                done, start = [tuple(e) for e in told], saved.epochs
            op.checkpoint(lambda folder: (folder / "done").write_text(json.dumps([fold, done])))
            for fold in range(fold, 3):  # noqa: B020 - it goes on from there
                for epoch in op.epochs(2, start=start):
                    for batch in op.batches(range(3)):
                        done.append((fold, epoch, batch))
                        if len(done) == stop_at:
                            op.token.cancel(StopReason.SUSPENDED)
                start = 0
        return done

    run(stop_at)
    (workspace / newest_run(workspace)).rename(workspace / "before")
    monkeypatch.setenv(environment.RESUME_FROM, "before")
    assert run() == [(f, e, b) for f in range(3) for e in range(2) for b in range(3)]


def test_a_loader_that_a_program_holds_on_to_is_no_part_of_the_next_epoch(workspace, monkeypatch):
    def loop(op, do):
        held = []
        for epoch in op.epochs(2):
            held.append(op.batches(range(5)))
            for batch in held[-1]:
                do(epoch, batch)
                if batch == 2:
                    break

    _, done = gone_on(workspace, monkeypatch, loop, 5)
    assert done == [(epoch, batch) for epoch in range(2) for batch in range(3)]


def test_every_loop_keeps_its_epochs_ends(workspace):
    with headway.operation() as op:
        op.checkpoint(lambda folder: (folder / "nothing").touch())
        for count in (3, 2):
            for _ in op.epochs(count):
                pass
    [run] = workspace.glob("local-*")
    assert sorted(f.name for f in (run / "a1").iterdir()) == ["000003", "000004", "000005"]


def test_operations_of_one_process_keep_their_own_checkpoints(workspace):
    for _ in range(2):
        with headway.operation() as op:
            assert op.resume() is None
            op.checkpoint(lambda folder: (folder / "nothing").touch())
            assert list(op.epochs(2)) == [0, 1]
    assert len(list(workspace.glob("local-*"))) == 2


def test_every_epochs_end_is_kept_when_that_is_asked_for(workspace):
    train()
    [run] = workspace.glob("local-*")
    assert [f.name for f in sorted((run / "a1").iterdir())] == ["000002", "000003", "000004"]


def test_fenced_it_writes_no_checkpoint_any_more(workspace):
    train(stop_at=2, reason=StopReason.FENCED)
    assert not list(workspace.glob("local-*"))


def test_the_final_report_names_the_checkpoint_and_why_it_was_stopped(workspace):
    train(stop_at=7, reason=StopReason.SUSPENDED)
    last = json.loads((workspace / "progress.jsonl").read_text().splitlines()[-1])
    report = last["report"]
    assert report["status"] == "cancelled"
    assert report["stopReason"] == "suspended"
    assert report["checkpoint"]["epochsCompleted"] == 1
    assert report["checkpoint"]["batchesCompleted"] == 2


def test_a_loop_without_epochs_keeps_its_steps(workspace, monkeypatch):
    def count(stop_at=None):
        seen = []
        with headway.operation() as op:
            saved = op.resume()
            first = saved.step if saved else 0
            op.checkpoint(lambda folder: (folder / "nothing").touch())
            for step in range(first, 10):
                op.check()
                seen.append(step)
                op.progress(step + 1, 10)
                if step == stop_at:
                    op.token.cancel(StopReason.SUSPENDED)
        return seen

    assert count(stop_at=6) == list(range(7))
    monkeypatch.setenv(environment.RESUME_FROM, newest_run(workspace))
    assert count() == [7, 8, 9]


def test_a_checkpoint_that_is_not_there_fails_the_program(workspace, monkeypatch):
    monkeypatch.setenv(environment.RESUME_FROM, "nowhere")
    with pytest.raises(headway.CheckpointError, match="nowhere"):
        train()
    last = json.loads((workspace / "progress.jsonl").read_text().splitlines()[-1])
    assert last["report"]["error"]["type"].endswith("CheckpointError")

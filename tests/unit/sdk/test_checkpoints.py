"""Checkpoints are whole or not there, verified, and the newest valid one wins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from headway.checkpointing import Cadence, Checkpoints
from headway.checkpoints import MANIFEST, CheckpointError, CheckpointStore
from headway.progress_state import ProgressState
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import eventually

UID = "0a1b"


def store(workspace, attempt=1, keep=3, resume_from=None):
    return CheckpointStore(workspace, UID, attempt, keep=keep, resume_from=resume_from)


def state(text):
    """A function that saves a text as a program's state."""
    return lambda folder: (folder / "state.txt").write_text(text)


def read(found):
    return (found.folder / "state.txt").read_text()


def everything_in(workspace):
    return sorted(p.relative_to(workspace).as_posix() for p in workspace.glob("*/a*/*"))


def test_what_was_saved_is_found_again_with_its_position(tmp_path):
    made = store(tmp_path).save(state("one"), epochs=3, batches=7)
    found = store(tmp_path).newest()
    assert found == made
    assert (found.epochs, found.batches, found.attempt) == (3, 7, 1)
    assert found.path == f"{UID}/a1/000001"
    assert read(found) == "one"
    assert found.bytes == 3


def test_the_latest_of_the_latest_attempt_wins(tmp_path):
    for attempt, text in [(1, "a"), (2, "b"), (2, "c"), (1, "late")]:
        store(tmp_path, attempt, keep=9).save(state(text))
    assert read(store(tmp_path, 3).newest()) == "c"


def test_an_attempt_above_nine_is_later_than_one_below(tmp_path):
    store(tmp_path, 9).save(state("nine"))
    store(tmp_path, 10).save(state("ten"))
    assert read(store(tmp_path, 11).newest()) == "ten"


def test_without_any_there_is_none(tmp_path):
    assert store(tmp_path).newest() is None


@pytest.mark.parametrize("harm", ["cut", "changed", "missing", "manifest"])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path, harm, caplog):
    store(tmp_path).save(state("whole"))
    damaged = store(tmp_path).save(state("newer"))
    file = damaged.folder / ("state.txt" if harm != "manifest" else MANIFEST)
    match harm:
        case "missing":
            file.unlink()
        case "changed":
            file.write_text("NEWER")
        case _:
            file.write_text("{")
    assert read(store(tmp_path).newest()) == "whole"
    assert "passed over" in caplog.text


@pytest.mark.parametrize(
    "manifest",
    [
        "[]",
        '{"headway": 1, "files": {"state.txt": 5}}',
        '{"headway": 1, "files": {"state.txt": {"bytes": 5}}}',
        '{"headway": 1, "files": {}, "time": "noon"}',
        '{"headway": 2, "files": {}}',
    ],
)
def test_a_manifest_that_makes_no_sense_is_passed_over(tmp_path, manifest):
    store(tmp_path).save(state("whole"))
    (store(tmp_path).save(state("newer")).folder / MANIFEST).write_text(manifest)
    assert read(store(tmp_path).newest()) == "whole"


def test_one_that_the_disk_does_not_give_back_is_passed_over(tmp_path, monkeypatch, caplog):
    store(tmp_path).save(state("whole"))
    bad = store(tmp_path).save(state("newer")).folder
    given = Path.open

    def opened(file, *args, **options):
        if file == bad / "state.txt":
            raise OSError(5, "Input/output error")
        return given(file, *args, **options)

    monkeypatch.setattr(Path, "open", opened)
    assert read(store(tmp_path).newest()) == "whole"
    assert "Input/output error" in caplog.text


def test_a_file_in_the_place_of_the_manifest_is_refused_at_once(tmp_path):
    """It would be overwritten, and the checkpoint pass for damaged when it is needed."""
    with pytest.raises(ValueError, match="save yours by another name"):
        store(tmp_path).save(lambda folder: (folder / MANIFEST).write_text("mine"))
    assert everything_in(tmp_path) == []


def test_a_checkpoint_is_told_of_when_every_file_and_folder_is_on_the_disk(tmp_path, monkeypatch):
    synced, given = set(), os.fsync

    def sync(handle):
        synced.add(str(Path(f"/proc/self/fd/{handle}").readlink()))
        given(handle)

    monkeypatch.setattr(os, "fsync", sync)

    def save(folder):
        (folder / "deep").mkdir()
        (folder / "deep" / "state.txt").write_text("x")

    store(tmp_path).save(save)
    unfinished = tmp_path / UID / "a1" / ".unfinished-000001"
    folders = [tmp_path, tmp_path / UID, tmp_path / UID / "a1", unfinished, unfinished / "deep"]
    files = [unfinished / MANIFEST, unfinished / "deep" / "state.txt"]
    assert {str(p) for p in (*folders, *files)} <= synced


def test_files_in_folders_are_verified_too(tmp_path):
    def save(folder):
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "state.txt").write_text("x")

    made = store(tmp_path).save(save)
    assert store(tmp_path).newest() == made
    (made.folder / "deep" / "er" / "state.txt").write_text("y")
    assert store(tmp_path).newest() is None


def test_a_program_that_fails_while_saving_leaves_nothing(tmp_path):
    def save(folder):
        (folder / "half").write_text("x")
        raise KeyError("mine")

    with pytest.raises(KeyError):
        store(tmp_path).save(save)
    assert everything_in(tmp_path) == []


def test_only_the_last_are_kept_over_all_attempts(tmp_path):
    for attempt in (1, 1, 2, 2, 2):
        store(tmp_path, attempt).save(state("x"))
    assert everything_in(tmp_path) == [f"{UID}/a2/00000{n}" for n in (1, 2, 3)]


def test_an_attempt_that_another_has_followed_leaves_alone_what_that_one_writes(tmp_path):
    """Its node lost the API server, but not the shared volume: nobody could tell it to stop."""

    def write(folder):
        store(tmp_path, 1).save(state("stale"))
        state("new")(folder)

    store(tmp_path, 2).save(write)
    assert read(store(tmp_path, 3).newest()) == "new"


def test_what_another_run_left_is_never_removed(tmp_path):
    other = CheckpointStore(tmp_path, "other", 1, keep=9)
    for _ in range(5):
        other.save(state("theirs"))
    for _ in range(5):
        store(tmp_path, keep=1, resume_from="other").save(state("ours"))
    assert len(list((tmp_path / "other" / "a1").iterdir())) == 5


@pytest.mark.parametrize("named", ["other", "other/a2", "other/a2/000001"])
def test_a_run_begins_from_what_it_is_told_while_it_has_none_of_its_own(tmp_path, named):
    CheckpointStore(tmp_path, "other", 1, keep=9).save(state("older"))
    CheckpointStore(tmp_path, "other", 2, keep=9).save(state("theirs"))
    given_one = store(tmp_path, resume_from=named)
    assert read(given_one.newest()) == "theirs"
    assert given_one.newest().path == "other/a2/000001"
    given_one.save(state("ours"))
    assert read(given_one.newest()) == "ours"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nowhere", "there is no checkpoint nowhere"),
        ("../outside", "not in the workspace"),
        ("empty", "no valid checkpoint in empty"),
        ("damaged/a1/000001", "not whole"),
    ],
)
def test_a_checkpoint_that_is_asked_for_and_not_there_is_an_error(tmp_path, named, said):
    workspace = tmp_path / "workspace"
    (workspace / "empty").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    made = CheckpointStore(workspace, "damaged", 1, keep=9).save(state("x"))
    (made.folder / "state.txt").unlink()
    with pytest.raises(CheckpointError, match=said):
        store(workspace, resume_from=named).newest()


SAVES = """
import sys
from pathlib import Path
from headway.checkpoints import CheckpointStore

def save(folder):
    for part in range(40):
        (folder / f"part{part}").write_bytes(number.to_bytes(4, "big") * 5000)

store = CheckpointStore(Path(sys.argv[1]), "0a1b", 1, keep=2)
number = 0
print("ready", flush=True)
while True:
    number += 1
    store.save(save, epochs=number)
"""


@pytest.mark.parametrize("after", [0.0, 0.013, 0.031, 0.057, 0.11])
def test_a_writer_that_is_killed_at_any_instant_leaves_a_whole_checkpoint(tmp_path, after):
    with subprocess.Popen(
        [sys.executable, "-c", SAVES, str(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        try:
            eventually(lambda: store(tmp_path).newest(), within=60, why="it saves")
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(after)  # it is killed wherever it is by then
        finally:
            writer.send_signal(signal.SIGKILL)
    found = store(tmp_path).newest()
    contents = {f.read_bytes() for f in found.folder.glob("part*")}
    assert contents == {found.epochs.to_bytes(4, "big") * 5000}
    store(tmp_path).save(state("next"))
    assert not [p for p in everything_in(tmp_path) if "unfinished" in p]


@settings(max_examples=40, deadline=None)
@given(
    saved=st.lists(st.integers(1, 3), min_size=1, max_size=8),
    damaged=st.sets(st.integers(0, 7)),
    keep=st.integers(1, 9),
)
def test_the_newest_valid_one_wins_whatever_was_damaged(saved, damaged, keep):
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        made = []
        for index, attempt in enumerate(sorted(saved)):
            made.append(store(workspace, attempt, keep=keep).save(state(str(index))))
        kept = made[-keep:]
        valid = []
        for index, checkpoint in enumerate(kept):
            if index in damaged:
                (checkpoint.folder / "state.txt").write_text("")
            else:
                valid.append(checkpoint)
        assert store(workspace, 4, keep=keep).newest() == (valid[-1] if valid else None)


# When they are due


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, Cadence(None, 60)),
        ({"HEADWAY_CHECKPOINT_EVERY_EPOCHS": "2"}, Cadence(2, None)),
        ({"HEADWAY_CHECKPOINT_EVERY_SECONDS": "5"}, Cadence(None, 5)),
    ],
)
def test_the_cadence_is_what_the_spec_says(env, wanted):
    assert Cadence.from_environment(env) == wanted


def checkpoints(workspace, cadence, *, writes=True):
    return Checkpoints(store(workspace), cadence, ProgressState(), writes=writes)


def test_every_so_many_epochs_one_is_due_counted_from_the_last(tmp_path):
    kept = checkpoints(tmp_path, Cadence(every_epochs=2))
    assert [kept.due(n) for n in (1, 2)] == [False, True]
    kept.save(state("x"), epochs=3)
    assert [kept.due(n) for n in (4, 5)] == [False, True]
    assert not kept.due()


def test_after_a_resume_epochs_count_from_its_checkpoint(tmp_path):
    store(tmp_path).save(state("x"), epochs=3)
    kept = checkpoints(tmp_path, Cadence(every_epochs=2))
    assert kept.resume().epochs == 3
    assert [kept.due(n) for n in (4, 5)] == [False, True]


def test_one_is_due_when_the_last_is_old_enough(tmp_path):
    kept = checkpoints(tmp_path, Cadence(every_seconds=0.0))
    assert kept.due()
    assert not checkpoints(tmp_path, Cadence(every_seconds=3600)).due(7)


def test_the_next_one_is_due_so_long_after_the_last_was_written(tmp_path, monkeypatch):
    """Where writing one takes longer than that, the training still gets its turn."""
    now = [1000.0]
    monkeypatch.setattr("headway.checkpointing.time.monotonic", lambda: now[0])
    kept = checkpoints(tmp_path, Cadence(every_seconds=60))

    def slow(_folder):
        now[0] += 90

    now[0] += 60
    assert kept.due()
    kept.save(slow, epochs=1)
    assert not kept.due()
    now[0] += 60
    assert kept.due()


def test_another_worker_than_the_first_reads_and_never_writes(tmp_path):
    store(tmp_path).save(state("x"), epochs=3)
    kept = checkpoints(tmp_path, Cadence(every_epochs=1), writes=False)
    assert kept.resume().epochs == 3
    assert not kept.due(9)
    assert kept.save(state("y"), epochs=9) is None
    assert read(store(tmp_path).newest()) == "x"


def test_a_full_disk_is_a_warning_and_the_run_goes_on(tmp_path, caplog):
    def save(_folder):
        raise OSError(28, "No space left on device")

    kept = checkpoints(tmp_path, Cadence(every_epochs=1))
    assert kept.save(save, epochs=1) is None
    assert "No space left" in caplog.text
    assert everything_in(tmp_path) == []


def test_a_full_disk_is_known_whatever_error_a_library_makes_of_it(tmp_path, caplog, monkeypatch):
    def usage(_folder):
        left = 0 if list(tmp_path.glob("*/a1/.unfinished-*/half")) else 1 << 40
        return SimpleNamespace(free=left)

    def save(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("PytorchStreamWriter failed writing file data.pkl")

    monkeypatch.setattr("headway.checkpoints.shutil.disk_usage", usage)
    assert checkpoints(tmp_path, Cadence(every_epochs=1)).save(save, epochs=1) is None
    assert "the run goes on: [Errno 28] the disk is full: PytorchStream" in caplog.text
    assert everything_in(tmp_path) == []


def test_a_workspace_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / UID).write_text("no folder")
    assert checkpoints(tmp_path, Cadence(every_epochs=1)).save(state("x"), epochs=1) is None
    assert "no checkpoint was written" in caplog.text


def test_a_defect_of_the_program_is_its_own(tmp_path):
    def save(_folder):
        raise KeyError("mine")

    with pytest.raises(KeyError):
        checkpoints(tmp_path, Cadence(every_epochs=1)).save(save, epochs=1)


def test_the_state_tells_of_the_newest(tmp_path):
    progress = ProgressState()
    kept = Checkpoints(store(tmp_path), Cadence(1), progress, writes=True)
    kept.save(state("x"), epochs=1, batches=2)
    told = progress.checkpoint
    assert told["path"] == f"{UID}/a1/000001"
    assert (told["epochsCompleted"], told["batchesCompleted"], told["bytes"]) == (1, 2, 1)
    json.dumps(told)


def test_off_a_cluster_nothing_is_written_unless_somebody_asks(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("HEADWAY_"):
            monkeypatch.delenv(name)

    def untouched():
        pytest.fail("nobody asked for a workspace")

    here = Checkpoints.of_this_process(None, untouched, ProgressState())
    assert here.resume() is None
    assert here.save(state("x"), epochs=1) is None
    monkeypatch.setenv("HEADWAY_CHECKPOINT_EVERY_EPOCHS", "1")
    here = Checkpoints.of_this_process(None, lambda: tmp_path, ProgressState())
    assert here.save(state("x"), epochs=1).epochs == 1

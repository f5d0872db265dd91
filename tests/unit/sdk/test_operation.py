"""``headway.operation()`` on a laptop: no cluster, no setting, no environment."""

import json
import subprocess
import sys
import textwrap

import headway
import pytest
from headway.cancellation import StopReason
from headway_api import environment
from in_a_pod import unanswered


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What is told to another program; call it to read the entries."""
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv(environment.PROGRESS_FILE, str(file))

    def read():
        return [json.loads(line) for line in file.read_text().splitlines()]

    return read


def test_epochs_and_batches_are_those_of_plain_loops(told):
    seen = []
    with headway.operation() as op:
        for epoch in op.epochs(3):
            for batch in op.batches("ab"):
                seen.append((epoch, batch))
            op.metrics(loss=1.0 / (epoch + 1))
    assert seen == [(e, b) for e in range(3) for b in "ab"]
    last = told()[-1]
    assert last["report"]["status"] == "success"
    assert last["report"]["epochsCompleted"] == 3
    assert last["progress"]["percent"] == 100.0
    history = [entry["history"] for entry in told() if "history" in entry][-1]
    assert [p["metrics"]["loss"] for p in history] == [1.0, 0.5, 1 / 3]


def test_a_stop_ends_the_loops_and_is_swallowed(told):
    after = []
    with headway.operation() as op:
        for _ in op.epochs(5):
            for batch in op.batches(range(10)):
                if batch == 3:
                    op.token.cancel(StopReason.CANCELLED)
            after.append("validate")
    assert after == []
    assert op.stopped
    assert op.stop_reason is StopReason.CANCELLED
    report = told()[-1]["report"]
    assert report["status"] == "cancelled"
    assert report["epochsCompleted"] == 0
    assert report["batchesCompleted"] == 4
    assert "cancelAcknowledgedAt" in report


def test_workers_that_agree_to_stop_all_know_why(told):
    with headway.operation() as op:
        op.together(lambda mine: True)
        for _ in op.epochs(3):
            pytest.fail("another one stops")
    assert op.stop_reason is StopReason.CANCELLED
    assert told()[-1]["report"]["status"] == "cancelled"


def test_a_bare_except_does_not_turn_a_stop_into_success(told):
    with headway.operation() as op:
        try:
            for _ in op.epochs(3):
                op.token.cancel()
        except BaseException:
            pass
    assert told()[-1]["report"]["status"] == "cancelled"


def test_a_stop_that_nobody_looked_at_is_no_cancel(told):
    with headway.operation() as op:
        op.token.cancel()
    assert told()[-1]["report"]["status"] == "success"


def test_an_error_is_reported_and_raised(told):
    with pytest.raises(ZeroDivisionError), headway.operation() as op:
        for _ in op.epochs(2):
            _ = 1 / 0
    report = told()[-1]["report"]
    assert report["status"] == "failed"
    assert report["error"]["type"] == "ZeroDivisionError"


def test_a_result_and_an_artifact_are_reported(told, tmp_path, monkeypatch):
    monkeypatch.setenv(environment.WORKSPACE, str(tmp_path / "w"))
    with headway.operation() as op:
        (headway.workspace() / "model.bin").write_bytes(b"weights")
        op.artifact("model.bin", "model")
        op.result(f1=0.5)
    report = told()[-1]["report"]
    assert report["summary"] == {"f1": 0.5}
    assert report["artifacts"][0]["name"] == "model"
    assert report["artifacts"][0]["path"] == "model.bin"
    assert report["artifacts"][0]["bytes"] == 7


def test_progress_of_a_loop_of_ones_own(told):
    with headway.operation("Simulation") as op:
        op.progress(7, 20, metrics={"energy": float("nan")}, fold=2)
    progress = told()[-1]["progress"]
    assert progress["step"] == 7
    assert progress["totalSteps"] == 20
    assert progress["nonFinite"] == {"energy": "NaN"}
    assert progress["context"] == {"fold": 2}
    assert progress["message"] == "Simulation"


def test_an_operation_that_was_not_entered_says_how_to_use_it():
    with pytest.raises(RuntimeError, match=r"with headway\.operation"):
        headway.operation().check()


def script(text: str, *, stdin=None, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_ctrl_c_stops_at_the_next_check():
    done = script(
        """
        import headway, os, signal
        # A shell starts what it puts into the background with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with headway.operation() as op:
            for epoch in op.epochs(5):
                if epoch == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                print("epoch", epoch)
        print("stopped:", op.stopped)
        """
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["epoch 0", "epoch 1", "epoch 2", "stopped: True"]
    assert done.stderr.endswith("cancelled\n")


def test_ctrl_c_stops_one_operation_within_another_too_and_leaves_nothing_behind():
    done = script(
        """
        import headway, os, signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with headway.operation() as outer:
            for fold in outer.epochs(5):
                with headway.operation() as inner:
                    for epoch in inner.epochs(5):
                        print(fold, epoch)
                        os.kill(os.getpid(), signal.SIGINT)
        print("stopped:", outer.stopped, inner.stopped)
        first, second = headway.operation(), headway.operation()
        first.__enter__(), second.__enter__(), first.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGINT)
        print("second:", second.stopped)
        second.__exit__(None, None, None)
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        """
    )
    said = ["0 0", "stopped: True True", "second: True", "True"]
    assert done.stdout.splitlines() == said, done.stderr


def test_standard_output_is_the_scripts_own():
    done = script(
        """
        import headway
        with headway.operation() as op:
            for epoch in op.epochs(2):
                print(epoch)
        """
    )
    assert done.stdout == "0\n1\n"
    assert "[epoch 2/2]" in done.stderr


def test_importing_headway_loads_nothing_heavy():
    done = script(
        """
        import sys, headway
        heavy = {"pydantic", "kubernetes", "torch", "pandas", "numpy", "urllib3", "asyncio"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_program_without_an_api_server_is_not_held_up_by_the_pods_variables(tmp_path):
    """The API server is away: the work is done all the same, and its end is left in the pod."""
    code = """
        import headway
        with headway.operation() as op:
            for epoch in op.epochs(3):
                pass
        print("done")
        """
    done = script(code, env=unanswered(tmp_path))
    assert done.stdout == "done\n", done.stderr
    assert done.returncode == 0
    told = json.loads((tmp_path / "message").read_text())
    assert told["report"]["status"] == "success"


def test_progress_is_counted_in_one_unit(told):
    with headway.operation() as op:
        for _ in op.epochs(2):
            for _ in op.batches(range(10)):
                pass
    steps = [(e["progress"]["step"], e["progress"]["totalSteps"]) for e in told()]
    assert steps[-1] == (20, 20)


def steps_of(entries):
    return [e["progress"]["step"] for e in entries if "step" in e["progress"]]


def test_an_epoch_may_have_loaders_to_learn_from_and_to_validate_with(told, monkeypatch):
    monkeypatch.setattr("headway.tracking._FILE_INTERVAL", 0.0)
    seen = []
    with headway.operation() as op:
        for epoch in op.epochs(3):
            for _ in op.batches(range(10)):
                pass
            for _ in op.batches(range(4)):
                seen.append(op._run.state.read())
            assert op._run.state.read().step == (epoch + 1) * 14
    assert [(u.step, u.total) for u in seen[1:4]] == [(11, 42), (12, 42), (13, 42)]
    assert seen[1].context["current_batch"] == 1
    assert seen[1].context["total_batches"] == 4
    last = told()[-1]["progress"]
    assert (last["step"], last["totalSteps"]) == (42, 42)


def test_a_loader_that_does_not_know_its_length_is_known_after_an_epoch(told):
    seen = []
    with headway.operation() as op:
        for _ in op.epochs(2):
            for _ in op.batches(iter(range(10))):
                pass
            update = op._run.state.read()
            seen.append((update.step, update.total))
    assert seen == [(10, None), (20, 20)]
    assert told()[-1]["progress"]["percent"] == 100.0


def test_a_loader_without_batches_is_no_trouble(told):
    with headway.operation() as op:
        for _ in op.epochs(2):
            assert list(op.batches([])) == []
    report = told()[-1]["report"]
    assert (report["status"], report["epochsCompleted"]) == ("success", 2)


@pytest.mark.parametrize("loader", [range(3), None])
def test_an_epoch_that_early_stopping_leaves_is_counted_and_kept(told, loader):
    with headway.operation() as op:
        for epoch in op.epochs(50):
            for _ in op.batches(loader) if loader else ():
                pass
            op.metrics(loss=float(epoch))
            if epoch == 2:
                break
        op.metrics(test=1.0)
    last = told()[-1]
    assert last["report"]["status"] == "success"
    assert last["report"]["epochsCompleted"] == 3
    history = [entry["history"] for entry in told() if "history" in entry][-1]
    assert [(p["step"], p["metrics"]) for p in history] == [
        (n + 1, {"loss": float(n)}) for n in range(3)
    ]


def test_an_epoch_that_is_left_within_its_batches_is_not_counted(told):
    with headway.operation() as op:
        for epoch in op.epochs(50):
            if epoch == 3:
                break
            for batch in op.batches(range(5)):
                if epoch == 2 and batch == 1:
                    break
            op.metrics(loss=1.0)
            if epoch == 2:
                break
    assert told()[-1]["report"]["epochsCompleted"] == 2


def test_batches_after_the_epochs_belong_to_none_of_them(told):
    with headway.operation() as op:
        for _ in op.epochs(2):
            for _ in op.batches(range(3)):
                pass
        for batch in op.batches(range(9)):
            if batch == 4:
                op.token.cancel()
    report = told()[-1]["report"]
    assert report["epochsCompleted"] == 2
    assert "batchesCompleted" not in report


def test_an_epoch_left_after_a_validation_within_it_is_not_counted(told):
    with headway.operation() as op:
        for _ in op.epochs(9):
            for batch in op.batches(range(5)):
                if batch == 2:
                    assert len(list(op.batches(range(7)))) == 7
                    assert op._run.state.read().step == 2
                    assert op._run.state.read().total == 45
                    break
            break
    report = told()[-1]["report"]
    assert report["epochsCompleted"] == 0


@pytest.mark.slow
def test_forked_workers_end_by_sigterm_as_ever(tmp_path):
    """In a pod: the workers of a pool, forked from a program that tracks an operation."""
    done = script(
        """
        import headway, multiprocessing
        if __name__ == "__main__":
            with headway.operation() as op:
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    print(pool.map(abs, [-1, -2]))
            print("done")
        """,
        env=unanswered(tmp_path),
    )
    assert done.stdout.splitlines() == ["[1, 2]", "done"], done.stderr


def test_a_child_that_is_told_to_end_in_the_moment_of_its_fork_ends(tmp_path):
    done = script(
        """
        import os, signal, time
        os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
        import headway
        with headway.operation() as op:
            child = os.fork()
            if child == 0:
                time.sleep(20)
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        env=unanswered(tmp_path),
    )
    assert done.stdout == "-15\n", done.stderr

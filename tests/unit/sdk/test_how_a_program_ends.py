"""In a trainer pod whose API server is away: what the process leaves behind, whatever ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from in_a_pod import unanswered

BEGIN = """
import headway, os, signal, sys, threading
from headway import ServiceOrchestrator, tracking
from headway_api.vocabulary import OperationType

# Nobody takes the report here: do not wait for it.
tracking._DELIVER_WITHIN = tracking._DELIVER_IN_HASTE = 0.2

def evict():
    "SIGTERM that nobody announced."
    os.kill(os.getpid(), signal.SIGTERM)

class Service(ServiceOrchestrator[None]):
    def run(self, work):
        return self.run_managed_operation("work", OperationType.CUSTOM, work)
"""


class Ended:
    """A process that has ended, and its last words."""

    def __init__(self, done, message):
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        self.report = json.loads(message.read_text())["report"] if message.exists() else None

    @property
    def status(self):
        return self.report["status"]


@pytest.fixture
def pod(tmp_path):
    """Runs a program in a trainer pod of its own."""

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", BEGIN + textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**unanswered(tmp_path), "HEADWAY_WORKSPACE": str(tmp_path)},
        )
        return Ended(done, tmp_path / "message")

    return run


@pytest.mark.parametrize(
    "ends",
    [
        "break",
        "sys.exit(0)",
        "sys.exit()",
        "raise headway.Stopped",
    ],
)
def test_an_eviction_never_looks_like_success_however_the_program_ends(pod, ends):
    ended = pod(
        f"""
        with headway.operation() as op:
            evict()
            while True:
                if op.token.wait(60):
                    {ends}
        print("goes on")
        """
    )
    assert ended.code == 143, ended.err
    assert ended.status == "interrupted"
    assert "goes on" not in ended.out


@pytest.mark.parametrize("looks", ["op.stopped", "op.token.is_cancelled()"])
@pytest.mark.parametrize("ends", ["pass", "sys.exit(0)"])
def test_whoever_was_told_of_a_cancel_and_ends_was_cancelled(pod, looks, ends):
    ended = pod(
        f"""
        with headway.operation() as op:
            op.token.cancel()
            if {looks}:
                {ends}
        """
    )
    assert ended.code == 0, ended.err
    assert ended.status == "cancelled"
    assert ended.report["stopReason"] == "cancelled"
    assert "cancelAcknowledgedAt" in ended.report


def test_a_handler_of_the_programs_own_that_exits_does_not_make_an_eviction_a_success(pod):
    ended = pod(
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with headway.operation() as op:
            evict()
            threading.Event().wait(60)
        """
    )
    assert (ended.code, ended.status) == (143, "interrupted"), ended.err


def test_a_program_that_was_done_before_it_looked_is_a_success(pod):
    ended = pod(
        """
        with headway.operation() as op:
            evict()
            for _ in range(10**5):
                pass
        """
    )
    assert (ended.code, ended.status) == (0, "success"), ended.err


@pytest.mark.parametrize(
    "work",
    [
        "lambda: service.get_current_cancellation_token().wait(60) and None",
        "lambda: service.get_current_cancellation_token().wait(60) and sys.exit(0)",
        "lambda: {'status': 'cancelled', 'x': service.get_current_cancellation_token().wait(60)}",
    ],
)
def test_a_service_that_a_program_of_ones_own_runs_ends_the_process_too(pod, work):
    ended = pod(
        f"""
        service = Service()
        def work():
            evict()
            return ({work})()
        service.run(work)
        print("goes on")
        """
    )
    assert (ended.code, ended.status) == (143, "interrupted"), ended.err
    assert "goes on" not in ended.out


def test_a_stop_within_an_operation_in_another_one_ends_both(pod):
    """Half an epoch must neither be validated, nor count as a whole one, nor be kept as one."""
    ended = pod(
        """
        with headway.operation() as op:
            op.checkpoint(lambda folder: (folder / "state").touch())
            for epoch in op.epochs(3):
                with headway.operation() as inner:
                    for batch in inner.batches(range(10)):
                        if (epoch, batch) == (1, 4):
                            op.token.cancel(headway.StopReason.SUSPENDED)
                print("validates", epoch)
        print("goes on")
        """
    )
    assert ended.out == "validates 0\ngoes on\n", ended.err
    assert (ended.code, ended.status) == (0, "cancelled")
    assert ended.report["epochsCompleted"] == 1
    assert ended.report.get("checkpoint", {}).get("epochsCompleted", 0) <= 1


def test_a_stop_within_an_operation_in_a_service_lets_the_service_end(pod):
    ended = pod(
        """
        def work():
            with headway.operation() as op:
                op.token.cancel()
                op.check()
            print("goes on")
        print(Service().run(work))
        """
    )
    assert ended.out == "goes on\n{'status': 'cancelled'}\n", ended.err
    assert (ended.code, ended.status) == (0, "cancelled")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_does_not_look_although_another_attempt_runs_is_ended(pod, rank):
    ended = pod(
        f"""
        from headway import reporter
        reporter._ENDS_WITHIN = 0.2
        os.environ["RANK"] = "{rank}"
        with headway.operation() as op:
            op._run._watch._sink.heed({{"status": {{"attempt": 2}}}})
            op.progress(1)
            threading.Event().wait(10)
        """
    )
    assert ended.code == 143, ended.err
    assert "this attempt is over (fenced)" in ended.err


def test_a_task_that_is_cancelled_because_of_an_eviction_was_interrupted(pod):
    """As programs with a loop of their own do it."""
    ended = pod(
        """
        import asyncio
        service = Service()
        async def work():
            evict()
            await asyncio.sleep(60)
        async def main():
            task = asyncio.ensure_future(
                service.start_managed_operation("work", OperationType.CUSTOM, work)
            )
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            await task
        asyncio.run(main())
        """
    )
    assert (ended.code, ended.status) == (143, "interrupted"), ended.err
    assert ended.report["stopReason"] == "interrupted"


def test_a_service_that_says_it_failed_is_reported_as_failed(pod):
    ended = pod("print(Service().run(lambda: {'status': 'failed', 'why': 'no data'}))")
    assert ended.status == "failed"
    assert ended.report["summary"] == {"why": "no data"}


def test_a_service_that_exits_well_is_no_failure(pod):
    ended = pod("Service().run(lambda: sys.exit(0))")
    assert (ended.code, ended.status) == (0, "success"), ended.err


def test_a_forked_child_that_leaves_the_block_ends_nothing(pod):
    ended = pod(
        """
        message = os.environ["HEADWAY_TERMINATION_MESSAGE_PATH"]
        with headway.operation() as op:
            if os.fork() == 0:
                sys.exit(0)
            os.wait()
            print("left behind:", os.path.exists(message))
            raise ValueError("mine")
        """
    )
    assert ended.out == "left behind: False\n", ended.err
    assert (ended.code, ended.status) == (1, "failed")


def test_an_operation_in_a_forked_child_is_its_own_and_hears_of_a_stop(pod):
    ended = pod(
        """
        import multiprocessing, time
        def train(begun):
            with headway.operation() as op:
                for epoch in op.epochs(1000):
                    begun.set()
                    time.sleep(0.01)
        forking = multiprocessing.get_context("fork")
        begun = forking.Event()
        with headway.operation() as op:
            child = forking.Process(target=train, args=[begun])
            child.start()
            begun.wait(20)
            child.terminate()
            child.join()
            print(child.exitcode)
        """
    )
    assert ended.out == "143\n", ended.err
    assert (ended.code, ended.status) == (0, "success")


def test_a_handler_that_was_not_installed_from_python_is_no_trouble(pod):
    ended = pod(
        """
        ours = signal.signal
        # As Python answers where it does not know the handler.
        signal.signal = lambda *given: (ours(*given), None)[1]
        with headway.operation() as op:
            pass
        print("done")
        """
    )
    assert ended.out == "done\n", ended.err
    assert ended.status == "success"


def test_an_operation_that_is_used_again_begins_anew(pod):
    ended = pod(
        """
        op = headway.operation()
        with op:
            op.token.cancel()
            for _ in op.epochs(3):
                pass
        assert op.stopped
        with op:
            for _ in op.epochs(2):
                pass
        print(op.stopped)
        """
    )
    assert ended.out == "False\n", ended.err
    assert (ended.status, ended.report["epochsCompleted"]) == ("success", 2)


def test_a_worker_that_stops_because_another_was_interrupted_was_interrupted_too(pod):
    """The first one speaks for all: its word must not be that of a cancel, nor of a success."""
    ended = pod(
        """
        with headway.operation() as op:
            op.checkpoint(lambda folder: (folder / "state").touch())
            op.together(lambda mine: True)
            for _ in op.epochs(3):
                print("goes on")
        """
    )
    assert (ended.code, ended.status) == (143, "interrupted"), ended.err
    assert ended.report["stopReason"] == "interrupted"
    assert ended.report["checkpoint"]
    assert ended.out == ""

"""Runs on this machine: real child processes, decided by what happens to them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from headway_api.models import TrainingOperation
from headway_cli.exits import ExitCode
from headway_cli.following import Said, Seen
from headway_cli.local_feed import LocalFeed, command_of
from headway_cli.problems import Problem
from processes import pid_lives
from waiting import eventually

REPORTING = """
import json, os, signal, sys, time
def tell(**entry):
    with open(os.environ["HEADWAY_PROGRESS_FILE"], "a") as out:
        out.write(json.dumps(entry) + "\\n")
now = "2026-01-02T12:00:00Z"
def progress(n):
    return {"attempt": 1, "sequence": n, "time": now, "heartbeat": now, "step": n}
"""
STOPPABLE = (
    REPORTING
    + """
def stop(*_):
    tell(progress=progress(9), report={"attempt": 1, "status": "cancelled", "epochsCompleted": 2})
    sys.exit(0)
signal.signal(signal.SIGINT, stop)
tell(progress=progress(1))
while True: time.sleep(0.05)
"""
)


def custom(*command: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "a", "namespace": "local"},
        "spec": {"type": "Custom", "custom": {"command": list(command)}},
    }


def python(code: str) -> dict[str, Any]:
    return custom(sys.executable, "-c", code)


class Child:
    """Runs a manifest to its end, and remembers what was seen."""

    def __init__(self, manifest: dict[str, Any], folder: Path, **variables: str) -> None:
        self.lines: list[str] = []
        self.seen: list[TrainingOperation] = []
        self._manifest, self._folder, self._variables = manifest, folder, variables

    def run(self, *, cancel_when_reported: bool = False, now: bool = False) -> TrainingOperation:
        deadline = time.monotonic() + 60
        with LocalFeed(self._manifest, self._variables, self._folder) as feed:
            while time.monotonic() < deadline:
                event = feed.next(0.1)
                if isinstance(event, Said):
                    self.lines.append(event.line)
                if not isinstance(event, Seen):
                    continue
                self.seen.append(event.operation)
                if event.operation.is_final:
                    return event.operation
                if cancel_when_reported and event.operation.status.progress is not None:
                    cancel_when_reported = False
                    feed.cancel(now=False)
                    if now:
                        feed.cancel(now=True)
        raise AssertionError("the child did not end")


def test_a_command_is_read_as_in_a_pod(tmp_path: Path) -> None:
    child = Child(custom("echo", "$(WHO) $$(WHO) $(NOBODY) $$"), tmp_path, WHO="me")
    assert child.run().phase.value == "Succeeded"
    assert child.lines == ["me $(WHO) $(NOBODY) $"]


def test_a_child_gets_what_a_trainer_pod_gets(tmp_path: Path) -> None:
    code = (
        "import os; print(os.environ['HEADWAY_OPERATION_TYPE'], os.environ['HEADWAY_WORKSPACE'], "
        "os.environ['EXTRA']); print(os.environ['HEADWAY_OPERATION_PARAMETERS'])"
    )
    child = Child(python(code), tmp_path, EXTRA="1")
    ended = child.run()
    assert ended.phase == "Succeeded"
    assert child.lines[0] == f"Custom {tmp_path} 1"
    assert json.loads(child.lines[1])["command"][0] == sys.executable


def test_a_child_that_fails_has_failed_with_its_code(tmp_path: Path) -> None:
    child = Child(python("import sys; print('so'); sys.exit(3)"), tmp_path)
    ended = child.run()
    assert ended.phase == "Failed"
    assert ended.status.result is not None
    assert ended.status.result.exit_code == 3
    assert child.lines == ["so"]


def test_a_claim_of_success_with_exit_code_1_has_failed(tmp_path: Path) -> None:
    code = REPORTING + "tell(progress=progress(1), report={'status': 'success'}); sys.exit(1)"
    assert Child(python(code), tmp_path).run().phase == "Failed"


def test_progress_arrives_while_the_child_runs(tmp_path: Path) -> None:
    code = REPORTING + "tell(progress=progress(1)); time.sleep(0.5); tell(progress=progress(2))"
    child = Child(python(code), tmp_path)
    child.run()
    steps = [o.status.progress.step for o in child.seen if o.status.progress is not None]
    assert steps[0] == 1
    assert steps[-1] == 2


def test_a_cancel_is_ctrl_c_and_ends_gracefully(tmp_path: Path) -> None:
    ended = Child(python(STOPPABLE), tmp_path).run(cancel_when_reported=True)
    assert ended.phase == "Cancelled"
    assert ended.status.cancellation is not None
    assert ended.status.cancellation.outcome == "Graceful"
    assert ended.status.report is not None
    assert ended.status.report.epochs_completed == 2


def test_a_cancel_reaches_a_run_that_a_script_has_in_its_background(tmp_path: Path) -> None:
    """Where a shell without job control has us ignore SIGINT, as it does with ``&``."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
        child = Child(python(code), tmp_path)
        assert child.run().phase == "Succeeded"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert child.lines == ["True"]


def test_a_child_that_ignores_ctrl_c_is_ended_when_asked_again(tmp_path: Path) -> None:
    code = (
        REPORTING + "signal.signal(signal.SIGINT, signal.SIG_IGN); tell(progress=progress(1))\n"
        "while True: time.sleep(1)"
    )
    ended = Child(python(code), tmp_path).run(cancel_when_reported=True, now=True)
    assert ended.phase == "Cancelled"
    assert ended.status.cancellation is not None
    assert ended.status.cancellation.outcome == "Forced"


def test_a_child_that_ignores_ctrl_c_is_ended_when_its_grace_is_over(tmp_path: Path) -> None:
    code = (
        REPORTING + "signal.signal(signal.SIGINT, signal.SIG_IGN); tell(progress=progress(1))\n"
        "while True: time.sleep(1)"
    )
    manifest = python(code)
    manifest["spec"]["cancelGracePeriodSeconds"] = 1
    ended = Child(manifest, tmp_path).run(cancel_when_reported=True)
    assert ended.phase == "Cancelled"
    assert ended.status.cancellation is not None
    assert ended.status.cancellation.outcome == "Forced"


def test_a_cancel_that_came_too_late_is_a_success(tmp_path: Path) -> None:
    code = REPORTING + (
        "signal.signal(signal.SIGINT, signal.SIG_IGN); tell(progress=progress(1)); "
        "time.sleep(0.5); tell(progress=progress(2), report={'status': 'success'})"
    )
    ended = Child(python(code), tmp_path).run(cancel_when_reported=True)
    assert ended.phase == "Succeeded"
    assert ended.status.cancellation is not None
    assert ended.status.cancellation.outcome == "TooLate"


def test_a_child_does_not_outlive_the_program(tmp_path: Path) -> None:
    here = tmp_path / "pid"
    script = f"import os, time; open({str(here)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    command = [sys.executable, "-m", "headway_cli", "run", "custom", "--local", "--"]
    program = subprocess.Popen(
        [*command, sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE
    )
    try:
        pid = eventually(lambda: int(here.read_text()), within=30, why="the child runs")
        program.terminate()
        assert program.wait(30) == 128 + signal.SIGTERM
        assert not pid_lives(pid)
    finally:
        program.kill()
        program.communicate()


def test_checkpoints_are_kept_as_the_spec_says(tmp_path: Path) -> None:
    manifest = python("import os; print(os.environ['HEADWAY_CHECKPOINT_EVERY_EPOCHS'])")
    manifest["spec"]["checkpoint"] = {"everyEpochs": 3}
    child = Child(manifest, tmp_path)
    child.run()
    assert child.lines == ["3"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "Dumy"}, r"The run a is not valid\."),
        ({"workers": 3}, "several workers need a cluster"),
        ({"custom": {}}, "there has to be a spec.custom.command"),
    ],
)
def test_what_cannot_run_here_is_refused_before_anything_runs(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    manifest = python(f"open({str(tmp_path / 'ran')!r}, 'w')")
    manifest["spec"] |= change
    with pytest.raises(Problem, match=told) as caught:
        LocalFeed(manifest, {}, tmp_path)
    assert caught.value.code is ExitCode.USAGE
    assert not (tmp_path / "ran").exists()


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no-such-program cannot be started") as caught:
        LocalFeed(custom("no-such-program"), {}, tmp_path)
    assert caught.value.code is ExitCode.USAGE


def test_built_in_kinds_run_as_they_do_in_a_pod() -> None:
    assert command_of({"type": "Dummy", "dummy": {}})[1:] == ["-m", "headway_trainer"]
    entry = {"type": "Custom", "custom": {"entrypoint": "a:b"}}
    assert command_of(entry)[1:] == ["-m", "headway", "exec"]
    with pytest.raises(Problem, match="ConfigMap needs a cluster"):
        command_of(
            {"type": "Training", "training": {"strategy": {"configMapKeyRef": {"name": "a"}}}}
        )

"""The real program against a real cluster, on a pseudo-terminal and in pipes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
import warm
from headway_api.version import __version__
from kubectl import Kubectl, dummy

Run = Callable[..., subprocess.CompletedProcess[str]]


class Session:
    """The program on a terminal: what stands on the screen, and keys for it."""

    def __init__(self, args: tuple[str, ...], env: dict[str, str], columns: int) -> None:
        self._screen = pyte.Screen(columns, 40)
        self._stream = pyte.ByteStream(self._screen)
        self._child = pexpect.spawn(
            warm.PROGRAM,
            list(args),
            env={**env, "TERM": "xterm-256color"},
            dimensions=(40, columns),
        )

    def _read(self, timeout: float) -> bool:
        try:
            self._stream.feed(self._child.read_nonblocking(65536, timeout))
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        return True

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def until(self, pattern: str, within: float = 60) -> re.Match[str]:
        """Wait until the screen shows something."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            alive = self._read(0.1)
            if found := re.search(pattern, self.text):
                return found
            if not alive:
                break
        raise AssertionError(f"never seen: {pattern}; the screen:\n{self.text}")

    def press(self, key: str) -> None:
        """Press a key."""
        self._child.send(key)

    def end(self, within: float = 60) -> int:
        """Wait for the program's end; returns its exit code."""
        deadline = time.monotonic() + within
        while self._read(0.1):
            if time.monotonic() > deadline:
                raise AssertionError(f"it goes on; the screen:\n{self.text}")
        self._child.close()
        return int(self._child.exitstatus)

    def close(self) -> None:
        """Leave nothing running."""
        self._child.close(force=True)


@pytest.fixture
def terminal(cluster, kubectl: Kubectl) -> Iterator[Callable[..., Session]]:
    """Start the program on a terminal, in the test's namespace."""
    sessions = []

    def start(*args: str, columns: int = 80) -> Session:
        env = {**cluster.environment(), "HEADWAY_NAMESPACE": kubectl.namespace}
        sessions.append(Session(args, env, columns))
        return sessions[-1]

    yield start
    for session in sessions:
        session.close()


@pytest.mark.parametrize("columns", [80, 200])
def test_a_run_is_followed_to_its_end_in_place(columns: int, terminal, kubectl: Kubectl) -> None:
    session = terminal("run", "dummy", "--iterations", "24", "--interval", "0.4", columns=columns)
    session.until(r"Running .*Dummy +24 iterations")
    session.until(r"iteration ━+.* \d+% +\d+/24")
    session.until(r"last update \ds ago")
    assert session.text.count("Ctrl-C: detach or cancel") == 1
    assert session.end() == 0
    assert "Succeeded after" in session.text
    assert "24 iterations" in session.text
    assert "headway logs dummy-" in session.text
    assert "Ctrl-C" not in session.text


def test_ctrl_c_asks_and_enter_detaches_while_the_run_goes_on(terminal, kubectl: Kubectl) -> None:
    session = terminal("run", "dummy", "--name", "d", "--interval", "1")
    session.until(r"Running .*Dummy")
    session.until(r"iteration ━+.*/100")
    session.press("\x03")
    session.until(r"Leave it running\?")
    assert kubectl.phase("d") == "Running"
    session.press("\r")
    assert session.end() == 130
    assert "Detached: d goes on (Running)." in session.text
    assert kubectl.phase("d") == "Running"


def test_ctrl_c_and_c_cancel_the_run(terminal, kubectl: Kubectl) -> None:
    session = terminal("run", "dummy", "--name", "c", "--interval", "1")
    session.until(r"iteration ━+.*/100")
    session.press("\x03")
    session.until(r"\[c\]ancel it")
    session.press("c")
    assert session.end() == 3
    assert "Graceful: the trainer stopped by itself" in session.text
    assert kubectl.phase("c") == "Cancelled"


def test_a_run_that_is_cancelled_elsewhere_is_seen_to_end(terminal, kubectl: Kubectl) -> None:
    kubectl.apply(dummy("elsewhere", 1000, 0.1))
    session = terminal("watch", "elsewhere")
    session.until(r"iteration ━+.*/1000")
    kubectl.cancel("elsewhere", cancelReason="by kubectl")
    assert session.end() == 3
    assert "by kubectl" in session.text


def test_a_run_that_is_deleted_while_it_is_watched_is_told(terminal, kubectl: Kubectl) -> None:
    kubectl.apply(dummy("gone", 1000, 0.1))
    session = terminal("watch", "gone")
    session.until(r"iteration ━+.*/1000")
    kubectl("delete", "trainop", "gone", "--wait=false")
    assert session.end() == 4
    assert "gone was deleted while it was followed" in session.text


def test_a_pipe_gets_plain_lines_and_the_outcome(headway: Run) -> None:
    done = headway("run", "dummy", "--iterations", "3", "--interval", "0.3", "--follow")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "Running  Dummy task (iteration 1/3)" in done.stdout
    assert re.search(r"^dummy-\w+ Succeeded after", done.stdout, re.MULTILINE)


def test_a_pipe_does_not_follow_unless_asked(headway: Run, kubectl: Kubectl) -> None:
    done = headway("run", "dummy", "--name", "quick", "--iterations", "1")
    assert done.stdout == f"quick created in namespace {kubectl.namespace}\n"
    assert done.stderr == ""


def test_list_get_and_names(headway: Run, kubectl: Kubectl) -> None:
    assert "There is no operation" in headway("list").stderr
    kubectl.apply(dummy("a", 1, 0))
    kubectl.wait_for_phase("a", "Succeeded")
    kubectl.apply(dummy("b", 1000, 0.1))
    kubectl.wait_for_phase("b", "Running")
    lines = headway("list").stdout.splitlines()
    assert lines[0].split()[:3] == ["NAME", "TYPE", "PHASE"]
    assert [line.split()[0] for line in lines[1:]] == ["a", "b"]
    assert headway("list", "-o", "name").stdout.split() == [
        "trainingoperation.headway.dev/a",
        "trainingoperation.headway.dev/b",
    ]
    assert headway("list", "--phase", "running", "-o", "name").stdout.endswith("/b\n")
    everywhere = headway("list", "-A").stdout
    assert kubectl.namespace in everywhere
    one = json.loads(headway("get", "trainop/a", "-o", "json").stdout)
    assert one["status"]["phase"] == "Succeeded"
    assert "managedFields" not in one["metadata"]
    assert json.loads(headway("get", "@latest", "-o", "json").stdout)["metadata"]["name"] == "b"
    told = headway("get", "b").stdout
    assert "b  Running" in told
    assert re.search(r"Pod +b-a1-\w{5}", told)


def test_tab_offers_the_operations_that_a_command_is_for(cluster, kubectl: Kubectl) -> None:
    kubectl.apply(dummy("rests", suspend=True), dummy("rests-too", suspend=True))
    kubectl.apply(dummy("waits", queueName="nobody"))

    def offered(*typed: str) -> list[str]:
        words = ("headway", *typed)
        script = (
            "source <(headway completion bash)\n"
            f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
            '_headway_completion headway; echo "${COMPREPLY[@]}"\n'
        )
        return subprocess.run(
            ["bash", "-c", script],
            env=cluster.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()

    here = ("-n", kubectl.namespace)
    assert offered("resume", *here, "r") == ["rests", "rests-too"]
    assert offered("resume", *here, "rests", "rests") == ["rests-too"]
    assert offered("suspend", *here, "''") == ["waits"]
    assert offered("get", *here, "wa") == ["waits"]


def test_cancel_waits_and_tells_how_it_went(headway: Run, kubectl: Kubectl) -> None:
    kubectl.apply(dummy("c", 1000, 0.1))
    kubectl.wait_for(
        "c", lambda o: o.get("status", {}).get("progress"), why="the trainer has reported"
    )
    done = headway("cancel", "c", "--wait", "--reason", "enough")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"c Cancelled after .* \(Graceful: .*\)\n", done.stdout)
    assert kubectl.operation("c")["status"]["cancellation"]["reason"] == "enough"
    again = headway("cancel", "c")
    assert again.returncode == 0
    assert "is Cancelled already" in again.stdout


def test_cancel_by_labels(headway: Run, kubectl: Kubectl) -> None:
    for name in ("x", "y"):
        done = headway("submit", "dummy", "--name", name, "--label", "team=z", "--iterations", "99")
        assert done.returncode == 0, done.stderr
    done = headway("cancel", "-l", "team=z", "--wait", "--now")
    assert done.returncode == 0, done.stderr
    assert {kubectl.phase("x"), kubectl.phase("y")} == {"Cancelled"}


def test_wait_says_the_outcome(headway: Run, kubectl: Kubectl) -> None:
    kubectl.apply(dummy("ok", 1, 0))
    assert headway("wait", "ok").returncode == 0
    bad = headway(
        "run", "custom", "--name", "bad", "--follow", "--", "sh", "-c", "echo why; exit 7"
    )
    assert bad.returncode == 1
    assert "exit code 7" in bad.stdout
    assert headway("wait", "bad").returncode == 1
    kubectl.apply(dummy("long", 1000, 1))
    assert headway("wait", "long", "--for", "Running").returncode == 0
    late = headway("wait", "long", "--timeout", "1")
    assert late.returncode == 124
    assert "long is still Running after 1 s." in late.stderr
    assert "headway get long" in late.stderr


def test_logs_are_those_of_the_trainer(headway: Run, kubectl: Kubectl) -> None:
    script = "for i in 1 2 3; do echo line $i; sleep 0.3; done"
    headway("submit", "custom", "--name", "talks", "--", "sh", "-c", script, check=True)
    followed = headway("logs", "talks", "-f")
    assert followed.stdout.splitlines() == ["line 1", "line 2", "line 3"]
    kubectl.wait_for_phase("talks", "Succeeded")
    assert headway("logs", "talks", "--tail", "1").stdout == "line 3\n"


def test_what_a_failed_run_said_is_there_after_its_pod(headway: Run, kubectl: Kubectl) -> None:
    headway("submit", "custom", "--name", "dies", "--", "sh", "-c", "echo last words; exit 1")
    assert headway("wait", "dies").returncode == 1
    kubectl("delete", "pods", "-l", "headway.dev/operation=dies", "--wait=true")
    done = headway("logs", "dies")
    assert done.stdout == "last words\n"
    assert "is gone" in done.stderr


def test_delete_stops_and_removes(headway: Run, kubectl: Kubectl) -> None:
    kubectl.apply(dummy("d", 1000, 0.1))
    kubectl.wait_for_phase("d", "Running")
    done = headway("delete", "d")
    assert (done.returncode, done.stdout) == (0, "d deleted\n")
    assert headway("get", "d").returncode == 4


def test_errors_name_the_object_the_reason_and_the_next_thing(
    headway: Run, kubectl: Kubectl, tmp_path: Path
) -> None:
    missing = headway("get", "nope")
    assert missing.returncode == 4
    assert f"Cannot get operation nope in namespace {kubectl.namespace}" in missing.stderr
    assert "Next: headway list" in missing.stderr
    refused = headway("submit", "dummy", "--iterations", "0")
    assert refused.returncode == 6
    assert "spec.dummy.iterations: should be greater than or equal to 1" in refused.stderr
    file = tmp_path / "run.yaml"
    file.write_text(
        "apiVersion: headway.dev/v1alpha1\nkind: TrainingOperation\nmetadata: {name: t}\n"
        "spec: {type: Dummy, dummy: {iteration: 1}}\n",
        encoding="utf-8",
    )
    typo = headway("submit", "-f", str(file))
    assert typo.returncode == 2
    assert "did you mean spec.dummy.iterations?" in typo.stderr
    kubectl.apply(dummy("taken", 1, 0))
    taken = headway("submit", "dummy", "--name", "taken")
    assert taken.returncode == 6
    assert "the name is taken" in taken.stderr
    for done in (missing, refused, typo, taken):
        assert "Traceback" not in done.stderr


def test_an_example_runs_from_its_file(headway: Run, kubectl: Kubectl) -> None:
    manifest = dummy("file", 2, 0.1)
    done = headway("run", "-f", "-", "--follow", stdin=json.dumps(manifest))
    assert done.returncode == 0, done.stderr
    assert "file Succeeded" in done.stdout


def test_doctor_finds_all_well(headway: Run) -> None:
    done = headway("doctor")
    assert done.returncode == 0, done.stdout
    assert f"headway/operator:{__version__} is at work" in done.stdout
    findings = json.loads(headway("doctor", "--json").stdout)
    assert {finding["verdict"] for finding in findings} == {"good"}


def test_installing_again_changes_nothing(headway: Run, cluster) -> None:
    before = cluster.kubectl("headway-system").get("deployment", "headway-operator")
    done = headway("install")
    assert done.returncode == 0, done.stderr
    after = cluster.kubectl("headway-system").get("deployment", "headway-operator")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert "Headway is installed." in done.stderr


def test_the_manifests_can_be_printed(headway: Run) -> None:
    done = headway("install", "--print")
    assert "kind: CustomResourceDefinition" in done.stdout
    assert "kind: Deployment" in done.stdout


def test_a_run_without_any_cluster(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
    done = subprocess.run(
        [warm.PROGRAM, "run", "dummy", "--local", "--iterations", "3", "--interval", "0.2"],
        env={**env, "HOME": str(tmp_path), "HEADWAY_HOME": str(tmp_path / "h")},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Succeeded after" in done.stdout
    assert "3 iterations" in done.stdout

"""The operator killed at every phase, two of them at once, watches that are cut."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import yaml
from clusters import OPERATOR_NAMESPACE, Cluster
from kubectl import Kubectl, dummy, operation
from operators import operator_away
from waiting import eventually

STUBBORN = """
import headway, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with headway.operation() as op:
    op.progress(1, 2)
    while True:
        time.sleep(0.05)
"""


def python(name: str, code: str, **spec) -> dict:
    return operation(name, "Custom", custom={"command": ["python", "-c", code]}, **spec)


def one_attempt(kubectl: Kubectl, name: str) -> None:
    """Whatever happened, there was one Job, and one pod of it."""
    assert [j["metadata"]["name"] for j in kubectl.items("jobs")] == [f"{name}-a1"]
    assert len(kubectl.pods_of(name)) <= 1
    assert kubectl.operation(name)["status"]["attempt"] == 1


def test_killed_before_it_made_anything(cluster: Cluster, kubectl):
    cluster.crash_operator()
    kubectl.apply(dummy("run", iterations=3, interval=0.05))
    kubectl.wait_for_phase("run", "Succeeded")
    one_attempt(kubectl, "run")


@pytest.mark.parametrize("phase", ["Starting", "Running"])
def test_killed_while_a_run_is(cluster: Cluster, kubectl, phase):
    kubectl.apply(dummy("run", iterations=8, interval=0.25))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("phase") in (phase, "Running"))
    cluster.crash_operator()
    status = kubectl.wait_for_phase("run", "Succeeded")["status"]
    assert status["report"]["iterationsCompleted"] == 8
    one_attempt(kubectl, "run")


def test_killed_while_a_run_waits_for_a_node(cluster: Cluster, kubectl):
    kubectl.apply(
        dummy("run", podTemplate={"spec": {"nodeSelector": {"no-such": "node"}}}),
    )
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("reason") == "Unschedulable")
    cluster.crash_operator()
    kubectl.cancel("run")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "BeforeStart"
    assert not kubectl.pods_of("run")


def test_killed_while_it_cancels(cluster: Cluster, kubectl):
    kubectl.apply(python("run", STUBBORN, cancelGracePeriodSeconds=3))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    kubectl.cancel("run")
    kubectl.wait_for_phase("run", "Cancelling")
    requested = kubectl.operation("run")["status"]["cancellation"]["requestedAt"]
    cluster.crash_operator()
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Forced"
    assert status["cancellation"]["requestedAt"] == requested
    one_attempt(kubectl, "run")


@pytest.mark.parametrize(
    ("code", "phase"),
    [
        ("import headway\nwith headway.operation() as op: pass", "Succeeded"),
        ("raise SystemExit(3)", "Failed"),
    ],
)
def test_a_run_that_ends_while_it_is_away_is_told_truly(
    cluster: Cluster, kubectl, tmp_path, code, phase
):
    gate = tmp_path / "gate"
    wait = f"import time, pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)"
    kubectl.apply(python("run", f"{wait}\n{code}"))
    kubectl.wait_for_phase("run", "Running")
    with operator_away(cluster.kubectl):
        gate.touch()
        pod = kubectl.pods_of("run")[0]["metadata"]["name"]
        ended = "--for=jsonpath={.status.containerStatuses[0].state.terminated}"
        kubectl("wait", f"pod/{pod}", ended, "--timeout=60s")
        assert kubectl.phase("run") == "Running"
    status = kubectl.wait_for_phase("run", phase)["status"]
    assert status["result"]["exitCode"] == (0 if phase == "Succeeded" else 3)
    one_attempt(kubectl, "run")


def test_a_cancel_while_it_is_away_is_not_lost(cluster: Cluster, kubectl):
    kubectl.apply(dummy("run", iterations=1000, interval=0.1))
    kubectl.wait_for_phase("run", "Running")
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    with operator_away(cluster.kubectl):
        kubectl.cancel("run")
        kubectl.wait_for(
            "run", lambda o: o["status"].get("report", {}).get("status") == "cancelled"
        )
        assert kubectl.phase("run") == "Running"
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"


def test_a_cut_of_every_watch_loses_no_cancel(cluster: Cluster, kubectl):
    kubectl.apply(dummy("run", iterations=1000, interval=0.1))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    cluster.local.control_plane.restart("kube-apiserver", away=0)
    kubectl.cancel("run")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"


@pytest.fixture
def second_operator(cluster: Cluster, tmp_path):
    """Another operator beside the one that is installed, with the same rights."""
    kubectl = cluster.kubectl(OPERATOR_NAMESPACE)
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": kubectl("create", "token", "headway-operator").strip()}
    file = tmp_path / "operator.yaml"
    file.write_text(yaml.safe_dump(config))
    said = tmp_path / "operator.log"
    log = said.open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "headway_operator", "--kubeconfig", str(file), "--port", "0"],
        stdout=log,
        stderr=log,
    )
    try:
        eventually(lambda: "at work" in said.read_text(), within=90, why="the second is at work")
        yield process
        assert process.poll() is None, said.read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def test_two_operators_at_once_come_to_the_same_ends(second_operator, kubectl):
    wanted = {
        **{f"good{n}": "Succeeded" for n in range(4)},
        **{f"bad{n}": "Failed" for n in range(2)},
        **{f"stop{n}": "Cancelled" for n in range(3)},
    }
    made = []
    for name in wanted:
        if name.startswith("bad"):
            made.append(python(name, "raise SystemExit(1)"))
        else:
            iterations = 1000 if name.startswith("stop") else 5
            made.append(dummy(name, iterations=iterations, interval=0.1))
    kubectl.apply(*made)
    for name in (n for n in wanted if n.startswith("stop")):
        kubectl.wait_for(name, lambda o: o.get("status", {}).get("progress"))
        kubectl.cancel(name)
    for name, phase in wanted.items():
        kubectl.wait_for_phase(name, phase)
    assert len(kubectl.items("jobs")) == len(wanted)
    assert len(kubectl.items("pods")) == len(wanted)


def test_a_pod_of_an_older_attempt_cannot_speak_and_stops_itself(cluster: Cluster, kubectl):
    kubectl.apply(dummy("run", iterations=1000, interval=0.1))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    pod = kubectl.pods_of("run")[0]["metadata"]["name"]
    with operator_away(cluster.kubectl):
        patch = '{"status":{"attempt":2}}'
        kubectl("patch", "trainop", "run", "--subresource=status", "--type=merge", "-p", patch)
        before = kubectl.operation("run")["status"]["progress"]
        exit_code = "{.status.containerStatuses[0].state.terminated.exitCode}"
        kubectl("wait", f"pod/{pod}", f"--for=jsonpath={exit_code}=143", "--timeout=60s")
        assert kubectl.operation("run")["status"]["progress"] == before
        assert "report" not in kubectl.operation("run")["status"]
        kubectl("delete", "trainop", "run")


def test_a_restarted_node_agent_goes_on_with_what_runs(cluster: Cluster, kubectl):
    kubectl.apply(dummy("run", iterations=20, interval=0.25))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    node = cluster.local.node()
    node.kill()
    node.start()
    status = kubectl.wait_for_phase("run", "Succeeded")["status"]
    assert status["report"]["iterationsCompleted"] == 20
    one_attempt(kubectl, "run")


@contextmanager
def frozen(cluster: Cluster, program: str) -> Iterator[None]:
    """A program of the control plane that does nothing for a while."""
    pid = cluster.local.control_plane.pid(program)
    assert pid is not None
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.slow
def test_a_job_controller_that_keeps_a_failure_to_itself_does_not_hold_a_run_up(cluster, kubectl):
    kubectl.apply(dummy("run", iterations=1000, interval=0.2))
    kubectl.wait_for_phase("run", "Running")
    [pod] = [p["metadata"]["name"] for p in kubectl.pods_of("run")]
    with frozen(cluster, "kube-controller-manager"):
        counted = '{"status": {"failed": 1}}'
        kubectl("patch", "job", "run-a1", "--subresource=status", "--type=merge", "-p", counted)
        kubectl("patch", "pod", pod, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        kubectl("delete", "pod", pod, "--force", "--grace-period=0")
        found = kubectl.wait_for("run", lambda o: o["status"]["attempt"] == 2, within=90)
        assert "conditions" not in kubectl.get("job", "run-a1")["status"]
    assert found["status"]["attempts"][0]["reason"] == "Disrupted"
    kubectl.wait_for_phase("run", "Running")
    kubectl.cancel("run")
    kubectl.wait_for_phase("run", "Cancelled")

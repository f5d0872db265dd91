"""From kubectl apply to a final phase, on a real control plane, with real processes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from kubectl import dummy, operation
from waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


def progress_of(found):
    return found.get("status", {}).get("progress") or {}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_dummy_run_reports_its_iterations_and_succeeds(kubectl):
    kubectl.apply_by_hand(dummy("count", iterations=4, interval=0.3))
    done = kubectl.wait_for_phase("count", "Succeeded")
    status = done["status"]
    assert status["report"]["status"] == "success"
    assert status["report"]["iterationsCompleted"] == 4
    assert status["progress"]["percent"] == 100
    assert status["progress"]["message"] == "Dummy task (iteration 4/4)"
    assert status["result"]["reason"] == "Completed"
    assert status["result"]["exitCode"] == 0
    assert status["attempt"] == 1
    assert status["attempts"][0]["job"] == "count-a1"
    assert at(status["startTime"]) <= at(status["completionTime"])


def test_progress_is_seen_while_it_runs(kubectl):
    kubectl.apply(dummy("moving", iterations=1000, interval=0.2))
    first = kubectl.wait_for(
        "moving", lambda o: progress_of(o).get("step", 0) >= 1 and o["status"]["phase"] == "Running"
    )
    later = kubectl.wait_for(
        "moving", lambda o: progress_of(o).get("step", 0) > progress_of(first)["step"]
    )
    assert progress_of(later)["sequence"] > progress_of(first)["sequence"]
    assert progress_of(later)["context"]["total_iterations"] == 1000
    kubectl.cancel("moving")
    kubectl.wait_for_phase("moving", "Cancelled")


def test_a_cancel_ends_it_gracefully_with_a_receipt(kubectl):
    kubectl.apply(dummy("stopme", iterations=1000, interval=0.2))
    kubectl.wait_for("stopme", lambda o: progress_of(o).get("step", 0) >= 2)
    kubectl.cancel("stopme", cancelReason="enough seen")
    status = kubectl.wait_for_phase("stopme", "Cancelled")["status"]
    receipt = status["cancellation"]
    assert receipt["outcome"] == "Graceful"
    assert receipt["reason"] == "enough seen"
    assert {"requestedAt", "acknowledgedAt", "podsGoneAt"} <= set(receipt)
    assert status["report"]["status"] == "cancelled"
    assert status["report"]["iterationsCompleted"] >= 2
    assert status["result"]["exitCode"] == 0
    for pod in kubectl.pods_of("stopme"):
        assert pod["status"]["phase"] in ("Succeeded", "Failed")


def test_a_program_without_the_sdk_leaves_its_log_and_a_job_that_tells_that_it_was_cancelled(
    kubectl,
):
    script = "echo epoch 1; exec sleep 600"
    kubectl.apply(operation("deaf", "Custom", custom={"command": ["sh", "-c", script]}))
    kubectl.wait_for_phase("deaf", "Running")
    eventually(lambda: "epoch 1" in kubectl("logs", "job/deaf-a1"), within=30, why="it has printed")
    kubectl.cancel("deaf")
    status = kubectl.wait_for_phase("deaf", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["lastLogs"]["text"] == "epoch 1\n"
    eventually(lambda: not kubectl.pods_of("deaf"), within=30, why="the pod is gone")

    def told():
        [job] = kubectl.items("jobs")
        return any(c["type"] == "Failed" for c in job["status"].get("conditions") or ())

    eventually(told, within=30, why="its Job has failed")


def test_what_a_finished_run_says_stays_after_its_pods_are_gone(kubectl):
    kubectl.apply(dummy("history", iterations=2, interval=0.05))
    before = kubectl.wait_for_phase("history", "Succeeded")["status"]
    kubectl("delete", "job", "history-a1")
    eventually(lambda: not kubectl.pods_of("history"), within=30, why="the pods are gone")
    after = kubectl.operation("history")["status"]
    assert after == before


def test_deleting_the_resource_stops_the_run_and_leaves_nothing(kubectl):
    kubectl.apply(
        dummy(
            "gone",
            iterations=1000,
            interval=0.2,
            storage={"claimTemplate": {"size": "10Mi"}},
        )
    )
    kubectl.wait_for_phase("gone", "Running")
    kubectl("delete", "trainop", "gone")
    for kind in ("jobs", "pods", "persistentvolumeclaims"):
        # The garbage collector learns of a new kind of owner half a minute after its CRD.
        eventually(lambda kind=kind: not kubectl.items(kind), within=90, why=f"no {kind} left")


def test_applying_a_manifest_again_does_nothing(kubectl):
    manifest = dummy("again", iterations=1000, interval=0.5)
    kubectl.apply_by_hand(manifest)
    kubectl.wait_for_phase("again", "Running")
    generation = kubectl.operation("again")["metadata"]["generation"]
    kubectl.apply_by_hand(manifest)
    assert kubectl.operation("again")["metadata"]["generation"] == generation
    kubectl.cancel("again")
    kubectl.wait_for_phase("again", "Cancelled")
    kubectl.apply_by_hand(manifest)
    found = kubectl.operation("again")
    assert found["spec"]["cancel"] is True
    assert found["status"]["phase"] == "Cancelled"
    assert len(kubectl.items("jobs")) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "Dumy"}, "Unsupported value"),
        ({"iterations": 3}, 'unknown field "spec.iterations"'),
        ({"custom": {"command": ["true"]}}, "type Dummy needs the member struct dummy"),
        ({"dummy": {"iterations": 0}}, "greater than or equal to 1"),
    ],
)
def test_bad_input_is_refused_where_it_enters(kubectl, change, said):
    manifest = dummy("bad")
    manifest["spec"].update(change)
    assert said in kubectl.refused(manifest)


def test_a_cancel_cannot_be_taken_back(kubectl):
    manifest = dummy("cancelled", cancel=True)
    kubectl.apply(manifest)
    kubectl.wait_for_phase("cancelled", "Cancelled")
    manifest["spec"]["cancel"] = False
    assert "a cancel cannot be taken back" in kubectl.refused(manifest)


def test_a_script_with_headway_operation_runs_unchanged_in_a_pod(kubectl):
    script = ROOT / "examples" / "scripts" / "fit_line.py"
    kubectl.apply(
        operation(
            "script",
            "Custom",
            custom={
                "command": ["python", str(script), "--epochs", "3", "--seconds-per-batch", "0"]
            },
        )
    )
    status = kubectl.wait_for_phase("script", "Succeeded")["status"]
    assert status["report"]["epochsCompleted"] == 3
    assert [p["step"] for p in status["history"]] == [1, 2, 3]
    assert all("loss" in p["metrics"] for p in status["history"])
    assert status["progress"]["context"]["current_epoch"] == 3
    pod = kubectl.pods_of("script")[0]["metadata"]["name"]
    assert "done: y = " in kubectl("logs", pod)


def test_a_script_is_cancelled_at_its_next_batch(kubectl):
    script = ROOT / "examples" / "scripts" / "fit_line.py"
    kubectl.apply(
        operation(
            "script",
            "Custom",
            custom={"command": ["python", str(script), "--epochs", "1000"]},
        )
    )
    kubectl.wait_for("script", lambda o: progress_of(o).get("step", 0) >= 60)
    kubectl.cancel("script")
    status = kubectl.wait_for_phase("script", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["report"]["epochsCompleted"] >= 1


def test_a_program_in_another_language_reports_with_headway_report(kubectl):
    code = """
    for i in 1 2 3; do headway report --step $i --total 3 --metric loss=0.$i --epoch-end $i; done
    headway report --step 3 --total 3 --message finished --status success --result answer=42
    """
    kubectl.apply(operation("shell", "Custom", custom={"command": ["bash", "-c", code]}))
    status = kubectl.wait_for_phase("shell", "Succeeded")["status"]
    assert status["progress"]["message"] == "finished"
    assert status["report"]["summary"] == {"answer": 42}
    assert [p["step"] for p in status["history"]] == [1, 2, 3]


def test_a_program_without_the_sdk_gets_sigterm_at_once(kubectl):
    code = "trap 'echo terminated; exit 3' TERM; echo ready; while true; do sleep 0.1; done"
    kubectl.apply(operation("foreign", "Custom", custom={"command": ["bash", "-c", code]}))
    kubectl.wait_for_phase("foreign", "Running")
    pod = kubectl.pods_of("foreign")[0]["metadata"]["name"]
    eventually(lambda: "ready" in kubectl("logs", pod), within=20, why="it runs")
    kubectl.cancel("foreign")
    status = kubectl.wait_for_phase("foreign", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"


def test_a_trainer_that_does_not_stop_is_ended_after_its_grace(kubectl):
    code = """
import headway, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with headway.operation() as op:
    op.progress(1, 2)
    while True:
        time.sleep(0.1)
"""
    kubectl.apply(
        operation(
            "stubborn",
            "Custom",
            custom={"command": ["python", "-c", code]},
            cancelGracePeriodSeconds=1,
        )
    )
    kubectl.wait_for("stubborn", lambda o: progress_of(o).get("step") == 1)
    kubectl.cancel("stubborn")
    status = kubectl.wait_for_phase("stubborn", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Forced"
    assert at(status["cancellation"]["podsGoneAt"]) >= at(status["cancellation"]["deadline"])


def test_an_error_in_a_script_is_told_with_its_last_lines(kubectl):
    code = "import headway\nwith headway.operation() as op:\n    raise ValueError('bad data')\n"
    kubectl.apply(operation("broken", "Custom", custom={"command": ["python", "-c", code]}))
    status = kubectl.wait_for_phase("broken", "Failed")["status"]
    assert status["result"]["exitCode"] == 1
    assert status["report"]["error"] == {
        **status["report"]["error"],
        "type": "ValueError",
        "message": "bad data",
    }
    assert "ValueError: bad data" in status["lastLogs"]["text"]


def test_a_claim_of_success_with_exit_code_1_has_failed(kubectl):
    code = "import headway, sys\nwith headway.operation() as op:\n    pass\nsys.exit(1)\n"
    kubectl.apply(operation("liar", "Custom", custom={"command": ["python", "-c", code]}))
    status = kubectl.wait_for_phase("liar", "Failed")["status"]
    assert status["result"]["exitCode"] == 1
    assert status["report"]["status"] == "success"


def test_too_much_memory_is_named(kubectl):
    code = "x = bytearray(300_000_000)\nimport time\ntime.sleep(60)\n"
    kubectl.apply(
        operation(
            "hungry",
            "Custom",
            custom={"command": ["python", "-c", code]},
            resources={"limits": {"memory": "100Mi"}},
        )
    )
    status = kubectl.wait_for_phase("hungry", "Failed")["status"]
    assert status["result"]["reason"] == "OOMKilled"


def test_a_cancel_before_it_starts_starts_nothing(kubectl):
    kubectl.apply(dummy("never", cancel=True))
    status = kubectl.wait_for_phase("never", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "BeforeStart"
    assert not kubectl.items("jobs")
    assert not kubectl.items("pods")


def test_an_entrypoint_that_cannot_be_imported_says_so(kubectl):
    kubectl.apply(operation("typo", "Custom", custom={"entrypoint": "no_such_package:main"}))
    status = kubectl.wait_for_phase("typo", "Failed")["status"]
    assert "cannot import no_such_package" in json.dumps(status)


def test_a_shell_script_that_is_cancelled_says_so_truly(kubectl):
    code = """
    stopped() { headway report --status cancelled; exit 0; }
    i=0
    while true; do i=$((i + 1)); headway report --step $i --total 1000 || stopped; sleep 0.2; done
    """
    kubectl.apply(operation("shell", "Custom", custom={"command": ["bash", "-c", code]}))
    kubectl.wait_for("shell", lambda o: progress_of(o).get("step", 0) >= 1)
    kubectl.cancel("shell")
    status = kubectl.wait_for_phase("shell", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["report"]["status"] == "cancelled"


def test_a_cancel_within_an_entrypoint_is_told_with_how_far_it_came(kubectl, tmp_path):
    (tmp_path / "users_own.py").write_text(
        "import headway, time\n"
        "def train(epochs):\n"
        "    with headway.operation() as op:\n"
        "        for epoch in op.epochs(epochs):\n"
        "            for batch in op.batches(range(10)):\n"
        "                time.sleep(0.02)\n"
    )
    kubectl.apply(
        operation(
            "entry",
            "Custom",
            custom={"entrypoint": "users_own:train", "parameters": {"epochs": 1000}},
            podTemplate={
                "spec": {
                    "containers": [
                        {
                            "name": "trainer",
                            "env": [{"name": "PYTHONPATH", "value": str(tmp_path)}],
                        }
                    ]
                }
            },
        )
    )
    kubectl.wait_for("entry", lambda o: progress_of(o).get("step", 0) >= 12)
    kubectl.cancel("entry")
    status = kubectl.wait_for_phase("entry", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["report"]["epochsCompleted"] >= 1


@pytest.mark.slow
def test_an_api_outage_costs_a_run_nothing(cluster, kubectl):
    """The API server is away for 20 s in the middle of a run."""
    script = ROOT / "examples" / "scripts" / "fit_line.py"
    kubectl.apply(
        operation(
            "outage",
            "Custom",
            custom={
                "command": ["python", str(script), "--epochs", "40", "--seconds-per-batch", "0.02"]
            },
        )
    )
    before = kubectl.wait_for("outage", lambda o: progress_of(o).get("step", 0) >= 50)
    plane = cluster.local.control_plane
    plane.restart("kube-apiserver", away=20)
    after = eventually(lambda: kubectl.operation("outage"), within=30, why="it answers")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    status = kubectl.wait_for_phase("outage", "Succeeded", within=120)["status"]
    assert status["report"]["epochsCompleted"] == 40
    assert [p["step"] for p in status["history"]] == list(range(1, 41))
    assert len(kubectl.items("jobs")) == 1


@pytest.mark.parametrize("name", ["dummy", "data-load", "training", "market-data-claim"])
def test_every_example_is_accepted(kubectl, name):
    text = (ROOT / "examples" / f"{name}.yaml").read_text()
    manifest = yaml.safe_load(text)
    kubectl.run(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(manifest)
    )

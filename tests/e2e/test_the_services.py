"""The built-in services in their images: counting, loading, training on the same data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from given_cluster import TRAINER, GivenCluster, on_node
from waiting import eventually

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> dict:
    """A manifest as a user finds it."""
    return yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())


def step_of(operation: dict) -> int:
    return (operation.get("status", {}).get("progress") or {}).get("step", 0)


def test_the_first_example_counts_and_stops_when_it_is_told_to(kubectl):
    kubectl("apply", "-f", str(EXAMPLES / "dummy.yaml"))
    first = kubectl.wait_for("dummy", lambda o: step_of(o) >= 1)
    assert first["status"]["phase"] == "Running"
    kubectl.wait_for("dummy", lambda o: step_of(o) > step_of(first))
    kubectl("patch", "trainop", "dummy", "--type", "merge", "-p", '{"spec":{"cancel":true}}')
    status = kubectl.wait_for_phase("dummy", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["report"]["iterationsCompleted"] >= 1
    assert status["result"]["exitCode"] == 0
    [pod] = kubectl.pods_of("dummy")
    assert pod["status"]["phase"] == "Succeeded"


@pytest.mark.timeout(400)
def test_a_training_on_one_node_learns_from_what_another_node_loaded(
    cluster: GivenCluster, kubectl, claim
):
    load, training = example("data-load"), example("training")
    loader = next(w for w in cluster.workers if w != cluster.learner)
    training["spec"]["image"] = TRAINER
    for manifest, node in ((load, loader), (training, cluster.learner)):
        inputs = manifest["spec"].get("dataLoad") or manifest["spec"]["training"]
        inputs["symbols"] = ["AAPL"]
        assert manifest["spec"]["storage"]["existingClaim"]["claimName"] == claim
        manifest["spec"]["podTemplate"] = on_node(node)
    training["spec"]["training"]["strategy"]["inline"]["training"]["epochs"] = 2

    kubectl.apply(load)
    loaded = kubectl.wait_for_phase("load-prices", "Succeeded", within=120)["status"]
    assert loaded["report"]["status"] == "success"
    assert loaded["progress"]["percent"] == 100

    kubectl.apply(training)
    trained = kubectl.wait_for_phase("train-mlp", "Succeeded", within=240)["status"]
    assert trained["report"]["epochsCompleted"] == 2
    assert [point["step"] for point in trained["history"]] == [1, 2]
    assert all("loss" in point["metrics"] for point in trained["history"])
    assert trained["report"]["artifacts"]
    nodes = {
        p["spec"]["nodeName"] for n in ("load-prices", "train-mlp") for p in kubectl.pods_of(n)
    }
    assert nodes == {loader, cluster.learner}


def test_the_command_line_loads_into_a_claim_and_loads_nothing_twice(headway, claim):
    wanted = ("--symbols", "IBM", "--timeframes", "1d", "--mode", "full", "--claim", claim)
    first = headway("run", "data", "--name", "first", *wanted, "--follow")
    assert first.returncode == 0, first.stderr
    again = headway("run", "data", "--name", "again", *wanted, "--follow")
    assert again.returncode == 0, again.stderr
    listed = headway("list").stdout
    assert listed.count("Succeeded") == 2, listed


def test_a_training_is_cancelled_in_the_middle_of_an_epoch(cluster: GivenCluster, kubectl, claim):
    load, training = example("data-load"), example("training")
    load["spec"]["dataLoad"]["symbols"] = ["AAPL"]
    kubectl.apply(load)
    kubectl.wait_for_phase("load-prices", "Succeeded", within=120)
    training["spec"]["training"]["symbols"] = ["AAPL"]
    training["spec"]["training"]["strategy"]["inline"]["training"]["epochs"] = 1000
    training["spec"] |= {"image": TRAINER, "podTemplate": on_node(cluster.learner)}
    kubectl.apply(training)

    def trains(operation: dict) -> bool:
        progress = operation.get("status", {}).get("progress") or {}
        return progress.get("context", {}).get("current_epoch", 0) >= 2

    kubectl.wait_for("train-mlp", trains, within=120)
    kubectl.cancel("train-mlp", cancelReason="seen enough")
    status = kubectl.wait_for_phase("train-mlp", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["cancellation"]["reason"] == "seen enough"
    assert status["report"]["epochsCompleted"] >= 1


def test_deleting_a_run_leaves_nothing_but_the_data_in_its_claim(kubectl, claim):
    manifest = example("dummy")
    manifest["spec"]["storage"] = {"existingClaim": {"claimName": claim}}
    kubectl.apply(manifest)
    kubectl.wait_for_phase("dummy", "Running")
    kubectl("delete", "trainop", "dummy")
    for kind in ("jobs", "pods"):
        eventually(lambda kind=kind: not kubectl.items(kind), within=90, why=f"no {kind} left")
    assert kubectl.get("pvc", claim)["status"]["phase"] == "Bound"

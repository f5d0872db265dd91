"""Several workers: a real torch.distributed training over gloo, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from disturbances import WITHIN, kill_processes_of
from kubectl import Kubectl, operation
from waiting import eventually

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WORKERS = 3
CLAIM = {"claimTemplate": {"size": "16Mi"}}


def distributed(kubectl: Kubectl, *, epochs: int, **spec: Any) -> dict[str, Any]:
    """The example of the documentation, with its program in a ConfigMap, for so many epochs."""
    code = (EXAMPLES / "distributed.py").read_text()
    assert "EPOCHS = 20\n" in code
    code = code.replace("EPOCHS = 20\n", f"EPOCHS = {epochs}\n")
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "distributed"},
            "data": {"distributed.py": code},
        }
    )
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / "distributed.yaml").read_text())
    manifest["spec"] |= spec
    return manifest


def trains(attempt: int = 1, epoch: int = 1):
    """A condition: an attempt trains in that epoch or a later one."""

    def condition(run: dict[str, Any]) -> bool:
        progress = run.get("status", {}).get("progress", {})
        reached = progress.get("context", {}).get("current_epoch", 0)
        return progress.get("attempt") == attempt and reached >= epoch

    return condition


def ranks(kubectl: Kubectl, attempt: int = 1) -> dict[str, str]:
    """The pods of an attempt by their rank."""
    return {
        p["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]: p["metadata"]["name"]
        for p in kubectl.pods_of("distributed")
        if p["metadata"]["labels"]["headway.dev/attempt"] == str(attempt)
    }


@pytest.mark.slow
def test_three_workers_train_together_and_the_first_reports(kubectl):
    kubectl.apply(distributed(kubectl, epochs=3))
    status = kubectl.wait_for_phase("distributed", "Succeeded", within=WITHIN)["status"]
    assert status["report"]["epochsCompleted"] == 3
    assert status["report"]["summary"]["workers"] == WORKERS
    assert status["workers"]["succeeded"] == WORKERS
    assert sorted(ranks(kubectl)) == ["0", "1", "2"]
    for rank, pod in ranks(kubectl).items():
        assert pod.startswith(f"distributed-a1-{rank}-")
    service = kubectl.get("service", "distributed")["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    kubectl("delete", "trainop", "distributed")
    eventually(lambda: not kubectl.items("services"), within=60, why="its Service is gone")


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_attempt_and_the_next_goes_on_from_the_checkpoint(kubectl):
    spec = {"storage": CLAIM, "retryPolicy": {"limit": 1, "backoffSeconds": 0}}
    kubectl.apply(distributed(kubectl, epochs=60, **spec))
    kubectl.wait_for("distributed", trains(epoch=5), within=WITHIN)
    victim = ranks(kubectl)["2"]
    kill_processes_of(victim)
    status = kubectl.wait_for("distributed", trains(attempt=2, epoch=6), within=WITHIN)["status"]
    first = status["attempts"][0]
    assert first["reason"] == "Signalled"
    assert f"Worker 2, pod {victim}," in first["message"]
    assert status["report"]["checkpoint"]["epochsCompleted"] >= 4
    kubectl.cancel("distributed")
    status = kubectl.wait_for_phase("distributed", "Cancelled", within=WITHIN)["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["cancellation"]["checkpoint"].split("/")[1] == "a2"
    assert not [p for p in kubectl.pods_of("distributed") if p["status"]["phase"] == "Running"]


def test_until_all_of_them_run_it_is_starting_and_says_how_many_wait(kubectl):
    kubectl.apply(
        operation(
            "wide",
            "Custom",
            workers=2,
            custom={"command": ["sleep", "1000"]},
            resources={"requests": {"cpu": "4000"}},
        )
    )
    status = kubectl.wait_for(
        "wide", lambda o: o.get("status", {}).get("reason") == "Unschedulable"
    )["status"]
    assert status["phase"] == "Starting"
    assert status["workers"] == {"desired": 2, "running": 0, "succeeded": 0, "failed": 0}
    kubectl.cancel("wide")
    kubectl.wait_for_phase("wide", "Cancelled")

"""Suspend, resume, retry: by the headway command, as a person types it."""

from __future__ import annotations

import json

from kubectl import dummy, operation
from waiting import eventually

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "16Mi"}},
    },
}
SHARED = {"existingClaim": {"claimName": "data"}}
NO_SDK = ["sh", "-c", "trap 'exit 7' TERM; while true; do sleep 0.1; done"]


def test_suspended_and_resumed_a_dummy_goes_on_where_it_was(headway, kubectl):
    kubectl.apply(CLAIM, dummy("run", iterations=100, interval=0.2, storage=SHARED))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress", {}).get("step", 0) >= 20)
    said = headway("suspend", "run", check=True).stdout
    assert "run is Suspended (checkpoint " in said
    rests = kubectl.operation("run")["status"]
    kept, spoken = rests["report"]["checkpoint"]["step"], rests["progress"]["sequence"]
    assert kept >= 20
    assert headway("suspend", "run", check=True).stdout == "run is Suspended already\n"
    assert "(attempt 2)" in headway("resume", "run", check=True).stdout
    again = kubectl.wait_for("run", lambda o: o["status"]["progress"]["sequence"] > spoken)
    assert again["status"]["progress"]["step"] >= kept, "it goes on where it was"
    status = kubectl.wait_for_phase("run", "Succeeded", within=90)["status"]
    assert status["report"]["iterationsCompleted"] == 100
    first = status["attempts"][0]
    assert first["reason"] == "Suspended"


def test_what_is_over_cannot_be_suspended_and_is_retried_from_its_checkpoint(headway, kubectl):
    kubectl.apply(CLAIM, dummy("run", iterations=1000, interval=0.1, storage=SHARED))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress", {}).get("step", 0) >= 3)
    headway("cancel", "run", "--wait", check=False)
    receipt = kubectl.wait_for_phase("run", "Cancelled")["status"]["cancellation"]
    refused = headway("suspend", "run")
    assert refused.returncode == 1
    assert "what is over stays so" in refused.stderr
    made = headway("retry", "run", "--name", "more", "--from-checkpoint", check=True).stdout
    assert made == f"more made, from checkpoint {receipt['checkpoint']}\n"
    more = kubectl.wait_for(
        "more", lambda o: o.get("status", {}).get("progress", {}).get("step", 0) >= 3
    )
    assert more["metadata"]["labels"]["headway.dev/retry-of"] == "run"
    assert "cancel" not in more["spec"]
    kubectl.cancel("more")
    kubectl.wait_for_phase("more", "Cancelled")


def test_a_retry_of_a_checkpoint_that_is_gone_with_its_run_is_refused(headway, kubectl):
    kubectl.apply(dummy("run", iterations=1, interval=0))
    kubectl.wait_for_phase("run", "Succeeded")
    refused = headway("retry", "run", "--from-checkpoint")
    assert refused.returncode == 1
    assert "went with its own workspace" in refused.stderr
    assert "headway retry run --fresh" in refused.stderr


def test_watch_tells_the_story_of_a_run_that_is_disrupted_and_retried(headway, kubectl):
    kubectl.apply(operation("run", "Custom", custom={"command": NO_SDK}))
    kubectl.wait_for_phase("run", "Running")
    [pod] = kubectl.pods_of("run")
    kubectl("delete", "pod", pod["metadata"]["name"])
    kubectl.wait_for("run", lambda o: o["status"]["attempt"] == 2)
    kubectl.cancel("run", cancelReason="enough")
    told = headway("watch", "run").stdout
    assert "Cancelled for  enough" in told
    assert "1  Disrupted" in told
    told_as_events = ("Disrupted", "Restarted", "CancelRequested")
    eventually(
        lambda: all(r in kubectl("describe", "trainop", "run") for r in told_as_events),
        within=60,
        why="its Events tell it, too",
    )
    shown = json.loads(headway("get", "run", "-o", "json").stdout)
    assert [a["reason"] for a in shown["status"]["attempts"]] == ["Disrupted", "Cancelled"]

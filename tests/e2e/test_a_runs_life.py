"""Suspended and resumed, retried after an OOM kill, on several nodes together."""

from __future__ import annotations

import pytest
from clusters import ROOT
from given_cluster import TRAINER, GivenCluster, on_node
from kubectl import Kubectl, dummy, operation

EXAMPLE = (ROOT / "examples" / "distributed.py").read_text()
SHARES_TORCH = """
import os, pathlib, shutil, torch
packages = pathlib.Path(torch.__file__).parents[1]
not_needed = {"triton", "pandas", "pyarrow", "sklearn", "scipy", "scipy.libs", "matplotlib"}
there = pathlib.Path(os.environ["HEADWAY_WORKSPACE"], "packages")
def ignore(folder, names):
    return not_needed if pathlib.Path(folder) == packages else ()
shutil.copytree(packages, there, ignore=ignore)
"""
SHARED = {"existingClaim": {"claimName": "market-data"}}
EATS_ONCE = """
import pathlib, os, time
marker = pathlib.Path(os.environ["HEADWAY_WORKSPACE"]) / "been-here"
if not marker.exists():
    marker.touch()
    held = bytearray(400_000_000)
    time.sleep(600)
"""
MEETS = """
import os, socket, time, headway
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
where = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
with headway.operation() as op:
    if rank == 0:
        with socket.create_server(("", where[1])) as server:
            met = [server.accept()[0] for _ in range(size - 1)]
            told = sorted(m.recv(64).decode() for m in met)
            op.progress(1, 1)
            op.result(met=told)
            for one in met:
                one.sendall(b"done")
    else:
        deadline = time.monotonic() + 90
        while True:
            try:
                with socket.create_connection(where, 5) as one:
                    one.sendall(os.environ["NODE"].encode())
                    assert one.recv(64) == b"done"
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
"""


def test_suspended_it_holds_no_pod_and_resumed_it_goes_on_where_it_was(kubectl, claim, headway):
    kubectl.apply(dummy("run", iterations=60, interval=0.5, storage=SHARED))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress", {}).get("step", 0) >= 4)
    told = headway("suspend", "run", check=True).stdout
    assert "run is Suspended (checkpoint " in told
    assert not [p for p in kubectl.pods_of("run") if p["status"]["phase"] == "Running"]
    kept = kubectl.operation("run")["status"]["report"]["checkpoint"]["step"]
    headway("resume", "run", check=True)
    status = kubectl.wait_for("run", lambda o: o["status"].get("progress", {}).get("attempt") == 2)[
        "status"
    ]
    assert status["progress"].get("step", kept) >= kept
    assert kubectl.wait_for_phase("run", "Succeeded", within=90)["status"]["attempt"] == 2


def test_killed_by_the_kernel_for_its_memory_it_is_tried_again(kubectl, claim):
    kubectl.apply(
        operation(
            "run",
            "Custom",
            custom={"command": ["python", "-c", EATS_ONCE]},
            resources={"limits": {"memory": "128Mi"}},
            storage=SHARED,
            retryPolicy={"limit": 1, "backoffSeconds": 1},
        )
    )
    status = kubectl.wait_for_phase("run", "Succeeded", within=120)["status"]
    first = status["attempts"][0]
    assert (first["reason"], first["exitCode"]) == ("OOMKilled", 137)
    assert "128Mi" in first["message"]
    assert status["retries"] == 1


@pytest.mark.timeout(400)
def test_three_workers_on_three_nodes_meet_by_their_names(cluster: GivenCluster, kubectl):
    kubectl.apply(
        operation(
            "run",
            "Custom",
            workers=3,
            custom={"command": ["python", "-c", MEETS]},
            podTemplate=apart(),
        )
    )
    status = kubectl.wait_for_phase("run", "Succeeded", within=240)["status"]
    nodes = {p["spec"]["nodeName"] for p in kubectl.pods_of("run")}
    assert len(nodes) == 3
    met = status["report"]["summary"]["met"]
    assert len(met) == 2
    assert set(met) <= nodes
    assert status["workers"]["succeeded"] == 3


def apart(**more) -> dict:
    """A podTemplate of a run whose workers go to different nodes, with its node in NODE."""
    spread = {
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"headway.dev/operation": "run"}},
    }
    node = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    env = [node, *({"name": key, "value": value} for key, value in more.items())]
    trainer = {"name": "trainer", "env": env}
    return {"spec": {"topologySpreadConstraints": [spread], "containers": [trainer]}}


@pytest.mark.timeout(900)
def test_three_workers_on_three_nodes_train_together_over_gloo(
    cluster: GivenCluster, kubectl: Kubectl, claim
):
    """The image with torch is on one node only; the others read its packages from the claim."""
    kubectl.apply(
        operation(
            "share",
            "Custom",
            image=TRAINER,
            custom={"command": ["python", "-c", SHARES_TORCH]},
            storage=SHARED,
            podTemplate=on_node(cluster.learner),
        )
    )
    kubectl.wait_for_phase("share", "Succeeded", within=400)
    kubectl.apply(
        operation(
            "run",
            "Custom",
            workers=3,
            custom={"command": ["python", "-c", EXAMPLE]},
            storage=SHARED,
            checkpoint={"everyEpochs": 5},
            podTemplate=apart(PYTHONPATH="/workspace/packages"),
        )
    )
    status = kubectl.wait_for_phase("run", "Succeeded", within=300)["status"]
    assert len({p["spec"]["nodeName"] for p in kubectl.pods_of("run")}) == 3
    assert status["report"]["summary"]["workers"] == 3
    assert status["report"]["epochsCompleted"] == 20
    assert status["report"]["checkpoint"]["epochsCompleted"] == 20

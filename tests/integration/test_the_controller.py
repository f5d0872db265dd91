"""What the controller tells, refuses and may do, against a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from clusters import MANIFESTS, OPERATOR_NAMESPACE, Cluster
from headway_api.version import __version__
from kubectl import Kubectl, dummy, operation
from waiting import eventually

OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:headway-operator"
TRAINING = {"symbols": ["AAPL"], "timeframes": ["1d"]}
NO_SDK = ["sh", "-c", "trap 'exit 7' TERM; while true; do sleep 0.1; done"]


def custom(name: str, command: list[str], **spec: Any) -> dict[str, Any]:
    return operation(name, "Custom", custom={"command": command}, **spec)


def events_of(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    found = json.loads(
        kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json")
    )
    return [e for e in found["items"] if e["involvedObject"]["kind"] == "TrainingOperation"]


def writes_by(cluster: Cluster, user: str, namespace: str) -> list[dict[str, Any]]:
    """What a user wrote in a namespace, from the API server's audit log."""
    return [
        entry
        for entry in cluster.audited()
        if entry["user"]["username"] == user
        and entry.get("objectRef", {}).get("namespace") == namespace
        and entry["verb"] in ("create", "update", "patch", "delete", "deletecollection")
    ]


# What is wrong with the input is told


def test_a_claim_that_does_not_exist_is_told_and_then_fails(kubectl):
    kubectl.apply(dummy("run", storage={"existingClaim": {"claimName": "nowhere"}}))
    status = kubectl.told("run", "ClaimNotFound")
    assert status["phase"] == "Pending"
    assert "PersistentVolumeClaim nowhere does not exist" in status["message"]
    failed = kubectl.wait_for_phase("run", "Failed")["status"]
    assert failed["reason"] == "ClaimNotFound"
    assert not kubectl.items("jobs")


def test_a_claim_that_comes_a_moment_later_is_waited_for(kubectl):
    kubectl.apply(
        dummy("run", iterations=1, storage={"existingClaim": {"claimName": "data"}}),
    )
    kubectl.told("run", "ClaimNotFound")
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }
    )
    kubectl.wait_for_phase("run", "Succeeded")
    kubectl("delete", "trainop", "run")
    assert kubectl.get("pvc", "data")["metadata"].get("deletionTimestamp") is None


def test_a_strategy_key_that_does_not_exist_is_told_with_those_that_do(kubectl):
    kubectl("create", "configmap", "strategies", "--from-literal=mlp.yaml=x", "--from-literal=b=y")
    reference = {"configMapKeyRef": {"name": "strategies", "key": "cnn.yaml"}}
    kubectl.apply(operation("run", "Training", training={**TRAINING, "strategy": reference}))
    status = kubectl.told("run", "ConfigNotFound")
    assert "no key cnn.yaml (it has b, mlp.yaml)" in status["message"]


def test_a_config_map_that_a_pod_template_names_is_missed_within_seconds(kubectl):
    volume = {"name": "settings", "configMap": {"name": "no-such-settings"}}
    kubectl.apply(dummy("run", podTemplate={"spec": {"volumes": [volume]}}))
    status = kubectl.told("run", "ConfigNotFound")
    assert "no-such-settings" in status["message"]
    assert kubectl.wait_for_phase("run", "Failed")["status"]["reason"] == "ConfigNotFound"
    eventually(lambda: not kubectl.pods_of("run"), within=30, why="its pod is gone")


def test_a_pod_that_fits_no_node_is_told_and_goes_on_waiting(kubectl):
    kubectl.apply(dummy("run", resources={"requests": {"cpu": "4000"}}))
    status = kubectl.told("run", "Unschedulable")
    assert status["phase"] == "Starting"
    assert "Insufficient cpu" in status["message"]
    kubectl.cancel("run")
    assert kubectl.wait_for_phase("run", "Cancelled")
    assert not kubectl.pods_of("run")


def test_an_image_that_no_node_has_is_told(kubectl):
    kubectl.apply(dummy("run", image="example.invalid/no/such:1"))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert status["reason"] == "ImageNotAvailable"
    assert "example.invalid/no/such:1" in status["message"]


def test_a_quota_that_is_used_up_is_told_and_waited_for(kubectl):
    kubectl("create", "quota", "tiny", "--hard=pods=0")
    eventually(
        lambda: kubectl.get("quota", "tiny").get("status", {}).get("hard"),
        within=90,
        why="the quota counts",
    )
    kubectl.apply(dummy("run", iterations=1))
    status = kubectl.told("run", "QuotaExceeded")
    assert status["phase"] == "Starting"
    assert "exceeded quota: tiny" in status["message"]
    kubectl.cancel("run")
    assert kubectl.wait_for_phase("run", "Cancelled")


def test_a_quota_of_jobs_is_told_and_the_run_starts_when_it_is_lifted(kubectl):
    kubectl("create", "quota", "jobs", "--hard=count/jobs.batch=0")
    eventually(
        lambda: kubectl.get("quota", "jobs").get("status", {}).get("hard"),
        within=90,
        why="the quota counts",
    )
    kubectl.apply(dummy("run", iterations=1, interval=0))
    kubectl.told("run", "QuotaExceeded")
    kubectl("delete", "quota", "jobs")
    kubectl.wait_for_phase("run", "Succeeded")


def test_a_pod_template_that_is_none_is_told_in_the_users_terms(kubectl):
    template = {"spec": {"containers": [{"name": "trainer", "imagePulPolicy": "Always"}]}}
    kubectl.apply(dummy("run", podTemplate=template))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert status["reason"] == "InvalidPod"
    assert 'unknown field "podTemplate.spec.containers[0].imagePulPolicy"' in status["message"]


def test_a_job_of_the_same_name_is_never_adopted_and_waited_out(kubectl):
    kubectl(
        "create", "job", "run-a1", f"--image=headway/trainer:{__version__}", "--", "sleep", "300"
    )
    foreign = kubectl.get("job", "run-a1")["metadata"]["uid"]
    kubectl.apply(dummy("run", iterations=1, interval=0))
    status = kubectl.told("run", "NameTaken")
    assert "Job run-a1 belongs to nobody" in status["message"]
    assert kubectl.get("job", "run-a1")["metadata"]["uid"] == foreign
    kubectl("delete", "job", "run-a1")
    kubectl.wait_for_phase("run", "Succeeded")
    assert kubectl.get("job", "run-a1")["metadata"]["uid"] != foreign


def test_parameters_reach_the_trainer_literally(kubectl):
    text = "$(HEADWAY_ATTEMPT) $$(HEADWAY_ATTEMPT) $HOME $$ end"
    code = "import json, os; print(json.loads(os.environ['HEADWAY_OPERATION_PARAMETERS']))"
    template = {"spec": {"containers": [{"name": "trainer", "command": ["python", "-c", code]}]}}
    kubectl.apply(
        operation(
            "run",
            "Custom",
            custom={"entrypoint": "some.module:main", "parameters": {"text": text}},
            podTemplate=template,
        )
    )
    kubectl.wait_for_phase("run", "Succeeded")
    [pod] = kubectl.pods_of("run")
    assert repr(text) in kubectl("logs", pod["metadata"]["name"])


# The end is told


def test_a_failure_is_an_event_and_a_condition_that_tools_wait_for(kubectl):
    kubectl.apply(custom("run", ["sh", "-c", "echo on my way; exit 3"]))
    kubectl("wait", "trainop/run", "--for=condition=Stalled", "--timeout=60s")
    status = kubectl.operation("run")["status"]
    assert status["result"]["exitCode"] == 3
    assert "on my way" in status["lastLogs"]["text"]
    [event] = eventually(lambda: events_of(kubectl, "run"), within=30, why="an Event")
    assert (event["type"], event["reason"]) == ("Warning", "Error")
    assert event["message"] == status["message"]


def test_success_is_a_condition_that_kubectl_waits_for(kubectl):
    kubectl.apply(dummy("run", iterations=1, interval=0))
    kubectl("wait", "trainop/run", "--for=condition=Ready", "--timeout=60s")
    assert kubectl.phase("run") == "Succeeded"


def test_a_signal_is_named(kubectl):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    kubectl.apply(custom("run", ["python", "-c", code]))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert status["result"]["exitCode"] == 139
    assert status["result"]["signal"] == "SIGSEGV"


@pytest.mark.parametrize(
    "last_words",
    [
        "[" * 2000,
        '{"headway": 1, "report": {"status": "failed", "epochsCompleted": 1' + "0" * 30 + "}}",
        '{"headway": 1, "report": {"cancelAcknowledgedAt": "2026-01-02T03:04:05"}}',
    ],
    ids=["brackets", "a number too large", "a time without a zone"],
)
def test_last_words_that_nobody_can_store_keep_no_run_from_ending(kubectl, last_words):
    kubectl.apply(custom("run", ["sh", "-c", 'echo "$0"; exit 3', last_words]))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert status["result"]["exitCode"] == 3


def test_a_status_that_a_trainer_spoilt_keeps_nobody_from_cancelling(kubectl):
    kubectl.apply(custom("run", NO_SDK))
    kubectl.wait_for_phase("run", "Running")
    moment = "0000-01-02T03:04:05Z"
    said = {"attempt": 1, "sequence": 1, "time": moment, "heartbeat": moment}
    patch = json.dumps({"status": {"progress": said}})
    kubectl("patch", "trainop", "run", "--subresource=status", "--type=merge", "-p", patch)
    assert kubectl.operation("run")["status"]["progress"]["time"] == moment
    kubectl.cancel("run")
    kubectl.wait_for_phase("run", "Cancelled")


def test_a_job_deleted_by_hand_is_told_truthfully(kubectl):
    kubectl.apply(custom("run", NO_SDK))
    kubectl.wait_for_phase("run", "Running")
    kubectl("delete", "job", "run-a1")
    status = kubectl.wait_for(
        "run", lambda o: o["status"]["attempts"][0].get("ended"), why="its attempt is over"
    )["status"]
    # Whether its pod was seen at its end, or only missed, makes it a disruption or a crash.
    ends = {"Disrupted": ("Retrying", "Starting", "Running"), "PodLost": ("Failed",)}
    assert status["phase"] in ends[status["attempts"][0]["reason"]]
    assert "run-a1" not in [j["metadata"]["name"] for j in kubectl.items("jobs")]


def test_a_crash_while_it_is_cancelled_keeps_its_exit_code(kubectl):
    code = """
import headway, os, time
with headway.operation() as op:
    op.progress(1, 2)
    while not op.stopped:
        time.sleep(0.05)
    os._exit(9)
"""
    kubectl.apply(custom("run", ["python", "-c", code]))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    kubectl.cancel("run")
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Crashed"
    assert status["result"]["exitCode"] == 9


def test_a_cancel_after_the_end_changes_nothing_and_is_recorded(kubectl):
    kubectl.apply(dummy("run", iterations=1, interval=0))
    before = kubectl.wait_for_phase("run", "Succeeded")["status"]
    kubectl.cancel("run")
    after = kubectl.wait_for("run", lambda o: o["status"].get("cancellation"))["status"]
    assert after["phase"] == "Succeeded"
    assert after["cancellation"]["outcome"] == "TooLate"
    assert after["completionTime"] == before["completionTime"]


@pytest.mark.parametrize("phase", ["Running", "Failed", ""])
def test_a_final_phase_can_be_changed_by_nobody(kubectl, phase):
    kubectl.apply(dummy("run", iterations=1, interval=0))
    kubectl.wait_for_phase("run", "Succeeded")
    patch = json.dumps({"status": {"phase": phase or None}})
    done = kubectl.run(
        "patch", "trainop", "run", "--subresource=status", "--type=merge", "-p", patch, check=False
    )
    assert done.returncode != 0
    assert "a final phase never changes" in done.stderr


# What the controller writes, and may


def test_the_controller_writes_nothing_in_answer_to_progress(cluster: Cluster, kubectl):
    kubectl.apply(dummy("run", iterations=100000, interval=0.05))
    kubectl.wait_for("run", lambda o: o["status"]["phase"] == "Running" and sequence_of(o))

    def writes_during_progress() -> int:
        before = len(writes_by(cluster, OPERATOR, kubectl.namespace))
        sequence = sequence_of(kubectl.operation("run"))
        kubectl.wait_for("run", lambda o: sequence_of(o) >= sequence + 8)
        return len(writes_by(cluster, OPERATOR, kubectl.namespace)) - before

    # The Event of its start may still be on its way at first.
    eventually(lambda: writes_during_progress() == 0, within=60, why="no write in answer")


def sequence_of(found: dict[str, Any]) -> int:
    return found["status"].get("progress", {}).get("sequence", 0)


def test_a_whole_run_costs_the_controller_a_handful_of_writes(cluster: Cluster, kubectl):
    kubectl.apply(dummy("run", iterations=3, interval=0.1))
    kubectl.wait_for_phase("run", "Succeeded")
    eventually(lambda: events_of(kubectl, "run"), within=30, why="the last write, an Event")
    writes = writes_by(cluster, OPERATOR, kubectl.namespace)
    kinds = [f"{w['verb']} {w['objectRef']['resource']}" for w in writes]
    assert kinds.count("create jobs") == 1
    patches = [w for w in writes if w["verb"] == "patch" and w["responseStatus"]["code"] == 200]
    assert len(patches) <= 6, kinds


@pytest.mark.parametrize(
    ("verb", "what", "allowed"),
    [
        ("create", "jobs.batch", True),
        ("patch", "trainingoperations.headway.dev/status", True),
        ("patch", "trainingoperations.headway.dev", False),
        ("delete", "trainingoperations.headway.dev", False),
        ("get", "secrets", False),
        ("create", "pods", False),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", False),
        ("bind", "clusterroles.rbac.authorization.k8s.io/cluster-admin", False),
        ("bind", "clusterroles.rbac.authorization.k8s.io/headway-trainer", True),
        ("delete", "persistentvolumeclaims", False),
    ],
)
def test_the_controller_may_do_what_it_needs_and_no_more(kubectl, verb, what, allowed):
    resource, _, rest = what.partition("/")
    args = ["--subresource=status"] if rest == "status" else []
    target = f"{resource}/{rest}" if rest and rest != "status" else resource
    done = kubectl.run("auth", "can-i", verb, target, *args, f"--as={OPERATOR}", check=False)
    assert (done.stdout.strip() == "yes") is allowed, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("role", "verb", "allowed"),
    [("view", "get", True), ("view", "create", False), ("edit", "create", True)],
)
def test_who_may_view_or_edit_a_namespace_may_so_with_its_operations(kubectl, role, verb, allowed):
    kubectl("create", "rolebinding", "someone", f"--clusterrole={role}", "--user=someone")

    def may(verb: str) -> bool:
        what = "trainingoperations.headway.dev"
        done = kubectl.run("auth", "can-i", verb, what, "--as=someone", check=False)
        return done.stdout.strip() == "yes"

    eventually(lambda: may("get"), within=60, why="the role is in force, and all may look")
    if allowed:
        eventually(lambda: may(verb), within=60, why=f"{role} may {verb}")
    else:
        assert not may(verb)


def test_the_manifests_pass_strict_validation(cluster: Cluster):
    """Every object of the chart, unknown fields being errors."""
    kinds = [d["kind"] for d in yaml.safe_load_all(MANIFESTS.read_text())]
    assert kinds[:2] == ["CustomResourceDefinition", "Namespace"]
    cluster.kubectl(OPERATOR_NAMESPACE)(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        str(MANIFESTS),
    )

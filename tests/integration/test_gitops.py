"""What GitOps tools do to a run, by the requests that they make: apply, delete, replace."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from gitops_judges import KIT, judge
from kubectl import Kubectl, dummy, operation
from podspecs import IMAGE
from waiting import eventually

ARGO_CD = ("--field-manager=argocd-controller",)
FLUX = ("--server-side", "--force-conflicts", "--field-manager=kustomize-controller")
WAYS = pytest.mark.parametrize("how", [ARGO_CD, FLUX], ids=["client-side", "server-side"])
BEATS = "while true; do date +%s%N >> /workspace/beats; sleep 0.1; done"
SILENT = "test -s beats && a=$(wc -c < beats) && sleep 1 && test $a = $(wc -c < beats)"


def apply(kubectl: Kubectl, manifest: dict[str, Any], how: tuple[str, ...]) -> None:
    kubectl.run("apply", *how, "-f", "-", stdin=json.dumps(manifest))


def refusal(kubectl: Kubectl, verb: str, manifest: dict[str, Any], how: tuple[str, ...]) -> str:
    done = kubectl.run(verb, *how, "-f", "-", stdin=json.dumps(manifest), check=False)
    assert done.returncode != 0
    return done.stderr


def drift(kubectl: Kubectl, manifest: dict[str, Any], how: tuple[str, ...]) -> str:
    """What applying would change; empty where a tool calls the object in sync."""
    done = kubectl.run("diff", *how, "-f", "-", stdin=json.dumps(manifest), check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def long_run(name: str, **spec: Any) -> dict[str, Any]:
    return dummy(name, iterations=10000, interval=0.1, **spec)


def progressing(found: dict[str, Any]) -> object:
    return found["status"].get("phase") == "Running" and found["status"].get("progress")


# Re-sync and self-heal


@WAYS
def test_applying_again_after_a_cancel_stays_quiet(kubectl, how):
    manifest = long_run("run")
    apply(kubectl, manifest, how)
    kubectl.wait_for("run", progressing)
    # Between its two requests the run itself may report, which a diff by the server shows.
    eventually(lambda: drift(kubectl, manifest, how) == "", within=60, why="it is in sync")
    kubectl.cancel("run")
    before = kubectl.wait_for_phase("run", "Cancelled")
    kubectl.wait_for("run", lambda o: o["status"]["observedGeneration"] == 2)
    assert drift(kubectl, manifest, how) == ""
    apply(kubectl, manifest, how)
    after = kubectl.operation("run")
    assert after["spec"]["cancel"] is True
    assert after["status"] == before["status"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 2
    assert len(kubectl.items("jobs")) == 1


@WAYS
def test_a_manifest_that_says_cancel_false_fights_a_cancel_and_loses(kubectl, how):
    manifest = long_run("run", cancel=False)
    apply(kubectl, manifest, how)
    kubectl.cancel("run")
    kubectl.wait_for_phase("run", "Cancelled")
    assert "a cancel cannot be taken back" in refusal(kubectl, "apply", manifest, how)
    assert kubectl.phase("run") == "Cancelled"


@WAYS
def test_a_cancel_in_git_is_one_line(kubectl, how):
    manifest = long_run("run")
    apply(kubectl, manifest, how)
    manifest["spec"]["cancel"] = True
    assert "+  cancel: true" in drift(kubectl, manifest, how)
    apply(kubectl, manifest, how)
    kubectl.wait_for_phase("run", "Cancelled")
    assert drift(kubectl, manifest, how) == ""


def test_a_finished_run_that_is_deleted_and_applied_again_runs_again(kubectl):
    manifest = dummy("run", iterations=1, interval=0)
    apply(kubectl, manifest, FLUX)
    first = kubectl.wait_for_phase("run", "Succeeded")
    apply(kubectl, manifest, FLUX)
    assert kubectl.operation("run") == first
    kubectl("delete", "trainop", "run")
    apply(kubectl, manifest, FLUX)
    second = kubectl.wait_for_phase("run", "Succeeded")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


# A changed spec


@WAYS
def test_what_runs_cannot_be_changed_under_its_name_and_is_not_disturbed(kubectl, how):
    manifest = long_run("run")
    apply(kubectl, manifest, how)
    before = kubectl.wait_for("run", progressing)
    told = refusal(kubectl, "apply", dummy("run", iterations=7), how)
    assert "dummy is immutable; what runs cannot be changed" in told
    manifest["spec"]["cancelGracePeriodSeconds"] = 3
    apply(kubectl, manifest, how)
    kubectl.wait_for("run", lambda o: o["status"]["observedGeneration"] == 2)
    after = kubectl.operation("run")
    assert after["status"]["phase"] == "Running"
    assert after["status"]["startTime"] == before["status"]["startTime"]
    longer = '{"spec":{"cancelGracePeriodSeconds":90}}'
    kubectl("patch", "trainop", "run", "--type=merge", "-p", longer)
    assert "+  cancelGracePeriodSeconds: 3" in drift(kubectl, manifest, how)
    apply(kubectl, manifest, how)
    assert kubectl.operation("run")["spec"]["cancelGracePeriodSeconds"] == 3


def test_replacing_cannot_take_a_cancel_back_and_forced_it_runs_again(kubectl):
    manifest = long_run("run", cancel=True)
    kubectl.apply(manifest)
    first = kubectl.wait_for_phase("run", "Cancelled")
    again = dummy("run", iterations=1, interval=0)
    assert "a cancel cannot be taken back" in refusal(kubectl, "replace", again, ())
    kubectl.run("replace", "--force", "-f", "-", stdin=json.dumps(again))
    second = kubectl.wait_for_phase("run", "Succeeded")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


# Prune


def test_prune_stops_a_run_and_leaves_the_data_of_a_shared_claim(kubectl):
    claim = yaml.safe_load((KIT / "example" / "volume" / "claim.yaml").read_text())
    shared = {"existingClaim": {"claimName": claim["metadata"]["name"]}}
    beating = operation("run", "Custom", custom={"command": ["sh", "-c", BEATS]}, storage=shared)
    kubectl.apply(claim, beating, long_run("own", storage={"claimTemplate": {"size": "1Mi"}}))
    kubectl.wait_for_phase("run", "Running")
    kubectl.wait_for("own", progressing)
    kubectl("delete", "trainop", "run", "--cascade=foreground")  # as Argo CD prunes
    kubectl("delete", "trainop", "own", "--cascade=background")  # as Flux does
    for kind in ("trainingoperations.headway.dev", "jobs", "pods"):
        # The garbage collector learns of a new kind of owner half a minute after its CRD.
        eventually(lambda kind=kind: not kubectl.items(kind), within=90, why=f"no {kind} left")

    def claims() -> list[str]:
        return [c["metadata"]["name"] for c in kubectl.items("persistentvolumeclaims")]

    eventually(lambda: claims() == ["market-data"], within=90, why="the run's own claim is gone")
    look = ["sh", "-c", f"cd /workspace && {SILENT}"]
    kubectl.apply(operation("look", "Custom", custom={"command": look}, storage=shared))
    kubectl.wait_for_phase("look", "Succeeded")


# The example repository


@pytest.fixture
def repository(tmp_path, kubectl) -> Callable[[str, str], Path]:
    """The example in the test's namespace: the folder of an environment, with a run's suffix."""

    def folder(environment: str, suffix: str) -> Path:
        copy = tmp_path / suffix
        shutil.copytree(KIT / "example", copy)
        overlay = copy / "overlays" / environment
        for file, key, value in (
            (overlay / "kustomization.yaml", "namespace", kubectl.namespace),
            (overlay / "run" / "kustomization.yaml", "nameSuffix", suffix),
        ):
            file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), key: value}))
        return overlay

    return folder


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_an_environment_of_the_example_is_accepted_by_the_server(kubectl, repository, environment):
    folder = repository(environment, "-a")
    told = kubectl("apply", "-k", str(folder), "--dry-run=server")
    assert "trainingoperation.headway.dev/train-mlp-a created" in told
    assert "persistentvolumeclaim/market-data created" in told


def test_a_new_suffix_is_a_new_run_and_prune_takes_the_old_one(kubectl, repository):
    sync = (
        "apply",
        "--prune",
        "--all",
        "--prune-allowlist=headway.dev/v1alpha1/TrainingOperation",
        "-k",
    )
    kubectl(*sync, str(repository("dev", "-a")))
    kubectl.wait_for_phase("train-mlp-a", "Starting", "Running")
    data = kubectl.get("pvc", "market-data")["metadata"]["uid"]
    kubectl(*sync, str(repository("dev", "-b")))
    kubectl.wait_for_phase("train-mlp-b", "Starting", "Running")
    runs = [o["metadata"]["name"] for o in kubectl.items("trainingoperations.headway.dev")]
    assert runs == ["train-mlp-b"]
    assert kubectl.get("pvc", "market-data")["metadata"]["uid"] == data


# What the tools see


@contextmanager
def every_version(kubectl: Kubectl, file: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Every version of the namespace's operations that a watch shows."""
    command = [
        *(str(kubectl.binary), "--kubeconfig", str(kubectl.kubeconfig)),
        *("-n", kubectl.namespace, "get", "trainop", "--watch", "-o", "json"),
    ]

    def seen() -> list[dict[str, Any]]:
        decoder, text, found, at = json.JSONDecoder(), file.read_text(), [], 0
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            try:
                value, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError:
                break  # the last one is still being written
            found.append(value)
        return found

    with file.open("w") as out, subprocess.Popen(command, stdout=out) as watch:
        try:
            kubectl.apply(dummy("first", cancel=True))
            eventually(seen, within=60, why="the watch has begun")
            yield seen
        finally:
            watch.terminate()


def expected(found: dict[str, Any]) -> tuple[str, str, str]:
    """Argo CD, Flux and kstatus, by what is written in docs/gitops.md."""
    status, metadata = found["status"], found["metadata"]
    if status["observedGeneration"] != metadata["generation"]:
        told = ("Progressing", "InProgress", "InProgress")
    else:
        told = {
            "Succeeded": ("Healthy", "Current", "Current"),
            "Failed": ("Degraded", "Failed", "Failed"),
            "Cancelled": ("Degraded", "Failed", "Failed"),
        }.get(status.get("phase", ""), ("Progressing", "InProgress", "InProgress"))
    return (*told[:2], "Terminating") if "deletionTimestamp" in metadata else told


def test_argo_cd_flux_and_kstatus_judge_every_state_of_a_run_rightly(kubectl, tmp_path):
    failing = operation("fails", "Custom", custom={"command": ["sh", "-c", "exit 3"]})
    deaf = {"command": ["sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"]}
    with every_version(kubectl, tmp_path / "seen.json") as seen:
        kubectl.apply(dummy("succeeds", iterations=3, interval=0.1), failing)
        kubectl.apply(operation("cancelled", "Custom", custom=deaf, cancelGracePeriodSeconds=1))
        kubectl.apply(long_run("pruned"))
        kubectl.wait_for_phase("cancelled", "Running")
        kubectl.wait_for("pruned", progressing)
        kubectl.cancel("cancelled")
        kubectl("delete", "trainop", "pruned", "--cascade=foreground", "--wait=false")
        ends = {"succeeds": "Succeeded", "fails": "Failed", "cancelled": "Cancelled"}
        for name, phase in ends.items():
            kubectl.wait_for_phase(name, phase)

        def complete() -> bool:
            last = {o["metadata"]["name"]: o for o in seen()}
            return "deletionTimestamp" in last["pruned"]["metadata"] and all(
                last[name]["status"].get("phase") == phase for name, phase in ends.items()
            )

        eventually(complete, within=60, why="the watch has shown every end")
        versions = seen()
    judged = judge(versions)
    phases = {o["status"].get("phase") for o in versions}
    assert phases >= {None, "Starting", "Running", "Cancelling", "Succeeded", "Failed", "Cancelled"}
    for found, told in zip(versions, judged, strict=True):
        assert (told.argo, told.flux, told.kstatus) == expected(found), found
        message = found["status"].get("message", "")
        if found["status"].get("phase") in ("Failed", "Cancelled"):
            assert message
            assert message in told.argo_message
            assert told.kstatus_message in (message, "Resource scheduled for deletion")


def chosen(kubectl: Kubectl, name: str, action: str) -> None:
    """What Argo CD does when an action is chosen from its menu."""
    before = kubectl.operation(name)
    [told] = judge([before])
    assert action in told.offered
    changed = told.after[action]["spec"]
    wanted = {k: changed.get(k) for k in {*before["spec"], *changed}}
    patch = {k: v for k, v in wanted.items() if before["spec"].get(k) != v}
    kubectl("patch", "trainop", name, "--type=merge", "-p", json.dumps({"spec": patch}))


@WAYS
def test_argo_cds_actions_suspend_resume_and_cancel_and_leave_no_drift(kubectl, how):
    manifest = long_run("run")
    apply(kubectl, manifest, how)
    kubectl.wait_for("run", progressing)
    chosen(kubectl, "run", "suspend")
    kubectl.wait_for_phase("run", "Suspended")
    assert drift(kubectl, manifest, how) == ""
    chosen(kubectl, "run", "resume")
    kubectl.wait_for("run", lambda o: o["status"]["attempt"] == 2 and progressing(o))
    assert drift(kubectl, manifest, how) == ""
    chosen(kubectl, "run", "cancel")
    over = kubectl.wait_for_phase("run", "Cancelled")
    assert over["status"]["cancellation"]["reason"] == "cancelled from Argo CD"
    assert drift(kubectl, manifest, how) == ""
    [told] = judge([kubectl.operation("run")])
    assert told.offered == set()


def test_the_settings_for_argo_cd_join_those_that_are_there(kubectl):
    kubectl("create", "configmap", "argocd-cm", "--from-literal=url=https://argocd.example.com")
    patch = KIT / "argocd" / "argocd-cm.yaml"
    kubectl("patch", "configmap", "argocd-cm", "--patch-file", str(patch))
    data = kubectl.get("configmap", "argocd-cm")["data"]
    assert data["url"] == "https://argocd.example.com"
    assert "resource.customizations.health.headway.dev_TrainingOperation" in data


# Kueue


def test_a_job_that_a_queue_holds_back_is_waited_for_and_can_be_cancelled(cluster, kubectl):
    """Kueue's webhook suspends a Job as it is made, and resumes it when there is room."""
    policy = {"name": f"hold-{kubectl.namespace.split('-')[0]}"}
    kinds = {"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace}}
    hold = "Object{spec: Object.spec{suspend: true}}"
    version = "admissionregistration.k8s.io/v1"
    kubectl.apply(
        {
            "apiVersion": version,
            "kind": "MutatingAdmissionPolicy",
            "metadata": policy,
            "spec": {
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{**kinds, "operations": ["CREATE"]}]},
                "mutations": [
                    {
                        "patchType": "ApplyConfiguration",
                        "applyConfiguration": {"expression": hold},
                    }
                ],
            },
        },
        {
            "apiVersion": version,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": policy,
            "spec": {
                "policyName": policy["name"],
                "matchResources": {"namespaceSelector": here},
            },
        },
    )
    try:
        eventually(lambda: suspended_on_creation(kubectl), within=30, why="the policy is in force")
        kubectl.apply(dummy("admitted", iterations=1, interval=0), dummy("given-up"))
        kubectl.apply(long_run("preempted"))
        for name in ("admitted", "given-up", "preempted"):
            kubectl.wait_for_phase(name, "Queued")
            eventually(lambda n=name: kubectl.get("job", f"{n}-a1"), within=30, why="its Job")
        assert not kubectl.items("pods")
        kubectl.cancel("given-up")
        for name in ("admitted", "preempted"):
            kubectl("patch", "job", f"{name}-a1", "-p", '{"spec":{"suspend":false}}')
        over = kubectl.wait_for_phase("given-up", "Cancelled")
        assert over["status"]["cancellation"]["outcome"] == "BeforeStart"
        kubectl.wait_for_phase("admitted", "Succeeded")
        kubectl.wait_for("preempted", progressing)
        kubectl("patch", "job", "preempted-a1", "-p", '{"spec":{"suspend":true}}')
        queued = kubectl.wait_for_phase("preempted", "Queued")["status"]
        assert "again" in queued["message"]
        assert "activeSince" not in queued
        kubectl("patch", "job", "preempted-a1", "-p", '{"spec":{"suspend":false}}')
        before = queued["progress"]["sequence"]
        again = kubectl.wait_for(
            "preempted", lambda o: o["status"]["progress"]["sequence"] > before + 1
        )
        assert again["status"]["attempt"] == 1, "the same attempt goes on"
        kubectl.cancel("preempted")
        kubectl.wait_for_phase("preempted", "Cancelled")
    finally:
        for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
            cluster.kubectl()("delete", kind, policy["name"], "--ignore-not-found")


@pytest.mark.slow
def test_a_queue_that_nobody_manages_is_told(kubectl):
    kubectl.apply(dummy("queued", iterations=1, interval=0, queueName="team-queue"))
    status = kubectl.wait_for_phase("queued", "Queued")["status"]
    assert "team-queue" in status["message"]
    job = kubectl.get("job", "queued-a1")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"
    assert job["spec"]["suspend"] is True
    told = kubectl.wait_for(
        "queued", lambda o: "nobody will start it" in o["status"]["message"], within=90
    )
    assert "Kueue is not installed" in told["status"]["message"]
    kubectl.cancel("queued")
    receipt = kubectl.wait_for_phase("queued", "Cancelled")["status"]["cancellation"]
    assert receipt["outcome"] == "BeforeStart"


def suspended_on_creation(kubectl: Kubectl) -> bool:
    """Whether a Job would be suspended as it is made."""
    probe = ("create", "job", "probe", f"--image={IMAGE}", "--dry-run=server")
    return json.loads(kubectl(*probe, "-o", "json"))["spec"].get("suspend") is True

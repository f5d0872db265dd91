"""Who cancels a run is recorded by the API server, and by nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from charts import CHART, Helm
from clusters import OPERATOR_NAMESPACE, Cluster, temporary_cluster
from kubectl import Kubectl, dummy
from namespaces import own_namespace
from waiting import eventually

STAMP = "headway.dev/cancel-requested-by"
NEVER = {"resources": {"requests": {"cpu": "4000"}}}
"""No node has that much: the run waits, and a cancel ends it at once."""


@pytest.fixture(scope="module")
def recording() -> Iterator[Cluster]:
    """A cluster of this module's own whose Headway records who cancels."""
    with temporary_cluster() as cluster:
        helm = Helm.find(cluster.kubeconfig)
        helm(
            *("upgrade", "--install", "headway", str(CHART), "-n", OPERATOR_NAMESPACE),
            *("--create-namespace", "--wait", "--timeout=90s"),
            values={"cancelRequester": {"record": True}},
        )
        yield cluster


@pytest.fixture
def kubectl(recording: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    with own_namespace(recording.kubectl, request.node.name, stays=True) as made:
        eventually(lambda: is_stamped(made, "probe"), within=60, why="the policy is in force")
        yield made


def is_stamped(kubectl: Kubectl, name: str) -> bool:
    """Make a run that is cancelled; a new policy is at first unknown, then fails, then works."""
    manifest = json.dumps(dummy(name, cancel=True))
    made = kubectl.run("apply", "-f", "-", stdin=manifest, check=False)
    if made.returncode != 0:
        return False
    if stamp(kubectl, name) is None:
        kubectl("delete", "trainop", name)
        return False
    return True


@pytest.fixture
def as_user(kubectl: Kubectl) -> Callable[..., str]:
    """Patch an operation as somebody with the right to."""
    kubectl("create", "rolebinding", "editors", "--clusterrole=edit", "--group=editors")
    asked = ("auth", "can-i", "patch", "trainingoperations.headway.dev", "--as=x")
    eventually(
        lambda: kubectl.run(*asked, "--as-group=editors", check=False).returncode == 0,
        within=60,
        why="the binding is in force",
    )

    def patch(user: str, name: str, **change: Any) -> str:
        return kubectl(
            *("patch", "trainop", name, "--type=merge", "-p", json.dumps(change)),
            *(f"--as={user}", "--as-group=editors"),
        )

    return patch


def stamp(kubectl: Kubectl, name: str) -> str | None:
    return kubectl.operation(name)["metadata"].get("annotations", {}).get(STAMP)


def test_the_receipt_names_the_user_whatever_the_request_says(kubectl, as_user):
    kubectl.apply(dummy("run", **NEVER))
    forged = {"metadata": {"annotations": {STAMP: "somebody-else"}}}
    as_user("ada", "run", spec={"cancel": True}, **forged)
    status = kubectl.wait_for_phase("run", "Cancelled")["status"]
    assert status["cancellation"]["requestedBy"] == "ada"
    assert stamp(kubectl, "run") == "ada"


def test_what_is_stamped_is_neither_changed_nor_removed_nor_written_beforehand(kubectl, as_user):
    kubectl.apply(dummy("run", **NEVER))
    as_user("eve", "run", metadata={"annotations": {STAMP: "ada"}})
    assert stamp(kubectl, "run") is None
    as_user("ada", "run", spec={"cancel": True})
    for value in ("eve", None):
        as_user("eve", "run", metadata={"annotations": {STAMP: value}})
        assert stamp(kubectl, "run") == "ada"
    as_user("eve", "run", spec={"cancel": True, "cancelReason": "mine"})
    assert stamp(kubectl, "run") == "ada"


def test_a_run_that_is_made_cancelled_names_its_maker(kubectl):
    assert stamp(kubectl, "probe") == "headway-admin"
    status = kubectl.wait_for_phase("probe", "Cancelled")["status"]
    assert status["cancellation"]["requestedBy"] == "headway-admin"


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_applying_the_same_manifest_again_stays_quiet(kubectl, as_user, how):
    manifest = json.dumps(dummy("run", **NEVER))
    kubectl.run("apply", *how, "-f", "-", stdin=manifest)
    as_user("ada", "run", spec={"cancel": True})
    kubectl.wait_for_phase("run", "Cancelled")
    before = kubectl.wait_for(
        "run", lambda o: o["status"]["observedGeneration"] == o["metadata"]["generation"]
    )
    kubectl.run("apply", *how, "-f", "-", stdin=manifest)
    after = kubectl.operation("run")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert (stamp(kubectl, "run"), after["spec"]["cancel"]) == ("ada", True)


@pytest.mark.parametrize("spec", [{"cancel": "true"}, {"cancel": "yes", "cancelReason": "x"}])
@pytest.mark.parametrize(
    ("how", "told"),
    [
        (["create"], "spec.cancel: Invalid value"),
        (["apply", "--server-side"], ".spec.cancel: expected boolean"),
    ],
    ids=["created", "applied"],
)
def test_a_cancel_that_is_no_boolean_is_refused_in_the_schemas_words(kubectl, spec, how, told):
    wrong = json.dumps(dummy("wrong", **spec))
    done = kubectl.run(*how, "--validate=false", "-f", "-", stdin=wrong, check=False)
    assert done.returncode != 0
    assert told in done.stderr
    assert "MutatingAdmissionPolicy" not in done.stderr


def test_a_run_without_a_spec_is_refused_in_the_schemas_words(kubectl):
    manifest = {"apiVersion": "headway.dev/v1alpha1", "kind": "TrainingOperation"}
    wrong = json.dumps({**manifest, "metadata": {"name": "empty", "annotations": {STAMP: "eve"}}})
    done = kubectl.run("create", "--validate=false", "-f", "-", stdin=wrong, check=False)
    assert "spec: Required value" in done.stderr

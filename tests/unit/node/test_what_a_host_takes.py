"""Which pods a host machine takes."""

from __future__ import annotations

from typing import Any

import pytest
from headway_api import names
from headway_cluster.node.api import ApiError
from headway_cluster.node.hosting import NOT_ALLOWED, HostRules
from headway_cluster.node.pods import parse
from podspecs import a_pod

JOBS = "/apis/batch/v1/namespaces/team/jobs"
RUNS = "/apis/headway.dev/v1alpha1/namespaces/team/trainingoperations"


def owned_by(kind: str, name: str, *, controller: bool = True) -> dict[str, Any]:
    """An object's owner; its uid follows from its name."""
    reference = {"kind": kind, "name": name, "uid": f"uid-of-{name}", "controller": controller}
    return {"ownerReferences": [reference]}


def a_job(owner: dict[str, Any], uid: str = "uid-of-run-a1") -> dict[str, Any]:
    return {"metadata": {"name": "run-a1", "uid": uid, **owner}}


def a_run(uid: str = "uid-of-run", **spec: str) -> dict[str, Any]:
    return {"metadata": {"name": "run", "uid": uid}, "spec": spec}


class Objects:
    """What the node is answered."""

    def __init__(self, **found: dict[str, Any]) -> None:
        self._found = {f"{JOBS}/run-a1": found.get("job"), f"{RUNS}/run": found.get("run")}

    def get(self, path: str) -> dict[str, Any]:
        """One object."""
        if (there := self._found.get(path)) is None:
            raise ApiError(404, "NotFound", path)
        return there


JOB = a_job(owned_by(names.KIND, "run"))
RUN = a_run(placement="Host")


def refusal(
    *, job=JOB, run=RUN, owner=None, label="uid-of-run", namespace="team", allowed=("team",)
):
    labels = {names.LABEL_OPERATION_UID: label} if label else {}
    owner = owned_by("Job", "run-a1") if owner is None else owner
    pod = parse(a_pod(namespace=namespace, metadata={"labels": labels, **owner}))
    return HostRules(Objects(job=job, run=run), allowed).refusal(pod)  # type: ignore[arg-type]


def test_the_pod_of_a_run_that_asked_for_a_host_is_taken():
    assert refusal() is None
    assert refusal(allowed=("other", "team")) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(
            {"allowed": ("other",)}, "takes runs of other only", id="of another namespace"
        ),
        pytest.param({"owner": {}}, "the Job of a run has made", id="made by hand"),
        pytest.param(
            {"owner": owned_by("ReplicaSet", "run-a1")}, "the Job of a run", id="of a Deployment"
        ),
        pytest.param(
            {"owner": owned_by("Job", "run-a1", controller=False)}, "the Job of a run", id="not led"
        ),
        pytest.param({"job": None}, "the Job of a run has made", id="whose Job is gone"),
        pytest.param(
            {"job": a_job(owned_by(names.KIND, "run"), uid="another")},
            "the Job of a run has made",
            id="whose Job was replaced by another of its name",
        ),
        pytest.param({"job": a_job({})}, "TrainingOperation that exists", id="of a plain Job"),
        pytest.param({"run": None}, "TrainingOperation that exists", id="whose run is gone"),
        pytest.param(
            {"run": a_run("another", placement="Host")},
            "TrainingOperation that exists",
            id="whose run was replaced by another of its name",
        ),
        pytest.param({"label": "another"}, "names another", id="with another run's label"),
        pytest.param({"label": ""}, "names another", id="without a label"),
        pytest.param(
            {"run": a_run(placement="Cluster")},
            "did not ask for placement: Host",
            id="of a cluster run",
        ),
        pytest.param({"run": a_run()}, "did not ask", id="of a run that says nothing"),
    ],
)
def test_a_pod_is_refused(given, told):
    no = refusal(**given)
    assert no is not None
    assert no.reason == NOT_ALLOWED
    assert told in no.message


def test_what_cannot_be_looked_up_is_neither_taken_nor_refused():
    class Forbidding:
        def get(self, path: str) -> dict[str, Any]:
            raise ApiError(403, "Forbidden", path)

    pod = parse(a_pod(namespace="team", metadata=owned_by("Job", "run-a1")))
    with pytest.raises(ApiError):
        HostRules(Forbidding(), ("team",)).refusal(pod)  # type: ignore[arg-type]

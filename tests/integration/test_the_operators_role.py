"""The operator's role is what it asks for, no less and no more, by the API server's audit log.

Independent of other tests: every kind of request is provoked here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from audits import Right, requests
from clusters import MANIFESTS, Cluster
from headway_api import names
from headway_api.version import __version__
from kubectl import Kubectl, dummy, operation
from waiting import eventually

ACCOUNT = "headway-operator"

NOT_SEEN_HERE: dict[Right, str] = {
    ("", "pods", "get"): "when a sweep finds a pod that the watches did not tell",
    ("headway.dev", "trainingoperations/finalizers", "update"): (
        "looked up by the plugin OwnerReferencesPermissionEnforcement when a Job gets its owner"
    ),
    ("rbac.authorization.k8s.io", "clusterroles", "bind"): (
        "looked up by the API server when the trainers' RoleBinding is made"
    ),
}
"""Rights that no request shows while all goes well, and when they are asked for."""


def granted() -> set[Right]:
    """What the manifests let the operator do."""
    objects = [o for o in yaml.safe_load_all(MANIFESTS.read_text()) if o]
    bound = {
        o["roleRef"]["name"]
        for o in objects
        if o["kind"].endswith("Binding")
        and "roleRef" in o
        and any(subject["name"] == ACCOUNT for subject in o["subjects"])
    }
    return {
        (group, resource, verb)
        for o in objects
        if o["kind"] in ("ClusterRole", "Role") and o["metadata"]["name"] in bound
        for rule in o["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture
def crowded(cluster: Cluster) -> Iterator[Kubectl]:
    """A namespace in which no Job may be made."""
    cluster.kubectl()("create", "namespace", "crowded")
    kubectl = cluster.kubectl("crowded")
    kubectl("create", "quota", "none", "--hard=count/jobs.batch=0")
    eventually(
        lambda: kubectl.get("quota", "none").get("status", {}).get("hard"),
        within=60,
        why="the quota counts",
    )
    try:
        yield kubectl
    finally:
        cluster.kubectl()("delete", "namespace", "crowded", "--wait=false")


def provoke(kubectl: Kubectl, crowded: Kubectl) -> None:
    """Runs that take between them every path on which the operator asks for something."""
    training = {
        "symbols": ["AAPL"],
        "timeframes": ["1d"],
        "strategy": {"configMapKeyRef": {"name": "missing", "key": "a.yaml"}},
    }
    missing = {"spec": {"volumes": [{"name": "v", "configMap": {"name": "missing"}}]}}
    endless = {"command": ["sh", "-c", "while true; do sleep 0.1; done"]}
    stubborn = {"command": ["sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"]}
    kubectl.apply(
        dummy("claims", iterations=1, interval=0, storage={"claimTemplate": {"size": "1Mi"}}),
        dummy("claimed", storage={"existingClaim": {"claimName": "missing"}}),
        operation("strategy", "Training", training=training),
        operation("fails", "Custom", custom={"command": ["sh", "-c", "exit 1"]}),
        operation(
            "foreign",
            "Custom",
            custom={"command": ["true"]},
            image=names.default_operator_image(__version__),
        ),
        operation("stopped", "Custom", custom=endless),
        operation("deleted", "Custom", custom=stubborn, cancelGracePeriodSeconds=3),
        dummy("held", resources={"requests": {"cpu": "4000"}}),
        dummy("silent", podTemplate=missing),
        operation(
            "together",
            "Custom",
            custom={"command": ["false"]},
            workers=2,
            retryPolicy={"limit": 1, "backoffSeconds": 1},
        ),
    )
    crowded.apply(dummy("run", iterations=1, interval=0))
    kubectl.wait_for("held", lambda o: o.get("status", {}).get("reason") == "Unschedulable")
    kubectl.cancel("held")
    kubectl.wait_for_phase("stopped", "Running")
    kubectl.cancel("stopped")
    kubectl.wait_for_phase("deleted", "Running")
    [pod] = kubectl.pods_of("deleted")
    kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    crowded.wait_for("run", lambda o: o.get("status", {}).get("reason") == "QuotaExceeded")


def test_every_right_of_the_operator_is_used_and_none_is_missing(
    cluster: Cluster, kubectl: Kubectl, crowded: Kubectl
):
    # An API server that just starts refuses what it will grant: other tests stop it.
    begin = cluster.audit.stat().st_size
    provoke(kubectl, crowded)
    rights = granted()
    assert rights >= set(NOT_SEEN_HERE), "the list of exceptions is out of date"
    expected = rights - set(NOT_SEEN_HERE)
    unused = expected

    def all_used() -> bool:
        nonlocal unused
        unused = expected - {right for said, right, _ in requests(cluster) if said == "allow"}
        return not unused

    try:
        eventually(all_used, within=150, every=1, why="every right was used")
    except AssertionError:
        pytest.fail(f"granted to the operator and never used: {sorted(unused)}")
    refused = {(right, path) for said, right, path in requests(cluster, begin) if said == "forbid"}
    assert not refused, "asked for by the operator and not granted"

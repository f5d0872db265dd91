"""Where a namespace enforces the Pod Security Standard ``restricted``.

The whole suite runs in such namespaces, the controller too; here is what else matters there.
"""

from __future__ import annotations

from clusters import OPERATOR_NAMESPACE
from given_cluster import RESTRICTED, GivenCluster
from kubectl import Kubectl, dummy, operation


def enforces(cluster: GivenCluster, namespace: str) -> bool:
    labels = cluster.kubectl().get("namespace", namespace)["metadata"]["labels"]
    return labels.items() >= RESTRICTED.items()


def test_the_controller_and_the_built_in_trainers_run(cluster: GivenCluster, kubectl: Kubectl):
    assert enforces(cluster, OPERATOR_NAMESPACE)
    assert enforces(cluster, kubectl.namespace)
    kubectl.apply(dummy("run", iterations=1, interval=0))
    kubectl.wait_for_phase("run", "Succeeded")
    [pod] = cluster.kubectl(OPERATOR_NAMESPACE).items(
        "pods", "app.kubernetes.io/name=headway-operator"
    )
    assert pod["status"]["phase"] == "Running"


def test_a_users_own_image_runs_as_its_own_user(cluster: GivenCluster, kubectl, without_the_sdk):
    assert enforces(cluster, kubectl.namespace)
    kubectl.apply(
        operation("run", "Custom", image=without_the_sdk, custom={"command": ["id", "-u"]})
    )
    kubectl.wait_for_phase("run", "Succeeded")
    [pod] = kubectl.pods_of("run")
    assert kubectl("logs", pod["metadata"]["name"]).strip() == "10002"


def test_a_pod_template_that_asks_for_more_is_told_what_it_may_not(kubectl):
    kubectl.apply(dummy("run", podTemplate={"spec": {"hostNetwork": True}}))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert status["reason"] == "InvalidPod"
    assert 'violates PodSecurity "restricted' in status["message"]
    assert "hostNetwork" in status["message"]

"""The operator of a cluster under test, taken away and brought back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clusters import OPERATOR_NAMESPACE
from kubectl import Kubectl
from namespaces import KubectlOf
from waiting import eventually


@contextmanager
def operator_away(kubectl_of: KubectlOf) -> Iterator[None]:
    """Take the operator away by its Deployment, and bring it back to its work."""
    kubectl: Kubectl = kubectl_of(OPERATOR_NAMESPACE)
    kubectl("scale", "deployment/headway-operator", "--replicas=0")
    eventually(lambda: not kubectl.items("pods"), within=60, why="the operator is gone")
    try:
        yield
    finally:
        kubectl("scale", "deployment/headway-operator", "--replicas=1")
        kubectl("rollout", "status", "deployment/headway-operator", "--timeout=180s")

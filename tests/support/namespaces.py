"""A namespace for each test, which goes with it."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import objects
import warm
from kubectl import Kubectl
from waiting import eventually

KubectlOf = Callable[[str], Kubectl]

_NAMESPACES = "/api/v1/namespaces"
_RUNNING = ("trainop", "deployment", "job", "pod")
_numbers = itertools.count(1)


@contextmanager
def own_namespace(
    kubectl_of: KubectlOf,
    test: str,
    labels: Mapping[str, str] | None = None,
    *,
    stays: bool = False,
) -> Iterator[Kubectl]:
    """kubectl in a new namespace that is named after a test.

    Args:
        kubectl_of: kubectl for a namespace.
        test: the test's name.
        labels: the namespace's labels.
        stays: only what runs in it is deleted; the rest goes with the cluster. To delete one costs
            an API server as much as many a test does: it looks for objects of every kind.
    """
    word = re.sub(r"[^a-z0-9]+", "-", test.lower()).strip("-")[:40].strip("-")
    namespace = f"t{next(_numbers)}-{word}"
    kubectl = kubectl_of(namespace)
    metadata = {"name": namespace, "labels": dict(labels or {})}
    objects.send(
        kubectl.kubeconfig,
        "POST",
        _NAMESPACES,
        body={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
    )
    eventually(
        lambda: kubectl.get("serviceaccount", "default"),
        within=90,  # the controller manager may still be finding the API server again
        why=f"namespace {namespace} is usable",
    )
    try:
        yield kubectl
    finally:
        if stays:
            objects.delete_all(kubectl.kubeconfig, namespace, *_RUNNING)
        else:
            objects.send(kubectl.kubeconfig, "DELETE", f"{_NAMESPACES}/{namespace}")


def headway_in(
    kubectl: Kubectl, environment: Mapping[str, str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The headway command in a namespace: ``headway("list", "-A")``.

    Args:
        kubectl: the namespace.
        environment: what a command needs to use the cluster and no other.
    """

    def run(*args: str, check: bool = False, **options) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **environment, "HEADWAY_NAMESPACE": kubectl.namespace}
        return warm.headway(*args, env=env, check=check, **options)

    return run

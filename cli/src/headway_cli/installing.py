"""Installing Headway on a cluster: its manifests by server-side apply, then a wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway.client_errors import ClientError, Forbidden, NotFound, NotInstalled
from headway.cluster_api import APPLY_PATCH, ClusterApi, segment
from headway_api import names

from headway_cli.exits import ExitCode
from headway_cli.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

Say = Callable[[str], None]
Object = dict[str, Any]

OLDEST_KUBERNETES = (1, 32)
NEW_ENOUGH = f"Kubernetes {'.'.join(map(str, OLDEST_KUBERNETES))} or newer"
MANAGER = "headway-install"
_POLL = 0.25
_SETTLES_WITHIN = 15.0
"""Seconds that a new resource may take to be served."""


@dataclass(frozen=True)
class Images:
    """The images to install with; None is what the packaged manifests say.

    Attributes:
        operator: the controller's, such as ``registry.example/headway/operator:0.1.0``.
        trainer: that of runs that name none.
        pull_policy: the controller's: ``Always``, ``IfNotPresent`` or ``Never``.
    """

    operator: str | None = None
    trainer: str | None = None
    pull_policy: str | None = None


PACKAGED = Images()


def install(
    api: ClusterApi,
    say: Say,
    images: Images = PACKAGED,
    *,
    wait: bool = True,
    timeout: float = 120.0,
) -> None:
    """Apply the packaged manifests, and return once the controller is at work.

    Args:
        api: the cluster.
        say: told what is done, one short line at a time.
        images: those to install with.
        wait: whether to wait for the controller.
        timeout: most seconds to wait for it.

    Raises:
        ClientError: the cluster refused an object, or does not answer.
        Problem: Kubernetes is too old, Helm looks after this installation, or it is in another
            namespace; or the controller did not become available in time: it says why, where
            that is known.
    """
    _refuse_an_old_kubernetes(api)
    _refuse_what_is_helms(api)
    _refuse_another_namespace(api)
    objects = manifests(images)
    say(f"applying {len(objects)} objects (the resource, its roles, the operator)")
    paths = _Paths(api)
    for item in objects:
        _apply(api, paths, item)
        if item["kind"] == "CustomResourceDefinition":
            _wait_established(api, item["metadata"]["name"])
    if not wait:
        return
    for item in objects:
        if item["kind"] == "Deployment":
            say(f"waiting for {item['metadata']['name']}")
            _wait_available(api, item, say, timeout)


def manifests(images: Images = PACKAGED) -> list[Object]:
    """The packaged manifests with these images, in the order to apply them."""
    import yaml

    from headway_cli import manifests as packaged

    objects = [document for document in yaml.safe_load_all(packaged.text()) if document]
    for item in objects:
        if item["kind"] == "Deployment":
            [container] = item["spec"]["template"]["spec"]["containers"]
            _use(images, container)
    return objects


def _use(images: Images, container: Object) -> None:
    if images.operator:
        container["image"] = images.operator
    if images.pull_policy:
        container["imagePullPolicy"] = images.pull_policy
    if images.trainer:
        flag = "--trainer-image="
        container["args"] = [
            f"{flag}{images.trainer}" if argument.startswith(flag) else argument
            for argument in container["args"]
        ]


def operator(api: ClusterApi) -> Object | None:
    """The controller's Deployment as it stands, in whatever namespace; None where there is none.

    Raises:
        ClientError: the cluster does not answer, or does not allow it.
    """
    path = f"/apis/apps/v1/namespaces/{names.OPERATOR_NAMESPACE}/deployments/headway-operator"
    try:
        return api.request("GET", path, doing="get the deployment headway-operator")
    except NotFound:
        pass
    found = api.request(
        "GET",
        "/apis/apps/v1/deployments",
        doing=f"look for the operator outside of {names.OPERATOR_NAMESPACE}",
        query={"labelSelector": "app.kubernetes.io/name=headway-operator"},
    )
    return next(iter(found["items"]), None)


def is_available(deployment: Object) -> bool:
    """Whether every replica of a Deployment's latest template is up."""
    status, spec = deployment.get("status") or {}, deployment["spec"]
    wanted = spec.get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
    )


def is_too_old(version: Object) -> bool:
    """Whether a cluster that says this of its version is older than what Headway needs."""
    digits = tuple(
        int("".join(c for c in str(version.get(key, "0")) if c.isdigit()) or 0)
        for key in ("major", "minor")
    )
    return digits < OLDEST_KUBERNETES


def _refuse_an_old_kubernetes(api: ClusterApi) -> None:
    """It would take the manifests, and leave out what it does not know of them."""
    version = api.request("GET", "/version", doing="ask for the version")
    if is_too_old(version):
        raise Problem(
            f"Headway needs {NEW_ENOUGH}.",
            why=f"{api.server} is Kubernetes {version.get('gitVersion', '?')}.",
        )


def _refuse_what_is_helms(api: ClusterApi) -> None:
    """Two that apply the same objects in turn would undo each other's settings."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/headway-operator"
    try:
        found = api.request("GET", path, doing="get the cluster role headway-operator")
    except NotFound:
        return
    metadata = found["metadata"]
    if (metadata.get("labels") or {}).get(names.LABEL_MANAGED_BY) != "Helm":
        return
    annotations = metadata.get("annotations") or {}
    release = annotations.get("meta.helm.sh/release-name", "headway")
    namespace = annotations.get("meta.helm.sh/release-namespace", names.OPERATOR_NAMESPACE)
    raise Problem(
        f"Headway is installed on this cluster by Helm, as {release} in namespace {namespace}.",
        why="What is applied beside Helm is undone by its next upgrade, or stands in its way.",
        todo=[f"helm upgrade {release} CHART --namespace {namespace}"],
    )


def _refuse_another_namespace(api: ClusterApi) -> None:
    """A second controller would take the roles and the admission policy from the first."""
    try:
        found = operator(api)
    except Forbidden:
        return
    if found is None or found["metadata"]["namespace"] == names.OPERATOR_NAMESPACE:
        return
    namespace = found["metadata"]["namespace"]
    raise Problem(
        f"Headway is installed on this cluster already, in namespace {namespace}.",
        why=f"This command installs into {names.OPERATOR_NAMESPACE}, and takes the roles and the"
        " admission policy from the operator that is there.",
        todo=[f"upgrade it in {namespace}, the way it was installed"],
    )


class _Paths:
    """Where objects of a kind live, as the server's discovery says."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    def of(self, item: Object) -> str:
        version, kind = str(item["apiVersion"]), str(item["kind"])
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if kind not in self._known.get(root, {}):
            found = self._api.request("GET", root, doing=f"find out about {version}")
            self._known[root] = {
                entry["kind"]: (entry["name"], bool(entry["namespaced"]))
                for entry in found.get("resources") or ()
                if "/" not in entry["name"]
            }
        if kind not in self._known[root]:
            raise NotInstalled(f"The cluster does not know {kind} of {version}.")
        plural, namespaced = self._known[root][kind]
        metadata = item["metadata"]
        space = metadata.get("namespace", "default")
        within = f"/namespaces/{segment(space)}" if namespaced else ""
        return f"{root}{within}/{plural}/{segment(metadata['name'])}"


def _apply(api: ClusterApi, paths: _Paths, item: Object) -> None:
    deadline = time.monotonic() + _SETTLES_WITHIN
    doing = f"apply {item['kind']} {item['metadata']['name']}"
    while True:
        try:
            api.request(
                "PATCH",
                paths.of(item),
                doing=doing,
                query={"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"},
                body=item,
                content_type=APPLY_PATCH,
            )
        except (NotInstalled, NotFound):
            # A namespace or resource that was made a moment ago.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL)
        else:
            return


def _wait_established(api: ClusterApi, name: str) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{segment(name)}"
    deadline = time.monotonic() + _SETTLES_WITHIN
    while True:
        found = api.request("GET", path, doing=f"get the resource definition {name}")
        conditions = (found.get("status") or {}).get("conditions") or ()
        if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return
        if time.monotonic() > deadline:
            raise Problem(
                f"The cluster does not serve {name}.",
                why="\n".join(str(c.get("message", "")) for c in conditions),
                todo=[f"kubectl describe crd {name}"],
            )
        time.sleep(_POLL)


def _wait_available(api: ClusterApi, item: Object, say: Say, timeout: float) -> None:
    metadata = item["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    path = f"/apis/apps/v1/namespaces/{segment(namespace)}/deployments/{segment(name)}"
    deadline = time.monotonic() + timeout
    said = ""
    while True:
        found = api.request("GET", path, doing=f"get the deployment {name}")
        if is_available(found):
            return
        why = "\n".join(_troubles(api, namespace, found))
        if why and why != said:
            said = why
            say(f"  {why.splitlines()[0]}")
        if time.monotonic() > deadline:
            raise Problem(
                f"{name} is not available after {timeout:g} s.",
                why=why,
                todo=[
                    f"kubectl -n {namespace} describe pods",
                    f"kubectl -n {namespace} logs deployment/{name}",
                ],
                code=ExitCode.TIMED_OUT,
            )
        time.sleep(_POLL)


def _troubles(api: ClusterApi, namespace: str, deployment: Object) -> Iterable[str]:
    """What keeps a Deployment's pods from running, in the cluster's own words."""
    labels = (deployment["spec"].get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield f"{condition.get('reason')}: {condition.get('message')}"
    try:
        pods = api.request(
            "GET",
            f"/api/v1/namespaces/{segment(namespace)}/pods",
            doing="list the operator's pods",
            query={"labelSelector": selector},
        )
    except ClientError:
        return
    for pod in pods.get("items") or ():
        status, name = pod.get("status") or {}, pod["metadata"]["name"]
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                yield f"{name}: {condition.get('reason')}: {condition.get('message')}"
        for container in status.get("containerStatuses") or ():
            state = container.get("state") or {}
            waiting = state.get("waiting") or {}
            ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
            if waiting.get("reason") not in (None, "ContainerCreating"):
                yield f"{name}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
            if ended:
                yield f"{name}: exited with code {ended.get('exitCode')}"

"""The pod of a run: ours, with the user's partial template merged over it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headway_api import environment, limits, names

from headway_operator.placing import placed
from headway_operator.pod_security import TEMPORARY_PATH, TEMPORARY_VOLUME, Contexts, contexts
from headway_operator.strategic_merge import MergeError, merged

if TYPE_CHECKING:
    from headway_api.models import TrainingOperationSpec
    from headway_api.vocabulary import OperationType

STRATEGY_VOLUME = "headway-strategy"
STRATEGY_FOLDER = "/etc/headway/strategy"
STRATEGY_FILE = "strategy.yaml"
SHARED_MEMORY_VOLUME = "headway-shm"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 - a path inside the container
BUILT_IN_COMMAND = ["python", "-m", "headway_trainer"]
ENTRYPOINT_COMMAND = ["python", "-m", "headway", "exec"]

_OUR_ENVIRONMENT = frozenset(
    {
        environment.OPERATION_NAME,
        environment.OPERATION_NAMESPACE,
        environment.OPERATION_UID,
        environment.OPERATION_TYPE,
        environment.OPERATION_PARAMETERS,
        environment.ATTEMPT,
        environment.POD_NAME,
        environment.WORKSPACE,
        environment.STRATEGY_PATH,
        environment.CHECKPOINT_EVERY_EPOCHS,
        environment.CHECKPOINT_EVERY_SECONDS,
        environment.CHECKPOINT_KEEP,
        environment.RESUME_FROM,
        environment.RANK,
        environment.WORLD_SIZE,
        environment.LOCAL_RANK,
        environment.LOCAL_WORLD_SIZE,
        environment.GROUP_RANK,
        environment.MASTER_ADDR,
        environment.MASTER_PORT,
    }
)

_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}

_NO_SHAPE = (
    "podTemplate does not have the shape of a PodTemplateSpec: see "
    "kubectl explain job.spec.template"
)


class NotAllowedError(ValueError):
    """A podTemplate that takes out of our hands what must stay there."""


def check_pod_template(template: Mapping[str, Any]) -> None:
    """Refuse what a podTemplate may not change.

    Raises:
        NotAllowedError: says which field, and why.
    """
    try:
        _check(template)
    except (AttributeError, TypeError) as error:
        raise NotAllowedError(_NO_SHAPE) from error


def _check(template: Mapping[str, Any]) -> None:
    unknown = sorted(set(template) - {"metadata", "spec"})
    if unknown:
        raise NotAllowedError(
            f"podTemplate.{unknown[0]}: no such field; a pod template has metadata and spec"
        )
    for field in ("metadata", "spec"):
        if field in template and template[field] is None:
            raise NotAllowedError(f"podTemplate.{field} may not be null: that would remove ours")
    metadata = template.get("metadata") or {}
    if "labels" in metadata and metadata["labels"] is None:
        raise NotAllowedError("podTemplate.metadata.labels may not be null: pods are found by ours")
    for field in ("name", "generateName", "namespace", "ownerReferences", "finalizers"):
        if field in metadata:
            raise NotAllowedError(f"podTemplate.metadata.{field} may not be set: Jobs name pods")
    for label in metadata.get("labels") or {}:
        if label.startswith(f"{names.GROUP}/") or label == names.LABEL_MANAGED_BY:
            raise NotAllowedError(
                f"podTemplate.metadata.labels: {label} is Headway's own and may not be changed"
            )
    spec = template.get("spec") or {}
    if spec.get("restartPolicy", "Never") != "Never":
        raise NotAllowedError(
            "podTemplate.spec.restartPolicy must be Never: a restarted container would hide how "
            "the trainer ended"
        )
    if spec.get("automountServiceAccountToken", True) is not True:
        raise NotAllowedError(
            "podTemplate.spec.automountServiceAccountToken must be true: the trainer reports with "
            "its pod's token"
        )
    if spec.get("terminationGracePeriodSeconds") == 0:
        raise NotAllowedError(
            "podTemplate.spec.terminationGracePeriodSeconds must be at least 1: with 0 a pod would "
            "be gone while its processes still run"
        )
    if "containers" in spec and spec["containers"] is None:
        raise NotAllowedError("podTemplate.spec.containers: the trainer's container must stay")
    for container in spec.get("containers") or ():
        if container.get("name") == names.TRAINER_CONTAINER:
            _check_trainer(container)


def _check_trainer(container: Mapping[str, Any]) -> None:
    where = f"podTemplate.spec.containers[{names.TRAINER_CONTAINER}]"
    for variable in container.get("env") or ():
        if variable.get("name") in _OUR_ENVIRONMENT:
            raise NotAllowedError(
                f"{where}.env: {variable['name']} is set by Headway and may not be changed"
            )
    for mount in container.get("volumeMounts") or ():
        if str(mount.get("mountPath", "")).rstrip("/") == names.SERVICE_ACCOUNT_PATH:
            raise NotAllowedError(f"{where}.volumeMounts: the pod's token may not be replaced")
    if "env" in container and container["env"] is None:
        raise NotAllowedError(f"{where}.env may not be removed: it says who the trainer works for")
    for field in ("restartPolicy", "restartPolicyRules"):
        if field in container:
            raise NotAllowedError(
                f"{where}.{field} may not be set: a restarted container would hide how the trainer "
                "ended"
            )
    for field in ("terminationMessagePolicy", "terminationMessagePath"):
        if field in container:
            raise NotAllowedError(f"{where}.{field} may not be changed: reports go through it")


def pod_template(
    *,
    name: str,
    namespace: str,
    uid: str,
    attempt: int,
    spec: TrainingOperationSpec,
    raw_spec: Mapping[str, Any],
    default_image: str,
    restricted: bool = False,
) -> dict[str, Any]:
    """The PodTemplateSpec of an attempt.

    Args:
        name: the operation's name.
        namespace: its namespace.
        uid: its uid.
        attempt: the attempt, from 1.
        spec: what to run.
        raw_spec: the same as it stands in the resource: the trainer gets its parameters from it.
        default_image: image of runs that name none: our own.
        restricted: whether the namespace enforces the restricted Pod Security Standard.

    Raises:
        NotAllowedError: the podTemplate cannot be merged.
    """
    security = contexts(own_image=runs_our_image(spec, default_image), restricted=restricted)
    parameters = raw_spec.get(spec.type.member) or {}
    volumes = [_workspace(name, spec), {"name": SHARED_MEMORY_VOLUME, "emptyDir": _shared(spec)}]
    mounts = [
        _workspace_mount(spec),
        {"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY_PATH},
    ]
    env = _env(name, namespace, uid, attempt, spec, parameters)
    reference = spec.training.strategy.config_map_key_ref if spec.training else None
    if reference:
        items = [{"key": reference.key, "path": STRATEGY_FILE}]
        volumes.append(
            {"name": STRATEGY_VOLUME, "configMap": {"name": reference.name, "items": items}}
        )
        mounts.append({"name": STRATEGY_VOLUME, "mountPath": STRATEGY_FOLDER, "readOnly": True})
        path = f"{STRATEGY_FOLDER}/{STRATEGY_FILE}"
        env.append({"name": environment.STRATEGY_PATH, "value": path})
    container: dict[str, Any] = {
        "name": names.TRAINER_CONTAINER,
        "image": spec.image or default_image,
        **_command(spec),
        "env": env,
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if spec.resources:
        container["resources"] = spec.resources.to_wire()
    if security.trainer:
        container["securityContext"] = dict(security.trainer)
    if security.read_only:
        volumes.append({"name": TEMPORARY_VOLUME, "emptyDir": {}})
        mounts.append({"name": TEMPORARY_VOLUME, "mountPath": TEMPORARY_PATH})
    ours: dict[str, Any] = {
        "metadata": {
            "labels": labels(name, uid, attempt, spec.type),
            "annotations": {"kubectl.kubernetes.io/default-container": names.TRAINER_CONTAINER},
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": names.TRAINER_SERVICE_ACCOUNT,
            "automountServiceAccountToken": True,
            # With none at all a pod's object would go while its processes still run.
            "terminationGracePeriodSeconds": max(
                spec.cancel_grace_period_seconds, limits.FORCED_DELETE_GRACE
            ),
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": volumes,
        },
    }
    if spec.workers > 1:
        ours["spec"]["subdomain"] = name
    if security.pod:
        ours["spec"]["securityContext"] = dict(security.pod)
    if not spec.pod_template:
        return placed(ours, spec)
    _say_for_other_containers(ours["spec"], spec.pod_template, security)
    try:
        return placed(merged(ours, spec.pod_template, "podTemplate"), spec)
    except MergeError as error:
        raise NotAllowedError(str(error)) from error
    except (AttributeError, TypeError, RecursionError) as error:
        raise NotAllowedError(_NO_SHAPE) from error


def runs_our_image(spec: TrainingOperationSpec, default_image: str) -> bool:
    """Whether the trainer runs in our own image."""
    return (spec.image or default_image) == default_image


def depends_on_the_namespace(spec: TrainingOperationSpec, default_image: str) -> bool:
    """Whether the pod is another one where the namespace enforces the restricted standard."""
    return not runs_our_image(spec, default_image) or any(
        _other_containers(spec.pod_template or {}, kind) for kind in _CONTAINERS
    )


_CONTAINERS = ("containers", "initContainers")


def _say_for_other_containers(
    ours: dict[str, Any], template: Mapping[str, Any], security: Contexts
) -> None:
    """Put security contexts where the template's own containers will be merged over them."""
    if not security.others:
        return
    for kind in _CONTAINERS:
        said = [
            {"name": name, "securityContext": dict(security.others)}
            for name in _other_containers(template, kind)
        ]
        if said:
            ours[kind] = [*ours.get(kind, ()), *said]


def _other_containers(template: Mapping[str, Any], kind: str) -> list[str]:
    """Names of the template's containers beside the trainer, as far as it has the right shape."""
    spec = template.get("spec")
    listed = spec.get(kind) if isinstance(spec, Mapping) else None
    members = listed if isinstance(listed, list) else ()
    found = [c.get("name") for c in members if isinstance(c, Mapping)]
    return [str(name) for name in found if name and name != names.TRAINER_CONTAINER]


def labels(name: str, uid: str, attempt: int, kind: OperationType) -> dict[str, str]:
    """The labels of everything that an attempt is made of."""
    return {
        names.LABEL_OPERATION: name,
        names.LABEL_OPERATION_UID: uid,
        names.LABEL_ATTEMPT: str(attempt),
        names.LABEL_TYPE: kind.value,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
    }


def claim_name(operation: str) -> str:
    """Name of the claim that is made from ``spec.storage.claimTemplate``."""
    return f"{operation}-{names.WORKSPACE_VOLUME}"


def _env(
    name: str,
    namespace: str,
    uid: str,
    attempt: int,
    spec: TrainingOperationSpec,
    parameters: Mapping[str, Any],
) -> list[dict[str, Any]]:
    fixed = {
        environment.OPERATION_NAME: name,
        environment.OPERATION_NAMESPACE: namespace,
        environment.OPERATION_UID: uid,
        environment.OPERATION_TYPE: spec.type.value,
        environment.OPERATION_PARAMETERS: json.dumps(parameters, separators=(",", ":")),
        environment.ATTEMPT: str(attempt),
        environment.WORKSPACE: names.WORKSPACE_PATH,
        **(spec.checkpoint.variables() if spec.checkpoint is not None else {}),
    }
    env: list[dict[str, Any]] = [
        # The node expands $(NAME) in values and reads $$ as $; a parameter means both literally.
        {"name": key, "value": value.replace("$", "$$")}
        for key, value in fixed.items()
    ]
    pod_name = {"fieldRef": {"fieldPath": "metadata.name"}}
    env.append({"name": environment.POD_NAME, "valueFrom": pod_name})
    if spec.workers > 1:
        env += _workers(name, attempt, spec.workers)
    return env


def _workers(name: str, attempt: int, workers: int) -> list[dict[str, Any]]:
    """What torchrun would set, with one process in each pod.

    Source: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
    """
    rank = {"fieldRef": {"fieldPath": f"metadata.annotations['{names.LABEL_INDEX}']"}}
    fixed = {
        environment.WORLD_SIZE: workers,
        environment.LOCAL_RANK: 0,
        environment.LOCAL_WORLD_SIZE: 1,
        environment.MASTER_ADDR: names.first_worker(name, attempt),
        environment.MASTER_PORT: environment.MASTER_PORT_DEFAULT,
    }
    return [
        {"name": environment.RANK, "valueFrom": rank},
        {"name": environment.GROUP_RANK, "valueFrom": rank},
        *({"name": key, "value": str(value)} for key, value in fixed.items()),
    ]


def _command(spec: TrainingOperationSpec) -> dict[str, list[str]]:
    custom = spec.custom
    if custom is None:
        return {"command": BUILT_IN_COMMAND}
    if custom.entrypoint:
        return {"command": ENTRYPOINT_COMMAND}
    given = {"command": custom.command, "args": custom.args}
    return {key: value for key, value in given.items() if value}


def _workspace(name: str, spec: TrainingOperationSpec) -> dict[str, Any]:
    storage = spec.storage
    volume: dict[str, Any] = {"name": names.WORKSPACE_VOLUME}
    if storage and storage.existing_claim:
        volume["persistentVolumeClaim"] = {"claimName": storage.existing_claim.claim_name}
    elif storage and storage.claim_template:
        volume["persistentVolumeClaim"] = {"claimName": claim_name(name)}
    else:
        volume["emptyDir"] = storage.empty_dir.to_wire() if storage and storage.empty_dir else {}
    return volume


def _workspace_mount(spec: TrainingOperationSpec) -> dict[str, Any]:
    mount = {"name": names.WORKSPACE_VOLUME, "mountPath": names.WORKSPACE_PATH}
    storage = spec.storage
    if storage and storage.existing_claim and storage.existing_claim.sub_path:
        mount["subPath"] = storage.existing_claim.sub_path
    return mount


def _shared(spec: TrainingOperationSpec) -> dict[str, Any]:
    """``/dev/shm``: half of the memory limit, or what the node gives where there is none.

    Data loaders hand batches over through it, and a container's default of 64 MiB ends them with
    a bus error. What is in it counts as the container's memory.
    """
    shared: dict[str, Any] = {"medium": "Memory"}
    limit = ((spec.resources.limits if spec.resources else None) or {}).get("memory")
    size = bytes_of(limit) if limit else None
    if size:
        shared["sizeLimit"] = f"{max(1, size // 2**21)}Mi"
    return shared


def bytes_of(quantity: str) -> int | None:
    """A memory quantity such as ``2Gi`` in bytes; None where it is none."""
    digits = quantity.rstrip("kKMGTPEi")
    unit = quantity[len(digits) :]
    try:
        return int(float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        return None

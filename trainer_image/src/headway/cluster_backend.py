"""The cluster backend: a piece of work becomes a TrainingOperation."""

from __future__ import annotations

import inspect
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from headway_api import environment, names
from headway_api.models import (
    ApiModel,
    CustomSpec,
    DataLoadSpec,
    DummySpec,
    Strategy,
    TrainingSpec,
)
from headway_api.vocabulary import OperationType, Phase

from headway.client import NameTaken, OperationsClient

IMAGE = "HEADWAY_IMAGE"
"""Image of operations that this process sends; unset means the controller's trainer image."""
CLAIM = "HEADWAY_CLAIM"
"""Name of a PersistentVolumeClaim for the workspace of operations that this process sends."""
_TRIES = 5
_MODELS: Mapping[OperationType, type[ApiModel]] = {
    OperationType.TRAINING: TrainingSpec,
    OperationType.DATA_LOAD: DataLoadSpec,
    OperationType.DUMMY: DummySpec,
}


class OperationFailedError(Exception):
    """The operation failed in the cluster; the message says why.

    Attributes:
        operation: the whole TrainingOperation.
    """

    def __init__(self, message: str, operation: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.operation = operation


def submit(
    operation_name: str,
    operation_type: OperationType,
    operation_func: Callable[..., Any],
    parameters: Mapping[str, Any],
    client: OperationsClient | None = None,
) -> dict[str, Any]:
    """Make the TrainingOperation; returns its ``operation_id``, ``namespace`` and ``status``.

    Raises:
        headway.client.ClientError: the cluster refuses it or does not answer.
        ValueError: the parameters are wrong, or the work cannot be imported elsewhere.
    """
    client = client or OperationsClient.connect()
    spec = spec_of(OperationType(operation_type), operation_func, parameters)
    for attempt in range(_TRIES):
        name = f"{_stem(operation_name)}-{secrets.token_hex(3)}"
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name, "namespace": client.namespace},
            "spec": spec,
        }
        try:
            made = client.create(manifest)
        except NameTaken:
            if attempt == _TRIES - 1:
                raise
            continue
        return {
            "operation_id": name,
            "namespace": client.namespace,
            "uid": made["metadata"]["uid"],
            "status": "started",
        }
    raise AssertionError("the loop returns or raises")


def wait_for_result(
    started: Mapping[str, Any], client: OperationsClient | None = None
) -> dict[str, Any]:
    """Wait until an operation is over, and return its result as the work itself would have.

    Raises:
        OperationFailedError: it failed.
        headway.client.ClientError: it was deleted, or the cluster does not answer.
    """
    client = client or OperationsClient.connect(namespace=started["namespace"])
    return result_of(client.wait_final(started["operation_id"]))


def result_of(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The result of an operation that is over.

    Raises:
        OperationFailedError: it failed.
    """
    status = operation["status"]
    result = status.get("result") or {}
    if status["phase"] == Phase.FAILED:
        raise OperationFailedError(
            f"{operation['metadata']['name']} failed ({result.get('reason')}): "
            f"{result.get('message') or status.get('message') or ''}".rstrip(": "),
            operation,
        )
    report = dict(status.get("report") or result.get("report") or {})
    out: dict[str, Any] = {
        "status": "cancelled" if status["phase"] == Phase.CANCELLED else "success"
    }
    for wire_name, name in _RESULTS.items():
        if wire_name in report:
            out[name] = report[wire_name]
    out.update(report.get("summary") or {})
    return out


_RESULTS = {
    "epochsCompleted": "epochs_completed",
    "batchesCompleted": "batches_completed",
    "iterationsCompleted": "iterations_completed",
    "artifacts": "artifacts",
}


def spec_of(
    kind: OperationType, work: Callable[..., Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The spec of a piece of work.

    Raises:
        ValueError: the parameters are wrong, or the work cannot be imported elsewhere.
    """
    if kind is OperationType.CUSTOM:
        member = _entrypoint(work, parameters)
    else:
        member = _inputs(kind, parameters)
    spec: dict[str, Any] = {"type": str(kind), kind.member: member}
    if image := os.environ.get(IMAGE):
        spec["image"] = image
    if claim := os.environ.get(CLAIM):
        spec["storage"] = {"existingClaim": {"claimName": claim}}
    if placement := environment.chosen_placement(os.environ):
        spec["placement"] = str(placement)
    return spec


def _entrypoint(work: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The member struct ``custom``: the parameters as they are, None among them."""
    try:
        given = json.loads(json.dumps(dict(parameters), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameters must be JSON: {error}") from error
    member = CustomSpec(entrypoint=importable_name(work)).to_wire()
    return {**member, "parameters": given} if given else member


def _inputs(kind: OperationType, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The member struct of work that Headway's own services do; None means left out."""
    model = _MODELS[kind]
    given = {key: value for key, value in parameters.items() if value is not None}
    known = {*model.model_fields, *(str(f.alias) for f in model.model_fields.values())}
    if unknown := sorted(given.keys() - known):
        raise ValueError(f"{kind} takes no {', '.join(unknown)}; a pod would not see it")
    if kind is OperationType.TRAINING and isinstance(given.get("strategy"), Mapping):
        given["strategy"] = {"inline": Strategy.model_validate(given["strategy"]).to_wire()}
    return model.model_validate(given).to_wire()


def importable_name(work: Callable[..., Any]) -> str:
    """``package.module:Class.method`` or ``package.module:function`` of a callable.

    Raises:
        ValueError: another process cannot import it: a closure, a lambda, or in ``__main__``.
    """
    module = getattr(work, "__module__", None)
    path = getattr(work, "__qualname__", None)
    owner = getattr(work, "__self__", None)
    if owner is not None and path and "." in path:
        # A method that a class inherits is found by the class that has it.
        home = owner if inspect.isclass(owner) else type(owner)
        module, path = home.__module__, f"{home.__qualname__}.{work.__name__}"
    if not module or not path:
        raise ValueError(f"{work!r} has no name that another process could import")
    if "<locals>" in path or "<lambda>" in path:
        raise ValueError(
            f"{path} is defined inside a function: a pod cannot import it. Move it to a module."
        )
    if module == "__main__":
        raise ValueError(
            f"{path} is in the script that runs (__main__): a pod cannot import it. "
            "Move it to a module that is installed in the image."
        )
    return f"{module}:{path}"


def _stem(name: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    word = re.sub(r"^[^a-z]+", "", word) or "operation"
    return word[: names.MAX_NAME_LENGTH - 7].strip("-")

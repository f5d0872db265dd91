"""Merging a partial PodTemplateSpec over ours, as ``kubectl patch --type strategic`` would.

Maps merge key by key, null removes a key, and the lists that Kubernetes marks with a merge key
merge item by item; every other list is replaced as a whole. The merge keys are the
``patchMergeKey`` marks of ``k8s.io/api/core/v1/types.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
}
"""List field to the key that identifies its items."""


_MEMBERS_OF_ONE = {"volumes", "env"}
"""Items in which exactly one source may be set: ours gives way to the user's as a whole."""


class MergeError(ValueError):
    """A patch that cannot be merged; the message says where and why."""


def merged(base: Mapping[str, Any], patch: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """``patch`` merged over ``base``; neither is changed.

    Args:
        base: the object to start from.
        patch: the partial object.
        where: path of both, for messages.

    Raises:
        MergeError: a list item lacks its merge key, or a field is not what ours is.
    """
    result = dict(base)
    for key, value in patch.items():
        path = f"{where}.{key}" if where else key
        if key.startswith("$"):
            raise MergeError(f"{path}: patch directives are not supported; set null to remove")
        if value is None:
            result.pop(key, None)
            continue
        result[key] = _value(result.get(key), value, key, path)
    return result


def _value(ours: Any, theirs: Any, key: str, path: str) -> Any:
    if isinstance(ours, Mapping) and not isinstance(theirs, Mapping):
        raise MergeError(f"{path}: expected an object")
    if isinstance(ours, list) and not isinstance(theirs, list):
        raise MergeError(f"{path}: expected a list")
    if isinstance(theirs, Mapping):
        return merged(ours if isinstance(ours, Mapping) else {}, theirs, path)
    if isinstance(theirs, list) and key in MERGE_KEYS:
        return _list(ours if isinstance(ours, list) else [], theirs, key, path)
    return theirs


def _list(ours: list[Any], theirs: list[Any], key: str, path: str) -> list[Any]:
    identity = MERGE_KEYS[key]
    result = {item[identity]: item for item in ours}
    for index, item in enumerate(theirs):
        place = f"{path}[{index}]"
        if not isinstance(item, Mapping):
            raise MergeError(f"{place}: expected an object")
        if identity not in item:
            raise MergeError(f"{place}: needs {identity}, by which it is merged")
        known = result.get(item[identity], {})
        if key in _MEMBERS_OF_ONE:
            known = {}
        result[item[identity]] = merged(known, item, place)
    return list(result.values())

"""Objects as kubectl would print them: JSON, YAML, names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from headway_api import names

from headway_cli.manifest import written
from headway_cli.options import Format

Object = dict[str, Any]


def one(item: Object, how: Format) -> str:
    """One object; ``wide`` is no format for objects and prints its name."""
    match how:
        case Format.JSON:
            return json.dumps(_tidy(item), indent=2, ensure_ascii=False)
        case Format.YAML:
            return written([_tidy(item)]).rstrip()
        case _:
            return _name(item)


def many(items: Sequence[Object], how: Format) -> str:
    """A list of objects; nothing at all for the names of none."""
    if how is Format.NAME:
        return "\n".join(_name(item) for item in items)
    whole = {"apiVersion": "v1", "kind": "List", "items": [_tidy(item) for item in items]}
    return one(whole, how)


def _name(item: Object) -> str:
    metadata = item["metadata"]
    name = metadata.get("name") or metadata.get("generateName") or ""
    return f"{names.SINGULAR}.{names.GROUP}/{name}"


def _tidy(item: Object) -> Object:
    """The object as kubectl shows it: with apiVersion and kind, without managedFields."""
    typed = {"apiVersion": item.get("apiVersion", names.API_VERSION), **item}
    typed.setdefault("kind", names.KIND)
    if "metadata" in item:
        metadata = {k: v for k, v in item["metadata"].items() if k != "managedFields"}
        typed["metadata"] = metadata
    return typed

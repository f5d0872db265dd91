"""From pydantic's JSON schema to the structural schema of a CRD.

Kubernetes wants a *structural* schema: every reference resolved, one type a node, no ``anyOf`` but
for int-or-string, ``nullable`` instead of a union with null.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from headway_api.models.operation import ROOT_RULES
from headway_api.models.spec import TrainingOperationSpec
from headway_api.models.status import TrainingOperationStatus

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core.core_schema import ModelSchema

_KEPT = (
    "type", "format", "description", "enum", "default", "pattern",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
    "required", "anyOf",
)  # fmt: skip

_ORDER = ("description", "type", "format", "x-kubernetes-int-or-string")


UNSEEN = {"observedGeneration": 0}
"""The status of an operation that the controller has not seen yet. Generations begin at 1, so that
whoever computes kstatus sees it as in progress; without any status, it would count as done.
Source: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""


class NotStructuralError(ValueError):
    """A model uses something that a CRD's schema cannot say; the message names the place."""


def root_schema() -> dict[str, Any]:
    """The ``openAPIV3Schema`` of a TrainingOperation."""
    return {
        "description": "TrainingOperation is one run of training, data loading or any other long "
        "work: what was asked for in spec, what is true of it in status.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(TrainingOperationSpec),
            "status": {**structural(TrainingOperationStatus), "default": UNSEEN},
        },
        **ROOT_RULES,
    }


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of one model.

    Raises:
        NotStructuralError: a field's type cannot be said in a CRD.
    """
    schema = model.model_json_schema(
        by_alias=True, mode="validation", schema_generator=_WithDocstrings
    )
    return _node(schema, schema.get("$defs", {}), model.__name__)


class _WithDocstrings(GenerateJsonSchema):
    """Describes fields by their docstrings."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        for name, text in _docstrings(model).items():
            made["properties"][model.model_fields[name].alias or name]["description"] = text
        return made


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    found = {}
    for field, below in itertools.pairwise(getattr(definition, "body", ())):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found


def _node(node: dict[str, Any], defs: dict[str, Any], path: str) -> dict[str, Any]:
    node = _resolve(node, defs, path)
    out: dict[str, Any] = {k: v for k, v in node.items() if k in _KEPT or k.startswith("x-")}
    if out.get("type") is None:
        out.pop("type", None)
    if isinstance(out.get("exclusiveMinimum"), (int, float)):
        out["minimum"], out["exclusiveMinimum"] = out["exclusiveMinimum"], True
    if isinstance(out.get("exclusiveMaximum"), (int, float)):
        out["maximum"], out["exclusiveMaximum"] = out["exclusiveMaximum"], True
    if "description" in out:
        out["description"] = " ".join(str(out["description"]).split())
    if "properties" in node:
        out["properties"] = {
            name: _node(child, defs, f"{path}.{name}") for name, child in node["properties"].items()
        }
    if "items" in node:
        out["items"] = _node(node["items"], defs, f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict) and not out.get(
        "x-kubernetes-preserve-unknown-fields"
    ):
        out["additionalProperties"] = _node(node["additionalProperties"], defs, f"{path}{{}}")
    if "type" not in out and "x-kubernetes-int-or-string" not in out:
        raise NotStructuralError(f"{path} has no single type: {node}")
    return {
        k: out[k] for k in (*(k for k in _ORDER if k in out), *(k for k in out if k not in _ORDER))
    }


def _resolve(node: dict[str, Any], defs: dict[str, Any], path: str) -> dict[str, Any]:
    """Follow references and drop the null branch of an optional field."""
    node = dict(node)
    branches = node.get("anyOf")
    if branches is not None and "x-kubernetes-int-or-string" not in node:
        rest = [b for b in branches if b.get("type") != "null"]
        if len(rest) != 1:
            raise NotStructuralError(f"{path} is a union: {branches}")
        del node["anyOf"]
        node = {**rest[0], **{k: v for k, v in node.items() if not (k == "default" and v is None)}}
    if "$ref" in node:
        target = _resolve(defs[node.pop("$ref").rsplit("/", 1)[1]], defs, path)
        node = {**target, **node}
    return node

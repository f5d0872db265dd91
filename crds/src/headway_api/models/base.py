"""What every model of the resource shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A part of the resource: snake_case here, camelCase on the wire.

    Fields that this version does not know are ignored on reading, so that a resource written by
    another minor version stays readable. Attribute docstrings become field descriptions in the
    CRD, and so what ``kubectl explain`` prints; they are read when that is rendered, and not by
    every trainer and command that starts.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
    )

    def to_wire(self) -> dict[str, Any]:
        """This part as JSON-ready data: camelCase keys, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """CEL rules for ``json_schema_extra``.

    Args:
        rules: pairs of an expression over ``self`` (and ``oldSelf``) and the message that a person
            reads when it is false.
    """
    return {"x-kubernetes-validations": [_rule(r) for r in rules]}


def _rule(rule: Sequence[str]) -> dict[str, str]:
    expression, message = rule
    return {"rule": expression, "message": message}


ANY_OBJECT: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""Schema of a JSON object whose keys are somebody else's to define."""

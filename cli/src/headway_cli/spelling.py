"""Fields that do not exist, and the ones that were probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unknown:
    """A field that the schema does not have.

    Attributes:
        path: where it stands, such as ``spec.training.symbls``.
        nearest: the path of a field that does exist and looks like it; None where none does.
        allowed: the fields that exist at that place, sorted.
    """

    path: str
    nearest: str | None
    allowed: tuple[str, ...]

    def text(self) -> str:
        """The finding as a sentence fragment."""
        if self.nearest is not None:
            return f"{self.path}: there is no such field; did you mean {self.nearest}?"
        return f"{self.path}: there is no such field; there are {', '.join(self.allowed)}"


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that looks most like the word; None where none is close.

    Case, underscores and dashes do not count: ``start_date`` is ``startDate``.
    """
    plain = {_plain(candidate): candidate for candidate in candidates}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def _plain(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def unknown_fields(document: Any, schema: dict[str, Any], path: str = "") -> Iterator[Unknown]:
    """The fields of a document that an ``openAPIV3Schema`` does not have.

    A field that exists, but elsewhere in the schema, is pointed to there.

    Args:
        document: parsed JSON or YAML.
        schema: the schema of the whole document.
        path: where the document stands; empty for the whole.
    """
    elsewhere = dict(_places(schema, ""))
    yield from _unknown(document, schema, path, elsewhere)


def _unknown(
    node: Any, schema: dict[str, Any], path: str, elsewhere: dict[str, str]
) -> Iterator[Unknown]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _unknown(item, schema.get("items") or {}, f"{path}[{index}]", elsewhere)
        return
    if not isinstance(node, dict):
        return
    known = schema.get("properties")
    if known is None:
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            for name, child in node.items():
                yield from _unknown(child, values, f"{path}.{name}", elsewhere)
        return
    for name, child in node.items():
        here = f"{path}.{name}".lstrip(".")
        if name in known:
            yield from _unknown(child, known[name], here, elsewhere)
            continue
        near = nearest(str(name), known)
        meant = f"{path}.{near}".lstrip(".") if near is not None else elsewhere.get(_plain(name))
        yield Unknown(here, meant, tuple(sorted(known)))


def _places(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Every field's plain name with a path to it, deepest first, so that shallow ones win."""
    for name, child in (schema.get("properties") or {}).items():
        if path == "" and name == "status":  # nobody writes that in a manifest
            continue
        here = f"{path}.{name}".lstrip(".")
        yield from _places(child, here)
        yield _plain(name), here
    if "items" in schema:
        yield from _places(schema["items"], f"{path}[]")

"""From what a program says of its progress to what may stand in a status: finite and bounded."""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from headway_api import limits

_MAX_DEPTH = 6
_MAX_ITEMS = 64
_MAX_NODES = limits.CONTEXT_BYTES // 2
"""Values within one value: more would not fit anywhere, and are not looked at."""
_MAX_WHOLE = 2**53
"""Whole numbers above it are not the same everywhere that JSON goes."""
_INT64 = 2**63
_MAX_TIMEFRAMES = 8
_WORD = 128

_TYPED = {
    "model_type": str, "current_item": str, "symbols": list, "timeframes": list,
    "current_epoch": int, "total_epochs": int, "current_batch": int, "total_batches": int,
    "current_segment": int, "total_segments": int, "current_iteration": int,
    "total_iterations": int,
}  # fmt: skip
"""Context keys whose type the schema fixes: a value of another type is left out, not refused."""


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, from seconds since the epoch."""
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )


def bounded_text(text: object, length: int, *, keep_end: bool = False) -> str:
    """Text cut to a length, with an ellipsis where something is missing."""
    whole = text if isinstance(text, str) else _described(text)
    if len(whole) <= length:
        return whole
    return "…" + whole[-(length - 1) :] if keep_end else whole[: length - 1] + "…"


def split_metrics(
    metrics: Mapping[Any, Any] | None,
) -> tuple[dict[str, float] | None, dict[str, str] | None]:
    """Finite metrics as numbers, the others as text (JSON has no NaN and no infinities).

    Values may be anything with ``__float__``, such as a NumPy or PyTorch scalar; what is not a
    number is left out.
    """
    finite: dict[str, float] = {}
    odd: dict[str, str] = {}
    room = limits.METRICS_BYTES
    for key, value in _items(metrics)[: limits.METRICS_COUNT]:
        number = _number(value)
        if number is None:
            continue
        name = bounded_text(key, _WORD)
        shown = number if math.isfinite(number) else _spelled(number)
        room -= len(json.dumps({name: shown}))
        if room < 0:
            break
        if isinstance(shown, str):
            odd[name] = shown
        else:
            finite[name] = shown
    return finite or None, odd or None


def whole(value: object) -> int | None:
    """A whole number, from anything that is a number, such as a NumPy integer; None for the rest.

    Fractions are cut off. So large that it cannot be a count, it is none.
    """
    if isinstance(value, bool):
        return None
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a user's object may raise anything
        fraction = _number(value)
        if fraction is None or not math.isfinite(fraction):
            return None
        number = int(fraction)
    return number if abs(number) <= _MAX_WHOLE else None


def count(value: object) -> int | None:
    """A whole number that is not negative; None for the rest."""
    number = whole(value)
    return number if number is not None and number >= 0 else None


def context_on_wire(context: Mapping[Any, Any] | None) -> dict[str, Any] | None:
    """The context as JSON data within its bounds: known keys first, then as many as fit."""
    clean: dict[str, Any] = {}
    room = limits.CONTEXT_BYTES
    for key, given in sorted(_items(context), key=lambda item: item[0] not in _TYPED):
        value = jsonable(given)
        kind = _TYPED.get(key)
        if kind is not None:
            value = _as_typed(value, kind)
            if value is None:
                continue
            if key == "timeframes":
                value = value[:_MAX_TIMEFRAMES]
        name = bounded_text(key, _WORD)
        size = len(json.dumps({name: value}).encode())
        if size > room:
            continue
        room -= size
        clean[name] = value
    return clean or None


def jsonable(value: object) -> Any:
    """Any value as JSON data: bounded in depth and size, never NaN, never an exception."""
    return _jsonable(value, 0, [_MAX_NODES])


def _jsonable(value: object, depth: int, room: list[int]) -> Any:
    room[0] -= 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _INT64 else bounded_text(_described(value), _WORD)
    if isinstance(value, str):
        return bounded_text(value, limits.MESSAGE_LENGTH)
    if isinstance(value, float):
        return value if math.isfinite(value) else _spelled(value)
    if depth < _MAX_DEPTH and room[0] > 0:
        if isinstance(value, Mapping):
            return {bounded_text(k, _WORD): _jsonable(v, depth + 1, room) for k, v in _items(value)}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_jsonable(v, depth + 1, room) for v in _first(value)]
    number = _number(value)
    if number is not None:
        exact = number.is_integer() and abs(number) <= _MAX_WHOLE
        return _jsonable(int(number) if exact else number, depth, room)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return "…"  # too deep or too large: its own words would be neither short nor cheap
    return bounded_text(_described(value), _WORD)


def _items(mapping: object) -> list[tuple[Any, Any]]:
    """The first items of a mapping, none of what is no mapping or cannot be read."""
    if not isinstance(mapping, Mapping):
        return []
    try:
        return list(islice(mapping.items(), _MAX_ITEMS))
    except Exception:  # noqa: BLE001 - a user's object may raise anything, or change meanwhile
        return []


def _first(values: Iterable[Any]) -> list[Any]:
    try:
        return list(islice(values, _MAX_ITEMS))
    except Exception:  # noqa: BLE001 - as above
        return []


def artifacts_on_wire(artifacts: Iterable[Any] | None) -> list[dict[str, Any]] | None:
    """Artifacts with the four fields that the schema has, as many as fit; a path alone will do."""
    out = []
    room = limits.ARTIFACTS_BYTES
    for given in list(artifacts or [])[: limits.ARTIFACTS_COUNT]:
        if isinstance(given, (str, os.PathLike)):
            artifact = {"name": os.path.basename(_described(given)), "path": given}  # noqa: PTH119
        else:
            artifact = dict(_items(given))
        if not artifact:
            continue
        entry: dict[str, Any] = {
            "name": bounded_text(artifact.get("name", "artifact"), _WORD),
            "path": bounded_text(artifact.get("path", ""), 1024),
        }
        size = count(artifact.get("bytes"))
        if size is not None:
            entry["bytes"] = size
        if isinstance(digest := artifact.get("sha256"), str):
            entry["sha256"] = digest[:64]
        room -= len(json.dumps(entry))
        if room < 0:
            break
        out.append(entry)
    return out or None


def _as_typed(value: Any, kind: type) -> Any:
    if kind is int:
        return count(value)
    if kind is str:
        return bounded_text(value, 64) if isinstance(value, str) else None
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return None
    return [bounded_text(v, _WORD) for v in value]


def _number(value: object) -> float | None:
    if value is None or isinstance(value, (str, bytes, bytearray)):
        return None
    try:
        # A tensor that gradients flow through warns when it is made a number as it is.
        detach = getattr(value, "detach", None)
        return float(detach() if callable(detach) else value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a user's object may raise anything; it is no number then
        return None


def _spelled(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _described(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a user's object may raise anything
        return type(value).__name__

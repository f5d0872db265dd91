"""From what a program says of its progress to what may stand in a status: finite and bounded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from headway_api import limits

_MAX_DEPTH = 6
_MAX_ITEMS = 64
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
    given = metrics if isinstance(metrics, Mapping) else {}
    for name, value in list(given.items())[: limits.METRICS_COUNT]:
        number = _number(value)
        if number is None:
            continue
        if math.isfinite(number):
            finite[bounded_text(name, _WORD)] = number
        else:
            odd[bounded_text(name, _WORD)] = _spelled(number)
    return finite or None, odd or None


def context_on_wire(context: Mapping[Any, Any] | None) -> dict[str, Any] | None:
    """The context as JSON data within its bounds: known keys first, then as many as fit."""
    if not context:
        return None
    clean: dict[str, Any] = {}
    keys = sorted(context, key=lambda k: (k not in _TYPED,))
    room = limits.CONTEXT_BYTES
    for key in keys:
        value = jsonable(context[key])
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


def jsonable(value: object, depth: int = 0) -> Any:
    """Any value as JSON data: bounded in depth and width, never NaN, never an exception."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return bounded_text(value, limits.MESSAGE_LENGTH)
    if isinstance(value, float):
        return value if math.isfinite(value) else _spelled(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            pairs = list(value.items())[:_MAX_ITEMS]
            return {bounded_text(k, _WORD): jsonable(v, depth + 1) for k, v in pairs}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [jsonable(v, depth + 1) for v in list(value)[:_MAX_ITEMS]]
    number = _number(value)
    if number is not None:
        return jsonable(int(number) if number.is_integer() else number)
    return bounded_text(_described(value), _WORD)


def artifacts_on_wire(artifacts: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Artifacts with the four fields that the schema has."""
    out = []
    for artifact in list(artifacts or [])[: limits.ARTIFACTS_COUNT]:
        entry: dict[str, Any] = {
            "name": bounded_text(artifact.get("name", "artifact"), _WORD),
            "path": bounded_text(artifact.get("path", ""), 1024),
        }
        if isinstance(size := artifact.get("bytes"), int):
            entry["bytes"] = size
        if isinstance(digest := artifact.get("sha256"), str):
            entry["sha256"] = digest[:64]
        out.append(entry)
    return out or None


def _as_typed(value: Any, kind: type) -> Any:
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            return None
        return int(value)
    if kind is str:
        return bounded_text(value, 64) if isinstance(value, str) else None
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return None
    return [bounded_text(v, _WORD) for v in value]


def _number(value: object) -> float | None:
    if isinstance(value, str) or value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
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

"""Progress as a sentence for people. Total functions: no context, however odd, makes them raise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway import wire

_SHOWN = 2
"""Items of a list that are named before the rest is counted."""


class ProgressRenderer:
    """Renders any context: the work's name, and where in it we are."""

    def __init__(self, title: str = "Operation") -> None:
        self.title = title

    def render_progress_message(self, context: Mapping[str, Any] | None) -> str:
        """One line, such as ``Dummy task (iteration 3/100)``."""
        context = _mapping(context)
        return " ".join(
            part
            for part in (
                self.title,
                _position(context, "epoch", "[{}]"),
                _position(context, "iteration", "({})"),
                _position(context, "segment", "({})"),
                _position(context, "batch", "({})"),
            )
            if part
        )


class DataProgressRenderer(ProgressRenderer):
    """Renders ``Loading AAPL [1d] (segment 2/5)``."""

    def __init__(self) -> None:
        super().__init__("Loading")

    def render_progress_message(self, context: Mapping[str, Any] | None) -> str:
        """One line about the segment that is loaded."""
        context = _mapping(context)
        item = _text(context.get("current_item"))
        parts = (
            self.title,
            item or _listed(context.get("symbols")) or "data",
            _bracketed(_listed(context.get("timeframes"))),
            _position(context, "segment", "({})"),
        )
        return " ".join(part for part in parts if part)


class TrainingProgressRenderer(ProgressRenderer):
    """Renders ``Training MLP model on AAPL [1H] [epoch 15/50] (batch 342/500)``."""

    def __init__(self) -> None:
        super().__init__("Training")

    def render_progress_message(self, context: Mapping[str, Any] | None) -> str:
        """One line about the model, its symbols, and the epoch and batch that run."""
        context = _mapping(context)
        model = _text(context.get("model_type"))
        symbols = _listed(context.get("symbols"))
        parts = (
            self.title,
            f"{model.upper()} model" if model else "model",
            f"on {symbols}" if symbols else "",
            _bracketed(_listed(context.get("timeframes"))),
            _position(context, "epoch", "[{}]"),
            _position(context, "batch", "({})"),
        )
        return " ".join(part for part in parts if part)


def _mapping(context: object) -> Mapping[str, Any]:
    return context if isinstance(context, Mapping) else {}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _bracketed(text: str) -> str:
    return f"[{text}]" if text else ""


def _listed(value: object) -> str:
    """``AAPL, MSFT (+2 more)``: the first two items, the rest counted."""
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, (list, tuple)):
        return ""
    items = [item for item in map(_text, value) if item]
    shown = ", ".join(items[:_SHOWN])
    more = len(items) - _SHOWN
    return f"{shown} (+{more} more)" if more > 0 else shown


def _position(context: Mapping[str, Any], unit: str, frame: str) -> str:
    current, total = (
        wire.count(context.get(f"current_{unit}")),
        wire.count(context.get(f"total_{unit}s")),
    )
    if unit == "batch":
        total = wire.count(context.get("total_batches"))
    if current is None:
        return ""
    return frame.format(f"{unit} {current}/{total}" if total is not None else f"{unit} {current}")

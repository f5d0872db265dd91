"""Runs in every state, as the API server would hand them out, and terminals to show them on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pyte
import pytest
from headway_api.models import TrainingOperation
from rich.console import Console

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)

Run = Callable[..., TrainingOperation]


def stamp(seconds: float) -> str:
    """RFC 3339, so many seconds after noon."""
    return (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def raw_run(phase: str = "Running", *, name: str = "train-mlp", **status: Any) -> dict[str, Any]:
    """A training run as JSON, created at noon."""
    spec = status.pop("spec", None) or {
        "type": "Training",
        "training": {
            "symbols": ["AAPL", "MSFT", "GOOG"],
            "timeframes": ["1d"],
            "strategy": {
                "inline": {
                    "name": "s",
                    "indicators": [{"name": "rsi"}],
                    "model": {"type": "mlp"},
                }
            },
        },
    }
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingOperation",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": "u1",
            "resourceVersion": "7",
            "creationTimestamp": stamp(0),
        },
        "spec": spec,
        "status": {"phase": phase, "attempt": 1, "startTime": stamp(1), **status},
    }


def progress(sequence: int = 1, at: float = 1.0, **more: Any) -> dict[str, Any]:
    """A progress that was made ``at`` seconds after noon."""
    return {
        "attempt": 1,
        "sequence": sequence,
        "time": stamp(at),
        "heartbeat": stamp(at),
        **more,
    }


def training_progress(
    epoch: int, batch: int, *, sequence: int = 1, at: float = 1.0, **more: Any
) -> dict[str, Any]:
    """Progress of a training of 20 epochs of 500 batches."""
    context = {
        "current_epoch": epoch,
        "total_epochs": 20,
        "current_batch": batch,
        "total_batches": 500,
    }
    words = (
        f"Training MLP model on AAPL, MSFT (+1 more) [1d] [epoch {epoch}/20] (batch {batch}/500)"
    )
    return progress(sequence, at, context=context, message=words, **more)


@pytest.fixture
def run() -> Run:
    """Makes a run from what :func:`raw_run` takes."""

    def make(phase: str = "Running", **more: Any) -> TrainingOperation:
        return TrainingOperation.model_validate(raw_run(phase, **more))

    return make


class Terminal:
    """A terminal of a given size, what is written to it, and what stands on it."""

    def __init__(self, columns: int, rows: int = 40) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        self.file = StringIO()
        self._fed = 0
        self.console = Console(
            file=self.file,
            force_terminal=True,
            color_system="standard",
            highlight=False,
            width=columns,
            height=rows,
            legacy_windows=False,
            _environ={},
        )

    def resize(self, columns: int, rows: int = 40) -> None:
        """As when a window is dragged."""
        self.lines()
        self.screen.resize(rows, columns)
        self.console.size = (columns, rows)  # type: ignore[assignment]

    def lines(self) -> list[str]:
        """What stands on the screen, without the empty lines below it."""
        text = self.file.getvalue()
        self._stream.feed(text[self._fed :].replace("\n", "\r\n"))
        self._fed = len(text)
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def written(self) -> int:
        """Characters written so far."""
        return len(self.file.getvalue())


@pytest.fixture
def terminal() -> Callable[..., Terminal]:
    """Makes a terminal of so many columns."""
    return Terminal

"""Headway for programs: structured progress, cancellation and results, in a pod or on a laptop.

Importing it is light: names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from headway_api.version import __version__

if TYPE_CHECKING:
    from headway.cancellation import CancellationToken, Stopped, StopReason
    from headway.checkpoints import Checkpoint, CheckpointError
    from headway.handle import Operation, operation
    from headway.orchestrator import ServiceOrchestrator
    from headway.rendering import (
        DataProgressRenderer,
        ProgressRenderer,
        TrainingProgressRenderer,
    )
    from headway.tracking import workspace

__all__ = [
    "CancellationToken",
    "Checkpoint",
    "CheckpointError",
    "DataProgressRenderer",
    "Operation",
    "ProgressRenderer",
    "ServiceOrchestrator",
    "StopReason",
    "Stopped",
    "TrainingProgressRenderer",
    "__version__",
    "operation",
    "workspace",
]

_HOMES = {
    "CancellationToken": "cancellation",
    "Checkpoint": "checkpoints",
    "CheckpointError": "checkpoints",
    "DataProgressRenderer": "rendering",
    "Operation": "handle",
    "ProgressRenderer": "rendering",
    "ServiceOrchestrator": "orchestrator",
    "StopReason": "cancellation",
    "Stopped": "cancellation",
    "TrainingProgressRenderer": "rendering",
    "operation": "handle",
    "workspace": "tracking",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"headway.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

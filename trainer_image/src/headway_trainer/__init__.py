"""The built-in services: a dummy task, data loading, and training.

Importing this package is light. Each service is imported when it is first asked for, and imports
pandas and PyTorch only when it runs work itself; a client that only submits work never does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway_trainer.data.manager import DataManager
    from headway_trainer.dummy import DummyService
    from headway_trainer.training.manager import TrainingManager

__all__ = ["DataManager", "DummyService", "TrainingManager"]

_HOMES = {
    "DataManager": "headway_trainer.data.manager",
    "DummyService": "headway_trainer.dummy",
    "TrainingManager": "headway_trainer.training.manager",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

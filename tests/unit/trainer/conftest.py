"""Bars to work on: random walks, a folder of files, a workspace with real prices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

MakeBars = Callable[..., pd.DataFrame]


def walk(
    count: int,
    seed: int = 1,
    frequency: str = "1D",
    start: str = "2020-01-06",
    price: float = 100.0,
) -> pd.DataFrame:
    """Bars of a seeded random walk, sound by the rules."""
    random = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(random.normal(0, 0.02, count)))
    open_ = close * np.exp(random.normal(0, 0.005, count))
    high = np.maximum(open_, close) * (1 + random.uniform(0.001, 0.01, count))
    low = np.minimum(open_, close) * (1 - random.uniform(0.001, 0.01, count))
    index = pd.date_range(start, periods=count, freq=frequency, tz="UTC", name="time", unit="ns")
    volume = random.uniform(1e5, 1e6, count)
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame(columns, index=index)


@pytest.fixture
def make_bars() -> MakeBars:
    return walk


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, in a process that works for no operation."""
    for name in ("HEADWAY_BACKEND", "HEADWAY_OPERATION_NAME", "HEADWAY_OPERATION_UID"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "workspace"
    monkeypatch.setenv("HEADWAY_WORKSPACE", str(folder))
    monkeypatch.setenv("HEADWAY_PROGRESS_FILE", str(tmp_path / "progress.jsonl"))
    return folder


@pytest.fixture
def files(workspace: Path) -> Callable[[str, pd.DataFrame], Path]:
    """Writes bars as a file of the folder ``prices`` in the workspace."""

    def write(name: str, bars: pd.DataFrame) -> Path:
        path = workspace / "prices" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        bars.to_parquet(path) if path.suffix == ".parquet" else bars.to_csv(path)
        return path

    return write


STRATEGY = {
    "name": "test strategy",
    "indicators": [
        {"name": "rsi", "parameters": {"length": 7}},
        {"name": "roc", "parameters": {"length": 3}},
        {"name": "ema", "parameters": {"length": 5}},
    ],
    "labels": {"threshold": 0.04, "horizon": 8},
    "model": {"type": "mlp", "hidden_sizes": [8], "sequence_length": 4, "dropout": 0.1},
    "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "seed": 3},
}


@pytest.fixture
def strategy() -> Callable[..., dict]:
    """A small strategy; keyword arguments replace fields of its parts."""

    def make(**parts: dict) -> dict:
        return {
            key: {**value, **parts.get(key, {})}
            if isinstance(value, dict)
            else parts.get(key, value)
            for key, value in STRATEGY.items()
        }

    return make

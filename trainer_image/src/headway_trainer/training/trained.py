"""A trained model on disk and in memory: everything that a prediction needs.

A model's folder holds

- ``model.pt``: the network's weights (a PyTorch state dict; loading it runs no code),
- ``scaler.json``: mean and deviation of every feature,
- ``strategy.yaml``: the strategy, defaults written out,
- ``metrics.json``: test scores, baselines, scores by symbol, metrics of every epoch,
- ``manifest.json``: versions, seed, device, inputs, and fingerprints of data and weights.

None of them holds a time or a name of a machine: the same run writes the same files.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from headway_api.models import Strategy
from torch import nn

from headway_trainer.artifacts import replace_folder
from headway_trainer.data import bars as bars_
from headway_trainer.data.columns import rows_of
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError, InputError
from headway_trainer.strategies import as_yaml, read_strategy
from headway_trainer.training.fitting import Windows, evaluate
from headway_trainer.training.joining import joined_features
from headway_trainer.training.labels import CLASSES
from headway_trainer.training.networks import network
from headway_trainer.training.samples import full_windows
from headway_trainer.training.scaling import Scaler

FORMAT = 1
FILES = ("model.pt", "scaler.json", "strategy.yaml", "metrics.json", "manifest.json")
_PACKAGES = ("headway", "numpy", "pandas", "pandas-ta-classic", "scikit-learn", "torch")


@dataclass(frozen=True)
class TrainedModel:
    """A network with what it was trained by.

    Attributes:
        timeframes: finest first.
    """

    strategy: Strategy
    timeframes: tuple[Timeframe, ...]
    scaler: Scaler
    network: nn.Module

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> TrainedModel:
        """Read a model's folder.

        Args:
            folder: as :meth:`save` wrote it.
            device: where predictions run.

        Raises:
            DataError: where a file is missing, damaged, or of another format.
            InputError: where the device is not there.
        """
        folder = Path(folder)
        try:
            model = cls._read(folder)
        except DataError:
            raise
        except Exception as error:  # a damaged file makes json and PyTorch raise anything
            why = str(error) if isinstance(error, (OSError, InputError)) else repr(error)
            raise DataError(f"there is no readable model in {folder}: {why}") from error
        try:
            model.network.to(device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"the device {device!r} cannot be used: {error}") from error
        return model

    @classmethod
    def _read(cls, folder: Path) -> TrainedModel:
        manifest = json.loads((folder / "manifest.json").read_text())
        if (found := manifest["format"]) != FORMAT:
            raise DataError(
                f"the model in {folder} has format {found}, this version reads {FORMAT}; train it "
                "again"
            )
        timeframes = tuple(Timeframe.parse(t) for t in manifest["timeframes"])
        strategy = read_strategy(folder / "strategy.yaml")
        scaler = Scaler.from_json((folder / "scaler.json").read_text())
        fresh = network(strategy.model, len(scaler.names))
        weights = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
        fresh.load_state_dict(weights)
        if weights_digest(fresh) != manifest["weights_sha256"]:
            raise DataError(f"the weights in {folder} are not those that were trained")
        return cls(strategy, timeframes, scaler, fresh.eval())

    def predict(self, bars: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Predict the direction of the zigzag leg of every bar, known when the bar closes.

        Args:
            bars: one symbol's bars (open, high, low, close, volume by time) for each timeframe
                that the model was trained on.

        Returns:
            Indexed by the finest bars' opens, those without enough bars before them left out:
            ``probability_up`` from 0 to 1, and ``direction``, up or down.

        Raises:
            InputError: where a timeframe is missing.
            DataError: where a frame has no times or no prices.
        """
        given = {
            Timeframe.parse(t): bars_.clean(rows_of(frame, f"the frame of {t}")).bars
            for t, frame in bars.items()
        }
        if absent := [str(t) for t in self.timeframes if t not in given]:
            raise InputError(f"the model needs bars of {', '.join(absent)}, too")
        table = joined_features({t: given[t] for t in self.timeframes}, self.strategy.indicators)
        if tuple(table.columns) != self.scaler.names:
            raise InputError("the strategy's features are not those that the scaler was fitted on")
        rows = table.to_numpy(dtype=np.float64)
        length = self.strategy.model.sequence_length
        ends = np.flatnonzero(full_windows(rows, length))
        chance = self._probability_up(rows, ends, length)
        direction = np.array(CLASSES, dtype=object)[(chance > 0.5).astype(np.int64)]
        return pd.DataFrame(
            {"probability_up": chance, "direction": direction}, index=table.index[ends]
        )

    def _probability_up(self, rows: Any, ends: Any, length: int) -> Any:
        if not len(ends):
            return np.zeros(0)
        device = next(self.network.parameters()).device
        windows = Windows(
            rows=torch.from_numpy(np.nan_to_num(self.scaler.scaled(rows))).to(device),
            ends=torch.from_numpy(ends).to(device),
            labels=torch.zeros(len(ends), dtype=torch.int64, device=device),
            length=length,
        )
        logits = evaluate(self.network, windows, np.arange(len(ends)))
        if logits is None:
            raise AssertionError("an evaluation that nobody can stop was stopped")
        return torch.softmax(logits.double().cpu(), dim=1)[:, 1].numpy()

    def save(self, folder: Path, metrics: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        """Write the model's folder as one step, in place of one that is there.

        Args:
            folder: usually ``models/<name>`` in the workspace.
            metrics: the content of metrics.json.
            inputs: what the manifest says of the run besides versions and weights.
        """
        weights = {name: value.cpu() for name, value in self.network.state_dict().items()}
        manifest = {
            "format": FORMAT,
            "versions": versions(),
            "seed": self.strategy.training.seed,
            "timeframes": [str(t) for t in self.timeframes],
            "classes": list(CLASSES),
            "features": list(self.scaler.names),
            **inputs,
            "weights_sha256": weights_digest(self.network),
        }

        def fill(draft: Path) -> None:
            torch.save(weights, draft / "model.pt")
            (draft / "scaler.json").write_text(self.scaler.to_json() + "\n")
            (draft / "strategy.yaml").write_text(as_yaml(self.strategy), encoding="utf-8")
            (draft / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
            (draft / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")

        replace_folder(folder, fill)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all weights: equal where the weights are."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def bars_digest(bars: pd.DataFrame) -> str:
    """SHA-256 over times and numbers of bars."""
    digest = hashlib.sha256(bars.index.asi8.tobytes())
    digest.update(np.ascontiguousarray(bars.to_numpy(dtype=np.float64)).tobytes())
    return digest.hexdigest()

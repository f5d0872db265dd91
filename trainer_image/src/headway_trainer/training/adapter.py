"""A training run from beginning to end: data, samples, fit, test, artifacts."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from headway import CancellationToken, DataProgressRenderer
from headway_api import environment
from headway_api.models import DataMode, Strategy
from headway_api.models.strategy import ModelType

from headway_trainer.artifacts import described
from headway_trainer.data.adapter import DataAdapter
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError, TrainingError
from headway_trainer.progress import ProgressCallback, is_stopped, unheard
from headway_trainer.strategies import strategy_from
from headway_trainer.training import indicators
from headway_trainer.training.joining import finest_first
from headway_trainer.training.labels import CLASSES
from headway_trainer.training.samples import Samples, SymbolTable
from headway_trainer.training.sampling import epoch_size
from headway_trainer.training.scaling import Scaler
from headway_trainer.training.splitting import TEST_SHARE, Split, chronological

if TYPE_CHECKING:
    from headway.checkpointing import Checkpoints

    from headway_trainer.training.fitting import Fitted, Listener, Windows

_log = logging.getLogger(__name__)
_LEAST = 2
"""The least samples that each of the three parts must have."""


@dataclass(frozen=True)
class Request:
    """What a training run works on.

    Attributes:
        timeframes: finest first.
        shown: the timeframes as they were given, for people.
    """

    strategy: Strategy
    symbols: tuple[str, ...]
    timeframes: tuple[Timeframe, ...]
    shown: tuple[str, ...]
    start_date: str | None
    end_date: str | None
    validation_split: float
    data_mode: DataMode

    def told(self) -> dict[str, Any]:
        """The part of a progress context that stays the same."""
        return {
            "model_type": str(self.strategy.model.type),
            "symbols": list(self.symbols),
            "timeframes": list(self.shown),
        }


class TrainingAdapter:
    """Trains models in this process.

    Args:
        workspace: the workspace folder: data is read from it, models are written to it.
        data: where data comes from; by default the workspace's own.
    """

    def __init__(self, workspace: Path, data: DataAdapter | None = None) -> None:
        self._workspace = workspace
        self._data = data or DataAdapter(workspace)

    def train(
        self,
        strategy: Strategy | Mapping[str, Any],
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str | None = None,
        end_date: str | None = None,
        validation_split: float = 0.2,
        data_mode: DataMode | str = DataMode.LOCAL,
        *,
        cancellation_token: CancellationToken | None = None,
        progress_callback: ProgressCallback = unheard,
        checkpoints: Checkpoints | None = None,
    ) -> dict[str, Any]:
        """Train one model on several symbols together.

        Args:
            strategy: indicators, labels, model and training settings.
            symbols: such as AAPL; the model sees each about as often as any other.
            timeframes: bar lengths; the finest gives the samples.
            start_date: first day of data, YYYY-MM-DD; None is all there is.
            end_date: last day of data; None is all there is.
            validation_split: share of the samples for validation.
            data_mode: ``local`` uses what the workspace holds; the others load it first.
            cancellation_token: checked between symbols, at each epoch's start and every 50
                batches.
            progress_callback: told of every batch and every epoch's end.
            checkpoints: where training goes on from, and where it is kept when it is stopped.

        Returns:
            With ``status`` success: ``epochs_completed``, ``best_epoch``, ``test`` and
            ``baselines`` scores, ``per_symbol``, ``model`` (its folder in the workspace),
            ``weights_sha256`` and ``artifacts``, and ``resumed_from`` where it went on from a
            checkpoint. With ``status`` cancelled: ``epochs_completed`` and ``batches_completed``
            (within the epoch that was interrupted); no model is saved.

        Raises:
            InputError: where the strategy does not hold.
            DataError: where data is missing.
            TrainingError: where there are too few samples or all are alike, the loss is no longer
                a number, or the checkpoint to begin from is of another training.
            headway.CheckpointError: where the checkpoint to begin from is not there.
        """
        saved = checkpoints.resume() if checkpoints is not None else None
        before = (saved.epochs or 0, saved.batches or 0) if saved is not None else (0, 0)
        request = Request(
            strategy=strategy_from(strategy, None),
            symbols=tuple(dict.fromkeys(symbols)),
            timeframes=tuple(finest_first(timeframes)),
            shown=tuple({Timeframe.parse(t): t for t in timeframes}.values()),
            start_date=start_date,
            end_date=end_date,
            validation_split=validation_split,
            data_mode=DataMode(data_mode),
        )
        indicators.check(request.strategy.indicators)
        if not self._load(request, cancellation_token, progress_callback):
            return _cancelled(*before)
        bars: dict[str, dict[Timeframe, pd.DataFrame]] = {}
        tables: dict[str, SymbolTable] = {}
        for number, symbol in enumerate(request.symbols, start=1):
            if is_stopped(cancellation_token):
                return _cancelled(*before)
            message = f"Preparing {symbol} ({number}/{len(request.symbols)})"
            progress_callback(None, message, {**request.told(), "current_item": symbol})
            bars[symbol] = {
                t: self._data.bars(symbol, str(t), start_date, end_date) for t in request.timeframes
            }
            tables[symbol] = SymbolTable.build(bars[symbol], request.strategy)
        samples = Samples.gather(tables, request.strategy.model.sequence_length)
        split = chronological(samples.times, samples.label_ends, validation_split, TEST_SHARE)
        _require(split, samples, tables, request)
        if is_stopped(cancellation_token):
            return _cancelled(*before)
        run = _Run(request, samples, split, cancellation_token, progress_callback, checkpoints)
        return run.finish(self._workspace, bars)

    def _load(
        self, request: Request, token: CancellationToken | None, tell: ProgressCallback
    ) -> bool:
        """Fetch what is missing, if that was asked for; returns False after a stop."""
        if request.data_mode is DataMode.LOCAL:
            return True
        renderer = DataProgressRenderer()

        def tell_loading(
            step: int | None = None,  # noqa: ARG001 - steps count batches, not segments
            message: str | None = None,
            context: Mapping[str, Any] | None = None,
        ) -> None:
            text = message or renderer.render_progress_message(context)
            segment = {k: v for k, v in (context or {}).items() if k != "total_steps"}
            tell(None, text, {**request.told(), **segment})

        result = self._data.load(
            request.symbols,
            request.shown,
            request.start_date,
            request.end_date,
            request.data_mode,
            cancellation_token=token,
            progress_callback=tell_loading,
        )
        if result["status"] == "cancelled":
            return False
        if failed := result.get("failed"):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise DataError(f"data to train on is missing: {reasons}")
        return True


class _Run:
    """The part that needs PyTorch: fit, test, save."""

    def __init__(
        self,
        request: Request,
        samples: Samples,
        split: Split,
        token: CancellationToken | None,
        tell: ProgressCallback,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._checkpoints = checkpoints
        self._request = request
        self._strategy = request.strategy
        self._samples = samples
        self._split = split
        self._token = token
        self._tell = tell

    def finish(
        self, workspace: Path, bars: Mapping[str, Mapping[Timeframe, pd.DataFrame]]
    ) -> dict[str, Any]:
        """Fit the network, test it, and save the model."""
        from headway_trainer.training import fitting, scoring, trained
        from headway_trainer.training.networks import best_device, network
        from headway_trainer.training.repeatable import repeatable
        from headway_trainer.training.resuming import Keeper

        samples, split, training = self._samples, self._split, self._strategy.training
        scaler = self._fit_scaler()
        device = best_device()
        windows = self._windows(scaler, device)
        inputs = self._inputs(device.type, bars)
        keeper = Keeper(self._checkpoints, self._fingerprint(inputs))
        restored = keeper.restored()
        with repeatable(training.seed, device):
            net = network(self._strategy.model, len(samples.names)).to(device)
            fitted = fitting.fit(
                net,
                windows,
                samples.by_symbol(split.train),
                split.validation,
                training,
                self._listener(),
                keeper,
                restored[0] if restored else None,
            )
            if isinstance(fitted, fitting.Stopped):
                return _cancelled(fitted.epochs, fitted.batches)
            logits = fitting.evaluate(net, windows, split.test)
        if logits is None:
            raise AssertionError("an evaluation that nobody can stop was stopped")
        predicted = logits.argmax(dim=1).cpu().numpy().astype(np.int64)
        parts = {name: len(getattr(split, name)) for name in ("train", "validation", "test")}
        judged: dict[str, Any] = {
            "epochs_completed": fitted.epochs,
            "best_epoch": fitted.best_epoch,
            "samples": parts,
            "test": scoring.scores(samples.labels[split.test], predicted),
            "baselines": scoring.baselines(samples, split.train, split.test),
            "per_symbol": scoring.per_symbol(samples, split.train, split.test, predicted),
        }
        model = trained.TrainedModel(self._strategy, self._request.timeframes, scaler, net)
        name = model_name(self._strategy)
        folder = workspace / "models" / name
        model.save(folder, {**judged, "history": fitted.history}, inputs)
        self._tell_end(fitted, judged["test"])
        per_symbol = judged.pop("per_symbol")
        return {
            "status": "success",
            **judged,
            "model": folder.relative_to(workspace).as_posix(),
            "weights_sha256": trained.weights_digest(net),
            "artifacts": [
                described(Path(file).stem, folder / file, workspace) for file in trained.FILES
            ],
            "per_symbol": per_symbol,
            **({"resumed_from": restored[1].path} if restored else {}),
        }

    def _inputs(
        self, device: str, bars: Mapping[str, Mapping[Timeframe, pd.DataFrame]]
    ) -> dict[str, Any]:
        from headway_trainer.training import trained

        return {
            "device": device,
            "symbols": list(self._request.symbols),
            "start_date": self._request.start_date,
            "end_date": self._request.end_date,
            "validation_split": self._request.validation_split,
            "test_share": TEST_SHARE,
            "data": {
                f"{symbol} [{timeframe}]": {
                    "bars": len(frame),
                    "first": frame.index[0].isoformat(),
                    "last": frame.index[-1].isoformat(),
                    "sha256": trained.bars_digest(frame),
                }
                for symbol, frames in bars.items()
                for timeframe, frame in frames.items()
            },
        }

    def _fingerprint(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """What is trained on what; where it runs does not belong to it."""
        from headway_trainer.training.resuming import digest_of

        request = self._request
        return {
            "strategy": digest_of(self._strategy.model_dump(mode="json")),
            "symbols": ", ".join(request.symbols),
            "timeframes": ", ".join(str(t) for t in request.timeframes),
            "validation_split": str(request.validation_split),
            "data": digest_of(inputs["data"]),
        }

    def _tell_end(self, fitted: Fitted, test: Mapping[str, float]) -> None:
        """All steps are done, however early training ended; the best epoch's metrics last."""
        training, split = self._strategy.training, self._split
        size = epoch_size(self._samples.by_symbol(split.train))
        batches = math.ceil(size / training.batch_size)
        self._tell(
            fitted.epochs * batches,
            None,
            {
                **self._request.told(),
                "current_epoch": fitted.epochs,
                "total_epochs": training.epochs,
                "current_batch": batches,
                "total_batches": batches,
                "total_steps": fitted.epochs * batches,
                "metrics": {
                    **fitted.history[fitted.best_epoch - 1],
                    "test_accuracy": test["accuracy"],
                    "test_f1": test["f1"],
                },
            },
        )

    def _fit_scaler(self) -> Scaler:
        """From every whole feature row up to the last training sample."""
        samples = self._samples
        seen = samples.row_times <= samples.times[self._split.train].max()
        rows = samples.rows[seen & np.isfinite(samples.rows).all(axis=1)]
        return Scaler.fit(samples.names, rows)

    def _windows(self, scaler: Scaler, device: Any) -> Windows:
        import torch

        from headway_trainer.training.fitting import Windows

        samples = self._samples
        return Windows(
            rows=torch.from_numpy(np.nan_to_num(scaler.scaled(samples.rows))).to(device),
            ends=torch.from_numpy(samples.ends).to(device),
            labels=torch.from_numpy(samples.labels).to(device),
            length=self._strategy.model.sequence_length,
        )

    def _listener(self) -> Listener:
        from headway_trainer.training.fitting import Listener

        tell, token, epochs = self._tell, self._token, self._strategy.training.epochs
        told = self._request.told()
        model, symbols, timeframes = told["model_type"], told["symbols"], told["timeframes"]

        def on_batch(epoch: int, batch: int, batches: int) -> None:
            tell(
                (epoch - 1) * batches + batch,
                None,
                {
                    "model_type": model,
                    "symbols": symbols,
                    "timeframes": timeframes,
                    "current_epoch": epoch,
                    "total_epochs": epochs,
                    "current_batch": batch,
                    "total_batches": batches,
                    "total_steps": epochs * batches,
                },
            )

        def on_epoch(epoch: int, batches: int, metrics: Mapping[str, float]) -> None:
            tell(
                epoch * batches,
                None,
                {
                    "model_type": model,
                    "symbols": symbols,
                    "timeframes": timeframes,
                    "current_epoch": epoch,
                    "total_epochs": epochs,
                    "current_batch": batches,
                    "total_batches": batches,
                    "total_steps": epochs * batches,
                    "metrics": dict(metrics),
                    "epoch_end": True,
                },
            )

        return Listener(stopped=lambda: is_stopped(token), batch=on_batch, epoch=on_epoch)


def model_name(strategy: Strategy) -> str:
    """The model's folder: the operation's name, or without one the strategy's, made a file name."""
    name = os.environ.get(environment.OPERATION_NAME) or strategy.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or str(ModelType(strategy.model.type))


def _cancelled(epochs: int, batches: int) -> dict[str, Any]:
    return {"status": "cancelled", "epochs_completed": epochs, "batches_completed": batches}


def _require(
    split: Split, samples: Samples, tables: Mapping[str, SymbolTable], request: Request
) -> None:
    """See that each part has samples and that there are two labels to tell apart.

    Raises:
        TrainingError: where it is not so.
    """
    parts = {"training": split.train, "validation": split.validation, "the test": split.test}
    short = [name for name, part in parts.items() if len(part) < _LEAST]
    model, labels = request.strategy.model, request.strategy.labels
    unknown = _unknown_features(tables)
    if short:
        counts = ", ".join(f"{len(part)} for {name}" for name, part in parts.items())
        raise TrainingError(
            f"there are too few samples to train on: {len(samples.ends)} in all, of which {counts}."
            f"{unknown} A sample needs {model.sequence_length} bars with all indicators before it "
            f"and {labels.horizon} bars after it, and a zigzag leg of {labels.threshold:.1%}; use "
            "more days, a finer timeframe, or a smaller horizon, threshold, sequenceLength or "
            "validationSplit"
        )
    found = np.unique(samples.labels[split.train])
    if len(found) == 1:
        raise TrainingError(
            f"all {len(split.train)} training samples have the label {CLASSES[found[0]]}: there is "
            f"nothing to tell apart. The zigzag turns at {labels.threshold:.1%}; use a smaller "
            "threshold, or days in which prices both rise and fall"
        )
    counted = samples.by_symbol(split.train)
    silent = [name for name, own in zip(samples.symbols, counted, strict=True) if not len(own)]
    if silent:
        _log.warning("no training sample comes from %s.%s", ", ".join(silent), unknown)


def _unknown_features(tables: Mapping[str, SymbolTable]) -> str:
    """A sentence on features without a single value; nothing where there are none."""
    found = {symbol: names for symbol, table in tables.items() if (names := table.unknown())}
    if not found:
        return ""
    shown = "; ".join(f"{', '.join(names)} of {symbol}" for symbol, names in found.items())
    return f" Without a single value are {shown}: too few bars for them, or no volume."

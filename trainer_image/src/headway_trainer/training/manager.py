"""The training service: trains a strategy's model, here or in the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway import ServiceOrchestrator, TrainingProgressRenderer, workspace
from headway_api.vocabulary import OperationType

if TYPE_CHECKING:
    from headway_api.models import Strategy

    from headway_trainer.training.adapter import TrainingAdapter
    from headway_trainer.training.trained import TrainedModel


class TrainingManager(ServiceOrchestrator["TrainingAdapter"]):
    """Trains one model on one or more symbols and timeframes."""

    def __init__(self, *, backend: str | None = None) -> None:
        super().__init__(TrainingProgressRenderer(), backend=backend)

    def _initialize_adapter(self) -> TrainingAdapter:
        from headway_trainer.training.adapter import TrainingAdapter

        return TrainingAdapter(workspace())

    async def train_multi_symbol_strategy_async(
        self,
        strategy_config_path: Path | str | None = None,
        symbols: Sequence[str] = (),
        timeframes: Sequence[str] = (),
        start_date: str | None = None,
        end_date: str | None = None,
        validation_split: float = 0.2,
        data_mode: str = "local",
        *,
        strategy: Strategy | Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Train a model here, or have it trained in the cluster.

        Args:
            strategy_config_path: a strategy file (YAML); or give ``strategy``.
            symbols: such as AAPL and MSFT.
            timeframes: bar lengths, such as 1d; the finest gives the samples.
            start_date: first day of data, YYYY-MM-DD; None is all there is.
            end_date: last day of data, YYYY-MM-DD; None is all there is.
            validation_split: share of the samples for validation.
            data_mode: ``local`` uses what the workspace holds; ``tail``, ``backfill`` and ``full``
                load what is missing first.
            strategy: the strategy itself.

        Returns:
            Here, what :meth:`headway_trainer.training.adapter.TrainingAdapter.train` returns.

        Raises:
            InputError: where an argument is not valid.
            DataError: where data is missing.
            TrainingError: where training cannot begin or go on.
        """
        return await self.start_managed_operation(
            "train",
            OperationType.TRAINING,
            self._run_training_async,
            **_parameters(
                strategy_config_path, strategy, symbols, timeframes, start_date, end_date,
                validation_split, data_mode,
            ),
        )  # fmt: skip

    def train_multi_symbol_strategy(
        self,
        strategy_config_path: Path | str | None = None,
        symbols: Sequence[str] = (),
        timeframes: Sequence[str] = (),
        start_date: str | None = None,
        end_date: str | None = None,
        validation_split: float = 0.2,
        data_mode: str = "local",
        *,
        strategy: Strategy | Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Train a model and wait for the result.

        Arguments and errors as in ``train_multi_symbol_strategy_async``.
        """
        return self.run_managed_operation(
            "train",
            OperationType.TRAINING,
            self._run_training_async,
            **_parameters(
                strategy_config_path, strategy, symbols, timeframes, start_date, end_date,
                validation_split, data_mode,
            ),
        )  # fmt: skip

    @staticmethod
    def load(path: Path | str, device: str = "cpu") -> TrainedModel:
        """A trained model, ready to predict.

        Args:
            path: the model's folder, such as ``models/train-mlp`` in the workspace.
            device: where predictions run, such as cpu or cuda.

        Raises:
            DataError: where there is no readable model.
        """
        from headway_trainer.training.trained import TrainedModel

        return TrainedModel.load(path, device)

    async def _run_training_async(self, **parameters: Any) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            return self.adapter.train(
                **parameters,
                cancellation_token=self.get_current_cancellation_token(),
                progress_callback=self.update_operation_progress,
                checkpoints=self.get_current_checkpoints(),
            )

        return await asyncio.to_thread(run)


def _parameters(
    strategy_config_path: Path | str | None,
    strategy: Strategy | Mapping[str, Any] | None,
    symbols: Sequence[str],
    timeframes: Sequence[str],
    start_date: str | None,
    end_date: str | None,
    validation_split: float,
    data_mode: str,
) -> dict[str, Any]:
    from headway_api.models import TrainingSpec

    from headway_trainer.inputs import listed, validated
    from headway_trainer.strategies import strategy_from

    chosen = strategy_from(strategy, strategy_config_path)
    given = {
        "strategy": {"inline": chosen},
        "symbols": listed(symbols),
        "timeframes": listed(timeframes),
        "start_date": start_date,
        "end_date": end_date,
        "validation_split": validation_split,
        "data_mode": data_mode,
    }
    spec = validated(TrainingSpec, given, "the training run")
    parameters = spec.model_dump(mode="json", exclude_none=True)
    return {**parameters, "strategy": chosen.model_dump(mode="json", exclude_none=True)}

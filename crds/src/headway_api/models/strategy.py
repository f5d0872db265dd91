"""A trading strategy: what a training run learns from, learns to predict, and with what model.

The same model validates strategy files, ``spec.training.strategy.inline`` at admission, and the
strategy that a trained model carries with it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from headway_api.models.base import ApiModel


class StrategyModel(ApiModel):
    """A part of a strategy: unlike the rest of the resource, unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class ModelType(StrEnum):
    """The neural network that is trained."""

    MLP = "mlp"
    CNN = "cnn"
    LSTM = "lstm"
    GRU = "gru"


class OptimizerType(StrEnum):
    """The optimiser, as PyTorch names it in lower case."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class SchedulerType(StrEnum):
    """The learning-rate schedule: by epoch (cosine, step) or by validation loss (plateau)."""

    NONE = "none"
    COSINE = "cosine"
    STEP = "step"
    PLATEAU = "plateau"


class Indicator(StrategyModel):
    """One technical indicator that becomes one or more features."""

    name: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
    """Name of the indicator, in lower case: rsi, ema, sma, macd, bbands, atr, roc, ..."""

    parameters: Annotated[dict[str, float], Field(default_factory=dict, max_length=8)]
    """The indicator's own parameters, such as length: 14. Left out ones take their usual values."""


class ModelConfig(StrategyModel):
    """The network's shape."""

    type: ModelType
    """The kind of network: mlp, cnn, lstm or gru."""

    hidden_sizes: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]],
        Field(default_factory=lambda: [64, 32], min_length=1, max_length=8),
    ]
    """Width of each hidden layer, first to last (channels for a cnn, units for lstm and gru)."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of activations dropped in training, from 0 up to but not including 1."""

    sequence_length: Annotated[int, Field(ge=1, le=512)] = 16
    """Bars of history that one sample holds; an mlp sees them flattened."""


class LabelConfig(StrategyModel):
    """What is predicted: the direction of the zigzag leg that each bar begins or belongs to."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.03
    """Relative price move that turns the zigzag around: 0.03 is 3 percent."""

    horizon: Annotated[int, Field(ge=1, le=512)] = 20
    """Bars after the sample that its label may look at; samples with fewer left are dropped."""


class EarlyStopping(StrategyModel):
    """When training ends before its last epoch; the best weights are restored either way."""

    patience: Annotated[int, Field(ge=1, le=10000)] = 10
    """Epochs without improvement of the validation loss before training stops."""

    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """How much the validation loss must fall to count as an improvement."""


class TrainingConfig(StrategyModel):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=1, le=100000)] = 50
    """Passes over the training samples."""

    batch_size: Annotated[int, Field(ge=1, le=65536)] = 32
    """Samples per optimiser step."""

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.001
    """Initial learning rate."""

    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    """L2 penalty (decoupled for adamw)."""

    optimizer: OptimizerType = OptimizerType.ADAM
    """The optimiser: adam, adamw or sgd."""

    scheduler: SchedulerType = SchedulerType.NONE
    """The learning-rate schedule: none, cosine, step or plateau."""

    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of all gradients together; left out, gradients are not clipped."""

    early_stopping: EarlyStopping | None = None
    """Early stopping; left out, every epoch runs."""

    seed: Annotated[int, Field(ge=0, le=2147483647)] = 7
    """Seed of every random number in the run: the same seed gives the same weights on a CPU."""


class Strategy(StrategyModel):
    """A strategy, as it stands in a strategy file or inline in the resource."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """A name for people."""

    description: Annotated[str, Field(max_length=1024)] = ""
    """What the strategy is about."""

    indicators: Annotated[list[Indicator], Field(min_length=1, max_length=64)]
    """Indicators whose values are the model's features, computed per timeframe."""

    labels: Annotated[LabelConfig, Field(default_factory=LabelConfig)]
    """What is predicted."""

    model: ModelConfig
    """The network."""

    training: Annotated[TrainingConfig, Field(default_factory=TrainingConfig)]
    """How it is trained."""

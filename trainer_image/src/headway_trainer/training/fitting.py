"""The training loop: epochs, batches, validation, early stopping, and a stop at any of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from headway_api.models.strategy import OptimizerType, SchedulerType, TrainingConfig
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import lr_scheduler

from headway_trainer.errors import TrainingError
from headway_trainer.training.resuming import Keeper, State, random_state, set_random_state
from headway_trainer.training.sampling import balanced_epoch, epoch_size

Ints = NDArray[np.int64]
CHECK_BATCHES = 50
"""Batches between two looks at the cancellation token."""
_EVALUATION_BATCH = 1024
NOWHERE = Keeper()
"""Keeps no checkpoints."""


@dataclass(frozen=True)
class Windows:
    """Samples where the network runs: window i is the rows that end at ``ends[i]``."""

    rows: Tensor
    ends: Tensor
    labels: Tensor
    length: int

    def batch(self, positions: Ints) -> tuple[Tensor, Tensor]:
        """Windows, shape (batch, length, features), and labels, shape (batch,)."""
        chosen = torch.from_numpy(positions).to(self.ends.device)
        back = torch.arange(1 - self.length, 1, device=self.ends.device)
        return self.rows[self.ends[chosen, None] + back], self.labels[chosen]


@dataclass(frozen=True)
class Stopped:
    """Training was asked to stop: finished epochs, and batches of the one that ran."""

    epochs: int
    batches: int


@dataclass(frozen=True)
class Fitted:
    """Training ran to its end; the network holds the best epoch's weights.

    Attributes:
        epochs: epochs that ran.
        best_epoch: the one with the lowest validation loss, counted from 1.
        history: metrics of each epoch.
    """

    epochs: int
    best_epoch: int
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Listener:
    """Who is told, and who may stop it.

    Attributes:
        stopped: whether to stop; looked at before each epoch and every CHECK_BATCHES batches.
        batch: called with epoch, batch (both from 1), batches of an epoch.
        epoch: called with epoch, batches of an epoch, its metrics.
    """

    stopped: Callable[[], bool] = lambda: False
    batch: Callable[[int, int, int], None] = lambda *_: None
    epoch: Callable[[int, int, Mapping[str, float]], None] = lambda *_: None


def fit(
    network: nn.Module,
    windows: Windows,
    train: Sequence[Ints],
    validation: Ints,
    config: TrainingConfig,
    listener: Listener,
    keeper: Keeper = NOWHERE,
    start: State | None = None,
) -> Fitted | Stopped:
    """Train a network in place.

    Args:
        network: on the device of ``windows``.
        windows: all samples.
        train: positions of the training samples, apart by symbol.
        validation: positions of the validation samples.
        config: optimiser, schedule, clipping, early stopping, seed.
        listener: is told of every batch and epoch.
        keeper: keeps checkpoints: when they are due, and on a stop.
        start: the state to go on from, as a checkpoint holds it.

    Raises:
        TrainingError: where the loss is no longer a number.
    """
    loop = _Loop(network, windows, config, listener, keeper)
    batches = math.ceil(epoch_size(train) / config.batch_size)
    best, history = loop.best, loop.history
    if start is not None:
        loop.restore(start)
    for epoch in range(len(history) + 1, config.epochs + 1):
        if config.early_stopping and epoch - 1 - best.improved >= config.early_stopping.patience:
            break
        if listener.stopped():
            return loop.stop()
        order = balanced_epoch(train, config.seed, epoch)
        loss = loop.train(epoch, order, batches)
        judged = loop.judge(validation) if loss is not None else None
        if loss is None or judged is None:
            return loop.stop()
        metrics = {"loss": loss, **judged, "learning_rate": loop.learning_rate}
        history.append(metrics)
        listener.epoch(epoch, batches, metrics)
        if not math.isfinite(loss) or not math.isfinite(judged["val_loss"]):
            raise TrainingError(
                f"the loss became {loss if not math.isfinite(loss) else judged['val_loss']} in "
                f"epoch {epoch}; lower training.learningRate or set training.gradientClip"
            )
        best.offer(epoch, judged["val_loss"])
        loop.end_epoch(judged["val_loss"])
        if keeper.due(epoch):
            keeper.save(loop.state())
    best.restore()
    return Fitted(len(history), best.epoch, history)


class _Loop:
    """The state of training, and its steps.

    Attributes:
        best: the best epoch so far.
        history: metrics of the epochs completed.
    """

    def __init__(
        self,
        network: nn.Module,
        windows: Windows,
        config: TrainingConfig,
        listener: Listener,
        keeper: Keeper,
    ) -> None:
        early = config.early_stopping
        self.best = _Best(network, early.min_delta if early else 0.0)
        self.history: list[dict[str, float]] = []
        self._keeper = keeper
        self._done = 0
        self._total = torch.zeros((), device=windows.rows.device)
        self._network = network
        self._windows = windows
        self._config = config
        self._listener = listener
        self._optimizer = optimizer(network, config)
        self._scheduler = scheduler(self._optimizer, config)
        self._loss = nn.CrossEntropyLoss()

    @property
    def learning_rate(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def state(self) -> State:
        """All of it, as a checkpoint holds it: at the boundary of a batch or of an epoch."""
        return {
            "epochs": len(self.history),
            "batches": self._done,
            "total": self._total,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict() if self._scheduler else None,
            "best": self.best.state(),
            "history": self.history,
            "random": random_state(self._windows.rows.device),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._done = state["batches"]
        self._total = state["total"].to(self._windows.rows.device)
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        self.best.set_state(state["best"])
        self.history += state["history"]
        set_random_state(state["random"], self._windows.rows.device)

    def stop(self) -> Stopped:
        """Keep a last checkpoint, and say where training stopped."""
        self._keeper.save(self.state())
        return Stopped(len(self.history), self._done)

    def train(self, epoch: int, order: Ints, batches: int) -> float | None:
        """What is left of an epoch: the mean loss of all of it, or None after a stop."""
        network, clip, size = self._network, self._config.gradient_clip, self._config.batch_size
        network.train()
        if not self._done:
            self._total = torch.zeros((), device=self._windows.rows.device)
        for number in range(self._done, batches):
            if number and number % CHECK_BATCHES == 0 and not self._goes_on():
                return None
            inputs, labels = self._windows.batch(order[number * size : (number + 1) * size])
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._loss(network(inputs), labels)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            self._optimizer.step()
            self._total += loss.detach() * len(labels)
            self._done = number + 1
            self._listener.batch(epoch, number + 1, batches)
        return float(self._total) / len(order)

    def _goes_on(self) -> bool:
        if self._listener.stopped():
            return False
        if self._keeper.due():
            self._keeper.save(self.state())
        return True

    def judge(self, positions: Ints) -> dict[str, float] | None:
        """Loss and accuracy on other samples; None after a stop."""
        logits = evaluate(self._network, self._windows, positions, self._listener.stopped)
        if logits is None:
            return None
        labels = self._windows.labels[torch.from_numpy(positions).to(logits.device)]
        right = (logits.argmax(dim=1) == labels).sum()
        return {
            "val_loss": float(self._loss(logits, labels)),
            "val_accuracy": float(right) / len(positions),
        }

    def end_epoch(self, validation_loss: float) -> None:
        self._done = 0
        if isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            self._scheduler.step(validation_loss)
        elif self._scheduler is not None:
            self._scheduler.step()


class _Best:
    """The weights of the best epoch, and when it last got better by enough to count."""

    def __init__(self, network: nn.Module, min_delta: float) -> None:
        self._network = network
        self._min_delta = min_delta
        self._lowest = self._counted = math.inf
        self._weights: dict[str, Any] = {}
        self.epoch = 0
        self.improved = 0

    def offer(self, epoch: int, loss: float) -> None:
        if loss < self._lowest:
            self._lowest, self.epoch = loss, epoch
            self._weights = copy.deepcopy(self._network.state_dict())
        if loss < self._counted - self._min_delta:
            self._counted, self.improved = loss, epoch

    def state(self) -> State:
        return {
            "lowest": self._lowest,
            "counted": self._counted,
            "weights": self._weights,
            "epoch": self.epoch,
            "improved": self.improved,
        }

    def set_state(self, state: State) -> None:
        self._lowest, self._counted = state["lowest"], state["counted"]
        self._weights = state["weights"]
        self.epoch, self.improved = state["epoch"], state["improved"]

    def restore(self) -> None:
        if self._weights:
            self._network.load_state_dict(self._weights)


def evaluate(
    network: nn.Module,
    windows: Windows,
    positions: Ints,
    stopped: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Logits of samples, shape (samples, classes); None after a stop. Batches are always alike."""
    network.eval()
    parts = []
    with torch.no_grad():
        for number, first in enumerate(range(0, len(positions), _EVALUATION_BATCH)):
            if number and number % CHECK_BATCHES == 0 and stopped():
                return None
            inputs, _ = windows.batch(positions[first : first + _EVALUATION_BATCH])
            parts.append(network(inputs))
    return torch.cat(parts)


def optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimiser; sgd with momentum 0.9."""
    settings: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer is OptimizerType.SGD:
        return torch.optim.SGD(network.parameters(), momentum=0.9, **settings)
    kind = torch.optim.AdamW if config.optimizer is OptimizerType.ADAMW else torch.optim.Adam
    return kind(network.parameters(), **settings)


def scheduler(
    optimizer: torch.optim.Optimizer, config: TrainingConfig
) -> lr_scheduler.LRScheduler | None:
    """The learning-rate schedule.

    ``cosine`` falls to 0 over all epochs; ``step`` halves at each third of them; ``plateau`` halves
    after 3 epochs in which the validation loss did not fall.
    """
    if config.scheduler is SchedulerType.COSINE:
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.epochs)
    if config.scheduler is SchedulerType.STEP:
        return lr_scheduler.StepLR(optimizer, step_size=max(1, config.epochs // 3), gamma=0.5)
    if config.scheduler is SchedulerType.PLATEAU:
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    return None

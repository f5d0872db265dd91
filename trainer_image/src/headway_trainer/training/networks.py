"""The networks: windows of feature rows in, one logit for each class out.

All take shape (batch, rows, features) and give shape (batch, classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from headway_api.models.strategy import ModelConfig, ModelType
from torch import Tensor, nn

from headway_trainer.training.labels import CLASSES


def network(config: ModelConfig, features: int) -> nn.Module:
    """A network with fresh weights, drawn from PyTorch's global generator.

    Args:
        config: its kind and shape.
        features: columns of a feature row.
    """
    outputs = len(CLASSES)
    if config.type is ModelType.MLP:
        return Perceptron(
            config.sequence_length * features, config.hidden_sizes, config.dropout, outputs
        )
    if config.type is ModelType.CNN:
        return Convolution(features, config.hidden_sizes, config.dropout, outputs)
    kind = nn.LSTM if config.type is ModelType.LSTM else nn.GRU
    return Recurrence(kind, features, config.hidden_sizes, config.dropout, outputs)


class Perceptron(nn.Module):
    """Dense layers over the flattened window."""

    def __init__(self, inputs: int, hidden: Sequence[int], dropout: float, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def forward(self, windows: Tensor) -> Tensor:
        """Logits of each window's classes."""
        return cast("Tensor", self.layers(windows))


class Convolution(nn.Module):
    """Convolutions along time, 3 rows wide, that see no later row; then the mean over time."""

    _WIDTH = 3

    def __init__(self, features: int, hidden: Sequence[int], dropout: float, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in hidden:
            layers += [
                nn.ConstantPad1d((self._WIDTH - 1, 0), 0.0),
                nn.Conv1d(features, channels, self._WIDTH),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
            features = channels
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(features, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Logits of each window's classes."""
        found: Tensor = self.layers(windows.transpose(1, 2))
        return cast("Tensor", self.head(found.mean(dim=2)))


class Recurrence(nn.Module):
    """Recurrent layers, each with its own width; the last row's state decides."""

    def __init__(
        self,
        kind: type[nn.LSTM | nn.GRU],
        features: int,
        hidden: Sequence[int],
        dropout: float,
        outputs: int,
    ) -> None:
        super().__init__()
        widths = [features, *hidden]
        self.layers = nn.ModuleList(
            kind(before, width, batch_first=True)
            for before, width in zip(widths, hidden, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Logits of each window's classes."""
        for layer in self.layers:
            windows, _ = layer(windows)
            windows = self.dropout(windows)
        return cast("Tensor", self.head(windows[:, -1]))


def best_device() -> torch.device:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")

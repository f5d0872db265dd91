"""Standard scores, fitted on the training part only."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BOUND = 8.0
"""Standard scores beyond this are cut: one odd tick must not drown a batch."""


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of every feature, in the features' own units.

    Attributes:
        names: of the features, in column order.
        mean: shape (features,).
        deviation: shape (features,), positive.
    """

    names: tuple[str, ...]
    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, names: tuple[str, ...], rows: Floats) -> Scaler:
        """From rows without NaN, shape (rows, features)."""
        deviation = rows.std(axis=0)
        return cls(names, rows.mean(axis=0), np.where(deviation > 1e-12, deviation, 1.0))

    def scaled(self, rows: Floats) -> NDArray[np.float32]:
        """Standard scores within +-BOUND; rows that hold NaN keep it."""
        scores = (rows - self.mean) / self.deviation
        return np.clip(scores, -BOUND, BOUND).astype(np.float32)

    def to_json(self) -> str:
        """As the text of scaler.json; numbers survive it bit for bit."""
        return json.dumps(
            {
                "names": list(self.names),
                "mean": self.mean.tolist(),
                "deviation": self.deviation.tolist(),
            },
            indent=2,
        )

    @classmethod
    def from_json(cls, text: str) -> Scaler:
        """From the text of scaler.json."""
        data = json.loads(text)
        return cls(tuple(data["names"]), np.array(data["mean"]), np.array(data["deviation"]))

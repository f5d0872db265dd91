"""How good predictions are, and how good guessing would be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway_trainer.training.labels import UNKNOWN
from headway_trainer.training.samples import Samples

Ints = NDArray[np.int64]


def scores(labels: Ints, predicted: Ints) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 as the mean of both classes (scikit-learn's macro)."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=[0, 1], average="macro", zero_division=0.0
    )
    named = {
        "accuracy": accuracy_score(labels, predicted),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    return {name: round(float(value), 6) for name, value in named.items()}


def baselines(samples: Samples, train: Ints, part: Ints) -> dict[str, dict[str, float]]:
    """What needs no model: the same scores for three ways to guess.

    - ``majority``: always the label that most training samples have.
    - ``last_label``: the newest label that is known when the sample is taken.
    - ``current_leg``: that the zigzag goes on as it is known to go when the sample is taken.
    """
    usual = majority(samples.labels[train])
    guesses = {
        "majority": np.full(len(part), usual, dtype=np.int64),
        "last_label": _known_or(samples.last_label[part], usual),
        "current_leg": _known_or(samples.current_leg[part], usual),
    }
    return {name: scores(samples.labels[part], guess) for name, guess in guesses.items()}


def per_symbol(samples: Samples, train: Ints, part: Ints, predicted: Ints) -> dict[str, Any]:
    """For each symbol how many samples it gave; where the part holds some, scores and baselines."""
    out: dict[str, Any] = {}
    for number, symbol in enumerate(samples.symbols):
        chosen = samples.symbol[part] == number
        own = part[chosen]
        told: dict[str, Any] = {
            "samples": len(own),
            "training_samples": int((samples.symbol[train] == number).sum()),
        }
        if len(own):
            guesses = baselines(samples, train, own)
            told |= scores(samples.labels[own], predicted[chosen])
            told["baseline_accuracy"] = {name: g["accuracy"] for name, g in guesses.items()}
        out[symbol] = told
    return out


def majority(labels: Ints) -> int:
    """The label that occurs most; of two that occur alike, the smaller."""
    return int(np.bincount(labels, minlength=2).argmax())


def _known_or(labels: Ints, otherwise: int) -> Ints:
    return np.where(labels == UNKNOWN, otherwise, labels)

"""The scores against numbers that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from headway_trainer.training.labels import DOWN, UNKNOWN, UP
from headway_trainer.training.samples import Samples
from headway_trainer.training.scoring import baselines, per_symbol, scores

LABELS = np.array([UP, UP, UP, UP, DOWN, DOWN])
PREDICTED = np.array([UP, UP, UP, DOWN, DOWN, UP])


def samples() -> Samples:
    """Six of one symbol to train on, then four of that and two of another to be tested on."""
    nothing = np.zeros(12, dtype=np.int64)
    return Samples(
        symbols=("A", "B", "NONE"),
        names=("x",),
        rows=np.zeros((12, 1)),
        row_times=nothing,
        ends=nothing,
        symbol=np.array([0] * 10 + [1] * 2),
        times=np.arange(12),
        label_ends=np.arange(12),
        labels=np.concatenate([[UP, UP, UP, UP, DOWN, DOWN], LABELS]),
        last_label=np.concatenate([[UNKNOWN] * 6, [UP, DOWN, UNKNOWN, DOWN, DOWN, UP]]),
        current_leg=np.concatenate([[UNKNOWN] * 6, LABELS]),
    )


TRAIN, TEST = np.arange(6), np.arange(6, 12)


def test_scores_are_the_means_of_both_classes():
    # up: 3 of 4 said up are up, 3 of 4 up are found; down: 1 of 2 and 1 of 2.
    assert scores(LABELS, PREDICTED) == pytest.approx(
        {
            "accuracy": 4 / 6,
            "precision": (3 / 4 + 1 / 2) / 2,
            "recall": (3 / 4 + 1 / 2) / 2,
            "f1": (3 / 4 + 1 / 2) / 2,
        },
        abs=1e-6,
    )


def test_a_class_that_nobody_predicts_counts_as_zero():
    told = scores(LABELS, np.full(6, UP))
    assert told == pytest.approx(
        {"accuracy": 4 / 6, "precision": (4 / 6) / 2, "recall": 1 / 2, "f1": 0.4}, abs=1e-6
    )


def test_baselines_know_only_what_was_known():
    told = baselines(samples(), TRAIN, TEST)
    assert told["majority"]["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    # The one that is not known is guessed to be as most are: up, which it is.
    assert told["last_label"]["accuracy"] == pytest.approx(3 / 6, abs=1e-6)
    assert told["current_leg"]["accuracy"] == 1.0


def test_every_symbol_is_told_the_one_without_samples_too():
    told = per_symbol(samples(), TRAIN, TEST, PREDICTED)
    assert [told[s]["samples"] for s in "AB"] == [4, 2]
    assert [told[s]["training_samples"] for s in "AB"] == [6, 0]
    assert told["A"]["accuracy"] == 0.75
    assert told["B"]["accuracy"] == 0.5
    assert told["A"]["baseline_accuracy"]["majority"] == 1.0
    assert told["NONE"] == {"samples": 0, "training_samples": 0}

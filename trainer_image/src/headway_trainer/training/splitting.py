"""Train, validation, test: by time, over all symbols alike, with the horizon purged between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
TEST_SHARE = 0.1
"""Share of the samples, the latest, that only the final test sees."""


@dataclass(frozen=True)
class Split:
    """Positions of the samples of each part, in their given order."""

    train: Ints
    validation: Ints
    test: Ints


def chronological(times: Ints, label_ends: Ints, validation: float, test: float) -> Split:
    """Split samples at two moments in time.

    A sample whose label looks across the moment where the next part begins is left out: its label
    would tell of prices that the next part is judged on. The cuts are the same for all symbols,
    because symbols move together.

    Args:
        times: when each sample is taken, shape (samples,), in any order.
        label_ends: time of the last bar that each sample's label looks at.
        validation: share of the samples for validation.
        test: share of the samples for the test.
    """
    ordered = np.sort(times)
    last = len(ordered) - 1
    if last < 0:
        nothing = np.zeros(0, dtype=np.int64)
        return Split(nothing, nothing, nothing)
    test_from = ordered[min(last, int(len(ordered) * (1 - test)))]
    validation_from = ordered[min(last, int(len(ordered) * max(0.0, 1 - test - validation)))]
    return Split(
        train=np.flatnonzero(label_ends < validation_from),
        validation=np.flatnonzero((times >= validation_from) & (label_ends < test_from)),
        test=np.flatnonzero(times >= test_from),
    )

"""The order of an epoch: every symbol is seen about as often as any other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
MOST_REPEATS = 5
"""How often an epoch may show a sample of a symbol that has few."""


def balanced_epoch(groups: Sequence[Ints], seed: int, epoch: int) -> Ints:
    """The samples of one epoch, shuffled.

    Each symbol gives the same number of samples, and all together about as many as there are: a
    symbol with more gives a random part of its own, one with fewer repeats them, at most
    MOST_REPEATS times.

    Args:
        groups: positions of each symbol's samples.
        seed: of the run.
        epoch: counted from 1; the same seed and epoch give the same order.
    """
    random = np.random.default_rng([seed, epoch])
    groups = [group for group in groups if len(group)]
    if not groups:
        return np.zeros(0, dtype=np.int64)
    share = math.ceil(sum(len(g) for g in groups) / len(groups))
    drawn = []
    for group in groups:
        size = min(share, MOST_REPEATS * len(group))
        repeats = math.ceil(size / len(group))
        order = np.concatenate([random.permutation(group) for _ in range(repeats)])
        drawn.append(order[:size])
    return random.permutation(np.concatenate(drawn))


def epoch_size(groups: Sequence[Ints]) -> int:
    """How many samples an epoch has: the same for every epoch."""
    sizes = [len(group) for group in groups if len(group)]
    if not sizes:
        return 0
    share = math.ceil(sum(sizes) / len(sizes))
    return sum(min(share, MOST_REPEATS * size) for size in sizes)

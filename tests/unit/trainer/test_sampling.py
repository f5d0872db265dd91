from itertools import pairwise

import numpy as np
from headway_trainer.training.sampling import MOST_REPEATS, balanced_epoch, epoch_size
from hypothesis import given
from hypothesis import strategies as st

sizes = st.lists(st.integers(0, 60), min_size=1, max_size=5)


def groups_of(sizes):
    edges = np.cumsum([0, *sizes])
    return [np.arange(a, b) for a, b in pairwise(edges)]


def test_symbols_of_one_size_are_each_seen_once():
    groups = groups_of([10, 10, 10])
    assert sorted(balanced_epoch(groups, seed=1, epoch=1)) == list(range(30))


def test_a_symbol_with_few_samples_is_seen_as_often_as_one_with_many():
    drawn = balanced_epoch(groups_of([20, 60]), seed=1, epoch=1)
    assert (drawn < 20).sum() == (drawn >= 20).sum() == 40


def test_a_handful_of_samples_is_not_repeated_without_end():
    drawn = balanced_epoch(groups_of([2, 1000]), seed=1, epoch=1)
    assert (drawn < 2).sum() == 2 * MOST_REPEATS


@given(sizes, st.integers(0, 9), st.integers(1, 9))
def test_an_epochs_order_is_a_function_of_seed_and_epoch(sizes, seed, epoch):
    groups = groups_of(sizes)
    drawn = balanced_epoch(groups, seed, epoch)
    assert (drawn == balanced_epoch(groups, seed, epoch)).all()
    assert len(drawn) == epoch_size(groups)


def test_epochs_differ():
    groups = groups_of([50])
    assert (balanced_epoch(groups, 1, 1) != balanced_epoch(groups, 1, 2)).any()

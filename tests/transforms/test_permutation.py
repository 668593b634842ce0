"""The keyed permutations of a GPU's thinning (by their formula in numpy): do they act as uniform ones?"""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

Permuted = Callable[..., NDArray[np.int64]]


def some_keys(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 1 << 62, count)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 1000, 1025, 20_000])
def test_each_key_gives_a_permutation(numpy_permutation: Permuted, count: int) -> None:
    found = np.sort(numpy_permutation(count, some_keys(5, count)), axis=1)
    assert np.array_equal(found, np.broadcast_to(np.arange(count), found.shape))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_every_permutation_is_as_likely(numpy_permutation: Permuted, count: int) -> None:
    found = numpy_permutation(count, some_keys(60_000, count)) @ (10 ** np.arange(count))
    numbers = [int(np.array(order) @ (10 ** np.arange(count))) for order in permutations(range(count))]
    counts = np.array([(found == number).sum() for number in numbers])
    assert counts.sum() == 60_000 and stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("count", "chosen"), [(7, 3), (64, 20), (1000, 300)])
def test_a_leading_part_is_a_uniform_subset(numpy_permutation: Permuted, count: int, chosen: int) -> None:
    trials = 4000
    found = numpy_permutation(count, some_keys(trials, count + 7), chosen)
    expected = trials * chosen / count
    # Without replacement the counts vary less than a multinomial's.
    spread = ((np.bincount(found.ravel(), minlength=count) - expected) ** 2).sum() / expected
    statistic = spread / (1 - chosen / count) * (count - 1) / count
    assert 1e-4 < stats.chi2.sf(statistic, count - 1) < 1 - 1e-4
    # Pairs: two rows far apart, and two beside one another, are chosen together as often as they should be.
    together = chosen * (chosen - 1) / (count * (count - 1))
    for one, other in ((0, count - 1), (0, 1), (count // 2, count // 2 + 1)):
        hits = ((found == one).any(1) & (found == other).any(1)).sum()
        assert stats.binomtest(int(hits), trials, together).pvalue > 1e-4


def test_the_order_tells_nothing_of_the_row(numpy_permutation: Permuted) -> None:
    found = numpy_permutation(1000, some_keys(200, 3))
    places = np.arange(1000)
    correlations = [stats.spearmanr(places, order).statistic for order in found]
    assert stats.kstest(np.array(correlations) * np.sqrt(999), "norm").pvalue > 1e-4
    # Nor does a row tell of the next one.
    steps = np.diff(found, axis=1) % 1000
    assert stats.chisquare(np.bincount(steps.ravel(), minlength=1000)[1:]).pvalue > 1e-4


def test_neighbouring_keys_are_unrelated(numpy_permutation: Permuted) -> None:
    keys = 12345 + np.arange(2000)
    for shifted in (keys, keys << 31, keys << 50):
        first = numpy_permutation(1000, shifted, 1)[:, 0]
        assert stats.kstest(first / 1000, "uniform").pvalue > 1e-4
        assert stats.chisquare(np.bincount(np.diff(first) % 10, minlength=10)).pvalue > 1e-4

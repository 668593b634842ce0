"""Cells of points at the limits of their numbers."""

import numpy as np
import pytest
import torch

from also_selfsup.transforms.cells import continuous_cells, farthest_cell, order_by_cell


@pytest.mark.parametrize("scan_count", [1, 16, 512])
def test_sort_keys_of_the_farthest_cells_fit(scan_count: int) -> None:
    side = 2 * farthest_cell(scan_count) + 1
    assert (scan_count + 1) * side**3 < 2**63
    assert farthest_cell(scan_count) >= 100_000, "1000 m at 0.01 m"


def test_a_kilometre_at_a_centimetre_is_exact(path: str) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(-99_999, 100_000, (3, 2000)).astype(np.float64)
    numbers[:, 1000:] = numbers[:, :1000]
    rows, leads = order_by_cell(torch.from_numpy(numbers), torch.zeros(2000, dtype=torch.int64), scan_count=1)
    assert int(leads.sum()) == 1000
    expected = np.lexsort((np.arange(2000), numbers[2], numbers[1], numbers[0]))
    assert rows.tolist() == expected.tolist()


def test_points_beyond_share_the_outermost_cell(path: str) -> None:
    pos = torch.tensor([[1e12, 0, 0], [2e12, 0, 0], [-1e12, 0, 0], [3.0, 0, 0]])
    cells = continuous_cells(pos, 0.01, scan_count=1).trunc_()
    rows, leads = order_by_cell(cells, torch.zeros(4, dtype=torch.int64), scan_count=1)
    assert rows.tolist() == [2, 3, 0, 1]
    assert leads.tolist() == [True, True, True, False]


@pytest.mark.parametrize("size", [0.0, -0.1, float("nan"), (0.1, 0.1), (0.1, 0.1, 0.0)])
def test_impossible_sizes_are_refused(size: float) -> None:
    with pytest.raises(ValueError, match="Cell size"):
        continuous_cells(torch.zeros(2, 3), size, scan_count=1)


def test_what_is_no_number_is_refused() -> None:
    cells = torch.tensor([[0.0], [float("nan")], [0.0]])
    with pytest.raises(ValueError, match="not a number"):
        order_by_cell(cells, torch.zeros(1, dtype=torch.int64), scan_count=1)


def test_division_is_that_of_numpy() -> None:
    pos = np.random.default_rng(1).normal(0, 50, (10000, 3)).astype(np.float32)
    pos[:1000] = np.round(pos[:1000], 1)  # on the borders of cells, where a reciprocal would round otherwise
    found = continuous_cells(torch.from_numpy(pos), (0.1, 0.05, 0.2), scan_count=1)
    assert np.array_equal(found.numpy().T, pos / np.array([0.1, 0.05, 0.2], np.float32))

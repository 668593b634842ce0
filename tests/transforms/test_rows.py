"""Sorting, counting and picking rows, against Python and numpy."""

import numpy as np
import pytest
import torch

from also_selfsup.transforms import rows

SIZES = [0, 3, 1, 0, 5, 2, 0]


@pytest.fixture
def index() -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))


def test_scan_starts(index: torch.Tensor) -> None:
    assert rows.scan_starts(index, len(SIZES)).tolist() == [0, 0, 3, 4, 4, 9, 11, 11]


def test_scan_starts_of_no_points() -> None:
    assert rows.scan_starts(torch.zeros(0, dtype=torch.int64), 3).tolist() == [0, 0, 0, 0]


def test_count_per_scan(index: torch.Tensor) -> None:
    marks = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0], dtype=torch.bool)
    counted = rows.count_per_scan(marks, rows.scan_starts(index, len(SIZES)))
    assert counted.tolist() == [0, 2, 1, 0, 3, 0, 0]


@pytest.mark.parametrize("density", [0.0, 0.5, 1.0])
def test_marked_rows(index: torch.Tensor, density: float, path: str) -> None:
    marks = np.random.default_rng(3).random(len(index)) < density
    found, sizes = rows.marked_rows(torch.from_numpy(marks), rows.scan_starts(index, len(SIZES)))
    expected = [row for row, mark in enumerate(marks) if mark]
    assert found.tolist() == expected
    assert sizes == [sum(int(index[row]) == scan for row in expected) for scan in range(len(SIZES))]


@pytest.mark.parametrize("width", [None, 1, 3])
def test_take_rows(width: int | None) -> None:
    values = np.random.default_rng(4).random((50,) if width is None else (50, width))
    ids = np.array([4, 4, 0, 49, 7])
    assert np.array_equal(
        rows.take_rows(torch.from_numpy(values), torch.from_numpy(ids)).numpy(), values[ids]
    )


def test_take_no_rows() -> None:
    assert rows.take_rows(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).shape == (0, 3)


def test_leading_rows(index: torch.Tensor) -> None:
    starts = rows.scan_starts(index, len(SIZES))[:-1]
    taken = [min(size, 2) for size in SIZES]
    expected = [start + k for start, size in zip(starts.tolist(), taken, strict=True) for k in range(size)]
    assert rows.leading_rows(starts, torch.tensor(taken), sum(taken)).tolist() == expected


@pytest.mark.parametrize("bound", [8, 1 << 61])
@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_sort_rows_is_stable_whether_or_not_row_numbers_fit(count: int, bound: int) -> None:
    few = np.random.default_rng(5).integers(-7, 8, count)
    keys = few * (bound // 8)
    found, order = rows.sort_rows(torch.from_numpy(keys.copy()), bound=bound)
    expected = sorted(range(count), key=lambda row: (keys[row], row))
    assert order.tolist() == expected
    assert found.tolist() == [keys[row] for row in expected]


def test_keys_at_the_very_bound() -> None:
    bound = 1 << 61  # two rows take one bit: 2**62 in all
    keys = torch.tensor([bound - 1, -(bound - 1)])
    found, order = rows.sort_rows(keys.clone(), bound=bound)
    assert order.tolist() == [1, 0] and found.tolist() == [-(bound - 1), bound - 1]


@pytest.mark.parametrize("count", [0, 1, 10**6, 2**31])
def test_spare_bits_leave_room_for_the_row_number(count: int) -> None:
    for upper in (1, 2, 33):
        bits = rows.spare_bits(count, upper=upper)
        assert bits >= 1 and ((upper << bits) << max(count - 1, 1).bit_length()) <= 1 << 63

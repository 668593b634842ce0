"""The published order of a kernel's cells, its first values, and spconv's layout."""

import math
from typing import Any

import pytest
import torch

from also_selfsup.sparseconv import DownsampleConv3d, SubmanifoldConv3d, UpsampleConv3d
from also_selfsup.sparseconv.kernels import as_cells, from_spconv, kernel_offsets, to_spconv


def test_odd_counts_run_x_fastest_and_even_ones_z_fastest() -> None:
    assert kernel_offsets((3, 3, 3))[:4] == [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0)]
    assert kernel_offsets((2, 2, 2))[:4] == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]
    assert kernel_offsets((3, 1, 1)) == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


@pytest.mark.parametrize("length", [2, 3])
def test_layout_of_spconv_and_back(length: int) -> None:
    size = (length, length, length)
    kernel = torch.randn(length**3, 4, 5)
    grid = kernel.reshape(*size, 4, 5)
    expected = grid.permute(4, 2, 1, 0, 3) if length % 2 else grid.permute(4, 0, 1, 2, 3)
    assert torch.equal(to_spconv(kernel, size), expected)
    assert torch.equal(from_spconv(expected, size), kernel)


def test_a_kernel_of_one_cell_has_two_dimensions() -> None:
    layer = SubmanifoldConv3d(4, 5, 1)
    assert layer.kernel.shape == (4, 5)
    assert torch.equal(from_spconv(to_spconv(layer.kernel, (1, 1, 1)), (1, 1, 1)), layer.kernel)


@pytest.mark.parametrize(
    ("layer", "shape", "fan"),
    [
        (SubmanifoldConv3d(64, 32), (27, 64, 32), 64 * 27),
        (SubmanifoldConv3d(64, 96, 1), (64, 96), 64),
        (DownsampleConv3d(64, 32), (8, 64, 32), 64 * 8),
        (UpsampleConv3d(64, 32), (8, 64, 32), 32 * 8),
    ],
)
def test_first_values_are_uniform_by_the_fan(layer: Any, shape: tuple[int, ...], fan: int) -> None:
    bound = 1 / math.sqrt(fan)
    assert layer.kernel.shape == shape and layer.kernel.dtype == torch.float32
    assert 0.99 * bound < float(layer.kernel.detach().abs().max()) <= bound
    assert abs(float(layer.kernel.detach().std()) - bound / math.sqrt(3)) < 0.03 * bound


def test_a_kernel_of_the_wrong_count_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit size"):
        as_cells(torch.zeros(8, 3, 3), (3, 3, 3))

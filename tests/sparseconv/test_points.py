"""Mixing between points and voxels against dictionaries of cells, one point after the other."""

from typing import Any

import pytest
import torch
from torch import Tensor

from also_selfsup.sparseconv import DownsampleConv3d, Voxels
from also_selfsup.sparseconv.native import NativeBackend
from also_selfsup.sparseconv.points import devoxelize, voxelize_mean


def _levels(coords: Tensor, depth: int) -> tuple[Voxels, Voxels]:
    """Points, and voxels `depth` levels down with random features."""
    points = NativeBackend().voxels(torch.randn(len(coords), 2, dtype=torch.float64), coords)
    x: Voxels = points
    for _ in range(depth):
        x = DownsampleConv3d(2, 2).double()(x)
    return points, x.with_feats(torch.randn(len(x.coords), 3, dtype=torch.float64).requires_grad_())


def _read(cell: list[int], stride: int, values: dict[tuple[int, ...], Tensor]) -> Tensor:
    """Trilinear interpolation among the corners that exist."""
    batch, *point = cell
    total, weights = torch.zeros(3, dtype=torch.float64), 0.0
    for corner in range(8):
        steps = [(corner >> axis) & 1 for axis in range(3)]
        place = tuple(c // stride * stride + step * stride for c, step in zip(point, steps, strict=True))
        weight = 1.0
        for c, at in zip(point, place, strict=True):
            weight *= 1 - abs(c - at) / stride
        value = values.get((batch, *place))
        if value is not None:
            total, weights = total + weight * value, weights + weight
    return total / weights


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_devoxelize(cells: Any, depth: int) -> None:
    coords = cells((19, 9, 11), share=0.05) - torch.tensor((0, 7, 0, 3))
    points, x = _levels(coords, depth)
    stride = 2**depth
    keys = [(b, *(stride * c for c in cell)) for b, *cell in x.coords.tolist()]
    values = dict(zip(keys, x.feats, strict=True))
    truth = torch.stack([_read(cell, stride, values) for cell in coords.tolist()])
    ours = devoxelize(x, points)
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)
    pull = torch.randn_like(truth)
    torch.testing.assert_close(
        torch.autograd.grad((ours * pull).sum(), x.feats), torch.autograd.grad((truth * pull).sum(), x.feats)
    )


@pytest.mark.parametrize("depth", [1, 3])
def test_voxelize_mean(cells: Any, depth: int) -> None:
    coords = cells((19, 9, 11), share=0.1) - torch.tensor((0, 7, 0, 3))
    points, x = _levels(coords, depth)
    feats = torch.randn(len(coords), 3, dtype=torch.float64, requires_grad=True)
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, (batch, *cell) in enumerate(coords.tolist()):
        rows.setdefault((batch, *(c // 2**depth for c in cell)), []).append(row)
    truth = torch.stack([feats[rows[tuple(cell)]].mean(0) for cell in x.coords.tolist()])
    ours = voxelize_mean(feats, points, x)
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)
    pull = torch.randn_like(truth)
    torch.testing.assert_close(
        torch.autograd.grad((ours * pull).sum(), feats), torch.autograd.grad((truth * pull).sum(), feats)
    )


def test_on_level_zero_both_are_the_identity(cells: Any) -> None:
    points, x = _levels(cells(), 0)
    assert devoxelize(x, points) is x.feats and voxelize_mean(points.feats, points, x) is points.feats


def test_mixtures_are_found_once_a_level(cells: Any) -> None:
    points, x = _levels(cells(), 2)
    devoxelize(x, points)
    known = x.notes["points"]
    voxelize_mean(points.feats, points, x.with_feats(x.feats * 2))
    assert x.notes["points"] is known
    with pytest.raises(ValueError, match="level 0"):
        devoxelize(x, x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_summed_in_float32(cells: Any, dtype: torch.dtype) -> None:
    points, x = _levels(cells(), 1)
    rounded = x.with_feats(x.feats.detach().to(dtype))
    exact = devoxelize(x.with_feats(rounded.feats.double()), points)
    torch.testing.assert_close(devoxelize(rounded, points), exact.to(dtype), rtol=2**-7, atol=1e-5)


def test_no_point() -> None:
    points, x = _levels(torch.zeros(0, 4, dtype=torch.int64), 1)
    assert devoxelize(x, points).shape == (0, 3) and voxelize_mean(points.feats, points, x).shape == (0, 2)

"""The native backend against dense convolutions in float64, values and gradients, odd and even kernels."""

from typing import Any

import pytest
import torch
from torch import Tensor

from also_selfsup.sparseconv import DownsampleConv3d, SubmanifoldConv3d, UpsampleConv3d
from also_selfsup.sparseconv.native import NativeBackend

SHAPE = (9, 8, 7)
STRIDED = [
    (2, 2, 0),
    ((2, 1, 3), (2, 1, 3), 0),
    (3, 2, 1),
    (3, 2, (0, 1, 1)),
    (3, 2, (1, 1, 0)),
    ((1, 1, 3), (1, 1, 2), 0),
    ((3, 1, 1), (2, 1, 1), 0),
    (2, 1, 0),
    ((4, 3, 2), (2, 3, 1), (1, 0, 1)),
]


def _feats(coords: Tensor, channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    feats = torch.randn(len(coords), channels, dtype=torch.float64, generator=generator)
    return feats.requires_grad_()


def _agree(first: Tensor, second: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Values within 1e-12, and gradients of a weighted sum with respect to the inputs as well."""
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    weights = torch.randn(first.shape, dtype=first.dtype, generator=torch.Generator().manual_seed(2))
    gradients = [torch.autograd.grad((value * weights).sum(), inputs) for value in (first, second)]
    for ours, truth in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, truth, rtol=0, atol=1e-11)


@pytest.mark.parametrize("size", [3, 5, (1, 3, 5), (3, 1, 1), 2, (2, 1, 3), (4, 2, 1), 1])
def test_submanifold(cells: Any, dense: Any, size: Any) -> None:
    coords = cells(SHAPE)
    feats, layer = _feats(coords, 3), SubmanifoldConv3d(3, 5, size).double()
    y = layer(NativeBackend().voxels(feats, coords))
    truth = dense.submanifold(feats, coords, layer.kernel, size=layer.geometry.size, shape=SHAPE)
    assert torch.equal(y.coords, coords) and y.level == 0
    _agree(y.feats, truth, (feats, layer.kernel))


@pytest.mark.parametrize(("size", "stride", "padding"), STRIDED)
def test_downsample_in_a_bounded_grid(cells: Any, dense: Any, size: Any, stride: Any, padding: Any) -> None:
    coords = cells(SHAPE)
    feats, layer = _feats(coords, 3), DownsampleConv3d(3, 5, size, stride, padding).double()
    geometry = layer.geometry
    y = layer(NativeBackend().voxels(feats, coords, grid=SHAPE))
    found, truth = dense.downsample(
        feats,
        coords,
        layer.kernel,
        size=geometry.size,
        stride=geometry.stride,
        padding=geometry.padding,
        shape=SHAPE,
    )
    assert torch.equal(y.coords, found) and y.level == 1
    _agree(y.feats, truth, (feats, layer.kernel))


@pytest.mark.parametrize(("size", "stride", "padding"), STRIDED)
def test_upsample_undoes_its_downsample(cells: Any, dense: Any, size: Any, stride: Any, padding: Any) -> None:
    coords = cells(SHAPE)
    down = DownsampleConv3d(3, 4, size, stride, padding).double()
    up = UpsampleConv3d(4, 5, size).double()
    coarse = down(NativeBackend().voxels(_feats(coords, 3), coords, grid=SHAPE))
    feats = coarse.feats.detach().requires_grad_()
    y = up(coarse.with_feats(feats))
    truth = dense.upsample(
        feats,
        coarse.coords,
        up.kernel,
        fine=coords,
        size=down.geometry.size,
        stride=down.geometry.stride,
        padding=down.geometry.padding,
        shape=tuple(int(end) + 1 for end in coarse.coords[:, 1:].amax(0)),
    )
    assert torch.equal(y.coords, coords) and y.level == 0
    _agree(y.feats, truth, (feats, up.kernel))


@pytest.mark.parametrize("shift", [0, -64, 4_000_000])
def test_coarse_cell_is_the_floor_of_the_half(cells: Any, shift: int) -> None:
    coords = cells(SHAPE) + torch.tensor((0, shift - 5, shift - 2, shift - 3))
    y = DownsampleConv3d(1, 1)(NativeBackend().voxels(torch.ones(len(coords), 1), coords))
    halves = {(b, x // 2, y // 2, z // 2) for b, x, y, z in coords.tolist()}
    assert y.coords.tolist() == [list(cell) for cell in sorted(halves)]


def test_gradients_by_finite_differences(cells: Any) -> None:
    coords = cells((4, 3, 3), batch=1)
    layers = [SubmanifoldConv3d(2, 2), DownsampleConv3d(2, 1), SubmanifoldConv3d(1, 2), UpsampleConv3d(2, 2)]
    start = NativeBackend().voxels(_feats(coords, 2), coords)
    kernels = [layer.kernel.detach().double().requires_grad_() for layer in layers]

    def network(feats: Tensor, *given: Tensor) -> Tensor:
        x = start.with_feats(feats)
        x = x.backend.submanifold(x, given[0], (3, 3, 3))
        x = x.backend.downsample(x, given[1], (2, 2, 2), (2, 2, 2), (0, 0, 0))
        x = x.backend.submanifold(x, given[2], (3, 3, 3))
        return x.backend.upsample(x, given[3], (2, 2, 2)).feats

    assert torch.autograd.gradcheck(network, (_feats(coords, 2), *kernels))


def test_only_the_gradients_asked_for(cells: Any, dense: Any) -> None:
    coords = cells(SHAPE)
    feats, layer = _feats(coords, 3), SubmanifoldConv3d(3, 5).double()
    truth = dense.submanifold(feats, coords, layer.kernel, size=(3, 3, 3), shape=SHAPE).square().sum()
    by_feats, by_kernel = torch.autograd.grad(truth, (feats, layer.kernel))
    frozen = layer.kernel.detach()
    x = NativeBackend().voxels(feats, coords)
    ours = x.backend.submanifold(x, frozen, (3, 3, 3)).feats.square().sum()
    torch.testing.assert_close(torch.autograd.grad(ours, feats)[0], by_feats, rtol=0, atol=1e-10)
    x = NativeBackend().voxels(feats.detach(), coords)
    torch.testing.assert_close(
        torch.autograd.grad(layer(x).feats.square().sum(), layer.kernel)[0], by_kernel, rtol=0, atol=1e-10
    )

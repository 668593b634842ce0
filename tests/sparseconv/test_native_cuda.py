"""The native backend on a GPU against the CPU in float64; skipped where there is none."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from also_selfsup.sparseconv import (
    BatchNorm,
    Chain,
    DownsampleConv3d,
    ReLU,
    SubmanifoldConv3d,
    UpsampleConv3d,
    Voxels,
)
from also_selfsup.sparseconv.native import NativeBackend
from also_selfsup.sparseconv.points import devoxelize, voxelize_mean

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _network() -> Chain:
    torch.manual_seed(0)
    return Chain(
        SubmanifoldConv3d(3, 16),
        BatchNorm(16),
        ReLU(),
        DownsampleConv3d(16, 24),
        SubmanifoldConv3d(24, 24, 5),
        DownsampleConv3d(24, 16, 3, 2, 1),
        UpsampleConv3d(16, 24, 3),
        UpsampleConv3d(24, 8),
    ).double()


def _run(network: Chain, feats: Tensor, coords: Tensor) -> tuple[Tensor, list[Tensor]]:
    points = NativeBackend().voxels(feats, coords)
    y: Voxels = network(points)
    down = DownsampleConv3d(8, 8).to(y.feats)
    torch.nn.init.ones_(down.kernel)
    coarse = down(y)
    mixed = y.feats + devoxelize(coarse.with_feats(voxelize_mean(y.feats, points, coarse)), points)
    network.zero_grad()
    (20 * mixed.double().square().sum()).backward()  # large enough for gradients in float16
    return mixed.detach(), [p.grad.clone() for p in network.parameters() if p.grad is not None]


def _error(ours: Tensor, truth: Tensor) -> float:
    return float((ours.cpu().double() - truth).norm() / truth.norm())


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)],
)
def test_cuda_follows_the_cpu(cells: Any, dtype: torch.dtype, tolerance: float) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    coords = cells((30, 30, 20), share=0.1)
    feats = torch.randn(len(coords), 3, dtype=torch.float64)
    network = _network()
    truth, gradients = _run(network, feats, coords)
    ours, ours_gradients = _run(network.to("cuda", dtype), feats.to("cuda", dtype), coords.cuda())
    assert ours.dtype == dtype and _error(ours, truth) < tolerance
    for gradient, exact in zip(ours_gradients, gradients, strict=True):
        assert _error(gradient, exact) < 10 * tolerance


def test_autocast_on_cuda(cells: Any) -> None:
    coords = cells((30, 30, 20), share=0.1)
    feats = torch.randn(len(coords), 3, dtype=torch.float64)
    network = _network()
    truth, gradients = _run(network, feats, coords)
    with torch.autocast("cuda", torch.bfloat16):
        ours, ours_gradients = _run(
            network.to("cuda", torch.float32), feats.to("cuda").float(), coords.cuda()
        )
    assert _error(ours, truth) < 5e-2
    for gradient, exact in zip(ours_gradients, gradients, strict=True):
        assert gradient.dtype == torch.float32 and _error(gradient, exact) < 0.2


def test_no_row_on_cuda() -> None:
    empty = torch.zeros(0, 4, dtype=torch.int64, device="cuda")
    y = _network().cuda()(
        NativeBackend().voxels(torch.zeros(0, 3, dtype=torch.float64, device="cuda"), empty)
    )
    assert y.feats.shape == (0, 8)


def test_openpcdets_strides_on_cuda(cells: Any) -> None:
    coords = cells((30, 30, 41), share=0.05)
    feats = torch.randn(len(coords), 16, dtype=torch.float64)
    torch.manual_seed(0)
    network = Chain(
        SubmanifoldConv3d(16, 16),
        DownsampleConv3d(16, 32, 3, 2, 1),
        DownsampleConv3d(32, 32, 3, 2, 1),
        DownsampleConv3d(32, 48, 3, 2, (1, 1, 0)),
        DownsampleConv3d(48, 64, (1, 1, 3), (1, 1, 2)),
    ).double()
    results = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float64), ("cuda", torch.bfloat16)):
        network.to(device, dtype).zero_grad()
        y = network(NativeBackend().voxels(feats.to(device, dtype), coords.to(device), grid=(30, 30, 41)))
        y.feats.double().square().sum().backward()
        gradients = [p.grad.cpu().double() for p in network.parameters() if p.grad is not None]
        results.append((y.coords.cpu(), [y.feats.detach().cpu().double(), *map(torch.clone, gradients)]))
        network.to("cpu", torch.float64)
    (truth_coords, truth), *others = results
    for (found_coords, found), tolerance in zip(others, (1e-10, 0.1), strict=True):
        assert torch.equal(found_coords, truth_coords)
        assert all(_error(ours, exact) < tolerance for ours, exact in zip(found, truth, strict=True))


def test_a_grid_that_loses_every_coarse_cell_on_cuda() -> None:
    coords = torch.tensor([[0, 0, 0, 3]], device="cuda")
    feats = torch.ones(1, 16, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    layer = DownsampleConv3d(16, 16, (1, 1, 3), (1, 1, 2)).to("cuda", torch.bfloat16)
    y = layer(NativeBackend().voxels(feats, coords, grid=(1, 1, 4)))
    y.feats.sum().backward()
    assert y.feats.shape == (0, 16) and feats.grad is not None and not feats.grad.any()


def _residual_network() -> nn.ModuleList:
    """Convolutions of whole blocks of channels with batch-norm: what is one fused step in 16 bits."""
    torch.manual_seed(0)
    return nn.ModuleList(
        [
            Chain(SubmanifoldConv3d(16, 32), BatchNorm(32), ReLU()),
            Chain(DownsampleConv3d(32, 32), BatchNorm(32), ReLU()),
            Chain(SubmanifoldConv3d(32, 48), BatchNorm(48)),
            Chain(SubmanifoldConv3d(32, 48, 1), BatchNorm(48)),
            Chain(UpsampleConv3d(48, 16), BatchNorm(16), ReLU()),
        ]
    )


def _states(network: nn.ModuleList, feats: Tensor, coords: Tensor) -> dict[str, Tensor]:
    """Result, gradients and running statistics, in float64 on the CPU."""
    first, down, block, shortcut, up = network
    y = down(first(NativeBackend().voxels(feats, coords)))
    result = up(block(y, residual=lambda: shortcut(y))).feats
    weights = torch.linspace(0.5, 1.5, result.numel(), dtype=torch.float64, device=result.device)
    (result.double() * result.double() * weights.view_as(result)).sum().backward()
    found = {"result": result} | {name: p.grad for name, p in network.named_parameters()}
    found |= {name: value for name, value in network.named_buffers() if "running" in name}
    return {name: value.detach().cpu().double() for name, value in found.items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-2), (torch.bfloat16, 0.12)])
def test_fused_steps_follow_float64(cells: Any, dtype: torch.dtype, tolerance: float) -> None:
    coords = cells((40, 40, 20), share=0.1).cuda()
    feats = torch.randn(len(coords), 16, device="cuda")
    network = _residual_network().cuda()
    truth = _states(copy.deepcopy(network).double(), feats.double(), coords)
    with torch.autocast("cuda", dtype):
        ours = _states(network, feats, coords)
    errors = {name: _error(ours[name], truth[name]) for name in truth}
    assert max(errors.values()) < tolerance, errors
    statistics = [error for name, error in errors.items() if "running" in name]
    assert max(statistics) < tolerance / 10

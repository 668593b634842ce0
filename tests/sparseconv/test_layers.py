"""The layers: published names, chains against one module after another, batch-norm against torch's."""

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
    concatenate,
)
from also_selfsup.sparseconv.native import NativeBackend


def _voxels(coords: Tensor, channels: int = 3) -> Voxels:
    generator = torch.Generator().manual_seed(0)
    feats = torch.randn(len(coords), channels, dtype=torch.float64, generator=generator)
    return NativeBackend().voxels(feats.requires_grad_(), coords)


def _chain() -> Chain:
    torch.manual_seed(0)
    chain = Chain(
        SubmanifoldConv3d(3, 4),
        BatchNorm(4),
        ReLU(),
        DownsampleConv3d(4, 5),
        ReLU(),
        nn.Identity(),
        UpsampleConv3d(5, 3),
        BatchNorm(3),
    ).double()
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.1)
    return chain


def test_names_are_the_published_ones() -> None:
    names = {name: tuple(value.shape) for name, value in _chain().state_dict().items()}
    assert names["0.kernel"] == (27, 3, 4) and names["3.kernel"] == (8, 4, 5)
    batch_norm = {f"1.{name}" for name in nn.BatchNorm1d(4).state_dict()}
    assert {name for name in names if name.startswith("1.")} == batch_norm


@pytest.mark.parametrize("training", [True, False])
def test_a_chain_is_its_modules_one_after_the_other(cells: Any, training: bool) -> None:
    coords, chain, plain = cells(), _chain().train(training), _chain().train(training)
    x = _voxels(coords)
    y = x
    for module in plain:
        y = module(y)
    ours = chain(x)
    torch.testing.assert_close(ours.feats, y.feats, rtol=0, atol=1e-12)
    inputs = (x.feats, *chain.parameters())
    truths = (x.feats, *plain.parameters())
    for first, second in zip(
        torch.autograd.grad(ours.feats.square().sum(), inputs),
        torch.autograd.grad(y.feats.square().sum(), truths),
        strict=True,
    ):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-10)
    for first, second in zip(chain.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(first, second)


def test_a_residual_is_added_before_a_last_relu(cells: Any) -> None:
    x, chain = _voxels(cells()), _chain()
    alone = chain(x)
    assert bool((alone.feats < 0).any())
    truth = torch.relu(alone.feats + x.feats)
    ours = chain(x, residual=lambda: x).feats
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), x.feats), torch.autograd.grad(truth.sum(), x.feats)
    )


def test_a_residual_needs_a_convolution_at_the_end(cells: Any) -> None:
    x = _voxels(cells())
    with pytest.raises(ValueError, match="has to end"):
        Chain(SubmanifoldConv3d(3, 3), ReLU()).double()(x, residual=lambda: x)


def test_the_input_of_a_chain_is_left_alone(cells: Any) -> None:
    x = _voxels(cells())
    before = x.feats.detach().clone()
    for module in (
        _chain(),
        BatchNorm(3).double(),
        ReLU(),
        Chain(SubmanifoldConv3d(3, 3, 1).double(), ReLU()),
    ):
        module(x)
    _chain()(x, residual=lambda: x)
    assert torch.equal(x.feats, before)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_is_that_of_torch(cells: Any, momentum: float | None) -> None:
    x = _voxels(cells())
    ours, truth = BatchNorm(3, momentum=momentum).double(), nn.BatchNorm1d(3, momentum=momentum).double()
    for _ in range(2):
        torch.testing.assert_close(ours(x).feats, truth(x.feats), rtol=0, atol=1e-12)
    for name, value in truth.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_of_one_row_counts_as_variance_zero(momentum: float | None) -> None:
    norm = BatchNorm(3, momentum=momentum).double()
    nn.init.normal_(norm.bias)
    x = _voxels(torch.zeros(1, 4, dtype=torch.int64))
    y = norm(x)
    torch.testing.assert_close(y.feats[0], norm.bias)
    share = 0.1 if momentum else 1.0
    torch.testing.assert_close(norm.running_mean, share * x.feats[0].detach())
    torch.testing.assert_close(norm.running_var, torch.full((3,), 1 - share, dtype=torch.float64))
    assert int(norm.num_batches_tracked or 0) == 1


def test_a_converted_batch_norm_is_still_taken_for_one() -> None:
    chain = nn.SyncBatchNorm.convert_sync_batchnorm(Chain(SubmanifoldConv3d(3, 4, 1), BatchNorm(4), ReLU()))
    assert isinstance(chain[1], nn.SyncBatchNorm)
    x = NativeBackend().voxels(torch.randn(5, 3), torch.arange(20).view(5, 4))
    y = chain.eval()(x)
    torch.testing.assert_close(y.feats, torch.relu(x.feats @ chain[0].kernel) / (1 + 1e-5) ** 0.5)


def test_concatenate_joins_channels(cells: Any) -> None:
    x = _voxels(cells())
    both = concatenate(x, x.with_feats(2 * x.feats))
    assert torch.equal(both.feats, torch.cat((x.feats, 2 * x.feats), 1)) and both.coords is x.coords

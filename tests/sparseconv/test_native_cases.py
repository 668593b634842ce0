"""The native backend where inputs are unusual: orders, batches, few rows, odd dtypes, far cells, mistakes."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

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


def _network(dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    torch.manual_seed(0)
    return Chain(
        SubmanifoldConv3d(3, 8),
        DownsampleConv3d(8, 8),
        SubmanifoldConv3d(8, 8),
        DownsampleConv3d(8, 6, 3, 2, 1),
        UpsampleConv3d(6, 8, 3),
        ReLU(),
        UpsampleConv3d(8, 4),
    ).to(dtype)


def _run(network: torch.nn.Module, feats: Tensor, coords: Tensor) -> Voxels:
    out: Voxels = network(NativeBackend().voxels(feats, coords))
    return out


def _draw(coords: Tensor) -> Tensor:
    return torch.randn(len(coords), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_permuting_the_rows_permutes_the_result(cells: Any) -> None:
    coords, network = cells(), _network()
    feats, order = _draw(coords), torch.randperm(len(coords))
    torch.testing.assert_close(
        _run(network, feats[order], coords[order]).feats,
        _run(network, feats, coords).feats[order],
        rtol=0,
        atol=1e-12,
    )


def test_a_batch_is_its_scans_one_by_one(cells: Any) -> None:
    coords, network = cells(batch=3), _network()
    coords[coords[:, 0] > 0, 0] += 1  # scan 1 has no voxel
    feats = _draw(coords)
    together = _run(network, feats, coords)
    for scan in (0, 2, 3):
        rows = coords[:, 0] == scan
        alone = _run(network, feats[rows], coords[rows])
        torch.testing.assert_close(together.feats[rows], alone.feats, rtol=0, atol=1e-12)


def test_shifting_all_cells_changes_nothing(cells: Any) -> None:
    coords, network = cells(), _network()
    feats = _draw(coords)
    near = _run(network, feats, coords).feats
    for shift in (-4, -1000, 2**30, -(2**31)):  # multiples of the coarsest cell
        far = _run(network, feats, coords + torch.tensor((0, shift, shift, shift)))
        torch.testing.assert_close(far.feats, near, rtol=0, atol=1e-12)


def test_cells_far_apart_are_not_mixed_up() -> None:
    coords = torch.tensor(
        [[0, -(2**19), 2**19, 0], [0, 2**19, -(2**19), 0], [500, 0, 0, 1], [0, 2**19, 0, 0]]
    )
    layer = SubmanifoldConv3d(3, 2).double()
    x = NativeBackend().voxels(_draw(coords), coords)
    torch.testing.assert_close(layer(x).feats, x.feats @ layer.kernel[13], rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("training", [True, False])
def test_no_row_and_one_row(count: int, training: bool) -> None:
    feats = torch.ones(count, 3, requires_grad=True)
    layers = (SubmanifoldConv3d(3, 4), BatchNorm(4), ReLU(), DownsampleConv3d(4, 4), UpsampleConv3d(4, 2))
    network = Chain(*layers).train(training)
    y = _run(network, feats, torch.zeros(count, 4, dtype=torch.int32))
    y.feats.sum().backward()
    assert y.feats.shape == (count, 2)
    assert feats.grad is not None and feats.grad.shape == (count, 3)
    for parameter in network.parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())
    assert all(bool(torch.isfinite(buffer).all()) for buffer in network.buffers())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_sixteen_bits_follow_float64(cells: Any, dtype: torch.dtype, tolerance: float) -> None:
    """Relative to the largest value; sums are taken in float32, so only inputs and results are rounded."""
    coords, exact, rounded = cells(), _network(), _network(dtype)
    feats = _draw(coords)
    truth, ours = (
        _run(exact, feats, coords).feats.detach(),
        _run(rounded, feats.to(dtype), coords).feats.detach(),
    )
    assert ours.dtype == dtype
    assert float((ours.double() - truth).abs().max() / truth.abs().max()) < tolerance


def test_one_convolution_in_bfloat16_rounds_once(cells: Any) -> None:
    coords = cells()
    feats, kernel = _draw(coords).bfloat16(), torch.randn(27, 3, 4).bfloat16()
    x = NativeBackend().voxels(feats, coords)
    exact = NativeBackend().voxels(feats.double(), coords)
    ours = x.backend.submanifold(x, kernel, (3, 3, 3)).feats
    truth = x.backend.submanifold(exact, kernel.double(), (3, 3, 3)).feats
    torch.testing.assert_close(ours, truth.to(torch.bfloat16), rtol=2**-7, atol=1e-6)


def test_autocast_computes_in_its_dtype_and_returns_gradients_of_the_parameters(cells: Any) -> None:
    coords, network = cells(), _network(torch.float32)
    feats = _draw(coords).float()
    _run(network, feats, coords).feats.square().sum().backward()
    exact = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        y = _run(network, feats, coords)
    y.feats.float().square().sum().backward()
    assert y.feats.dtype == torch.bfloat16
    for parameter, truth in zip(network.parameters(), exact, strict=True):
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32
        assert float((parameter.grad - truth).norm() / truth.norm()) < 3e-2
    with torch.autocast("cpu", torch.bfloat16):
        assert _run(network.double(), feats.double(), coords).feats.dtype == torch.float64


def test_rows_that_are_not_contiguous(cells: Any) -> None:
    coords, network = cells(), _network()
    feats = _draw(coords)
    strided = torch.stack((feats, feats), dim=2)[..., 0].T.contiguous().T
    assert not strided.is_contiguous()
    wide = torch.stack((coords, coords), dim=1)[:, 0]
    torch.testing.assert_close(
        _run(network, strided, wide).feats, _run(network, feats, coords).feats, rtol=0, atol=1e-12
    )


def test_maps_are_built_once_and_die_with_the_batch(cells: Any) -> None:
    import weakref

    coords = cells()
    x = NativeBackend().voxels(_draw(coords), coords)
    layer = SubmanifoldConv3d(3, 3).double()
    y = layer(layer(x))
    level = x.pyramid.levels[0]
    assert list(level.maps) == [(3, 3, 3)] and y.pyramid is x.pyramid
    first = DownsampleConv3d(3, 3).double()(y)
    second = DownsampleConv3d(3, 3).double()(x)
    assert first.index == second.index == 1
    gone = weakref.ref(level)
    del x, y, first, second, level
    assert gone() is None  # without waiting for the garbage collector


@pytest.mark.parametrize(
    ("feats", "coords", "words"),
    [
        (torch.ones(2, 3), torch.zeros(2, 4, dtype=torch.int64), r"\[0, 0, 0, 0\].*more than once"),
        (torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.int64), "coords: expected"),
        (torch.ones(2, 3), torch.zeros(2, 4), "coords: expected"),
        (torch.ones(3, 3), torch.zeros(2, 4, dtype=torch.int64), "feats: expected"),
        (
            torch.ones(2, 3),
            torch.tensor([[0, -(2**31)] + [-(2**31)] * 2, [0] + [2**31] * 3]),
            "too far apart",
        ),
    ],
)
def test_wrong_cells_are_refused(feats: Tensor, coords: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NativeBackend().voxels(feats, coords)


def test_wrong_layers_are_refused(cells: Any) -> None:
    coords = cells()
    x = NativeBackend().voxels(_draw(coords).float(), coords)
    with pytest.raises(ValueError, match="level 0"):
        UpsampleConv3d(3, 3)(x)
    with pytest.raises(ValueError, match=r"to undo has .*\(2, 2, 2\)"):
        UpsampleConv3d(3, 3, 3)(DownsampleConv3d(3, 3)(x))
    with pytest.raises(ValueError, match="do not fit"):
        SubmanifoldConv3d(4, 3)(x)
    with pytest.raises(ValueError, match="do not fit"):
        SubmanifoldConv3d(3, 3).double()(x)
    with pytest.raises(ValueError, match="feature rows"):
        x.with_feats(x.feats[1:])


@settings(max_examples=25, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 2), *[st.integers(-9, 9)] * 3), min_size=1, max_size=30))
def test_sums_of_neighbours(found: set[tuple[int, ...]]) -> None:
    """With a kernel of ones and features of ones a submanifold convolution counts the neighbours."""
    coords = torch.tensor(list(found))
    x = NativeBackend().voxels(torch.ones(len(coords), 1), coords)
    counts = x.backend.submanifold(x, torch.ones(27, 1, 1), (3, 3, 3)).feats[:, 0]
    near = (coords[:, None, 1:] - coords[None, :, 1:]).abs().amax(2) <= 1
    same = coords[:, None, 0] == coords[None, :, 0]
    assert torch.equal(counts, (near & same).sum(1).float())


def test_a_backend_can_be_copied(cells: Any) -> None:
    """Networks hold their backend, and are copied and sent to other processes."""
    import copy
    import pickle

    backend, coords = NativeBackend(), cells()
    feats, layer = _draw(coords), SubmanifoldConv3d(3, 4).double()
    truth = layer(backend.voxels(feats, coords)).feats
    for other in (copy.deepcopy(backend), pickle.loads(pickle.dumps(backend))):
        assert torch.equal(layer(other.voxels(feats, coords)).feats, truth)


def test_training_after_a_validation_in_inference_mode(cells: Any) -> None:
    backend, coords = NativeBackend(), cells()
    feats, layer = _draw(coords), SubmanifoldConv3d(3, 4).double()
    with torch.inference_mode():
        truth = layer(backend.voxels(feats, coords)).feats.clone()
    ours = layer(backend.voxels(feats, coords)).feats
    ours.sum().backward()
    assert torch.equal(ours, truth) and layer.kernel.grad is not None

"""Every installed library, operation by operation against native; and what is said about absent ones."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from also_selfsup.sparseconv import (
    BACKENDS,
    Backend,
    BatchNorm,
    Chain,
    DownsampleConv3d,
    ReLU,
    SubmanifoldConv3d,
    UpsampleConv3d,
    Voxels,
    get_backend,
)
from also_selfsup.sparseconv.native import NativeBackend
from also_selfsup.sparseconv.points import devoxelize, voxelize_mean

# As in OpenPCDet's backbone, in a bounded grid: sizes, strides and padding of each axis.
BOUNDED = {
    "stride 2": [DownsampleConv3d(4, 6, 3, 2, 1)],
    "stride 2, not padded in z": [DownsampleConv3d(4, 6, 3, 2, (1, 1, 0))],
    "stride 2, not padded in x": [DownsampleConv3d(4, 6, 3, 2, (0, 1, 1))],
    "z only": [DownsampleConv3d(4, 6, (1, 1, 3), (1, 1, 2))],
    "x only": [DownsampleConv3d(4, 6, (3, 1, 1), (2, 1, 1))],
    "one after the other": [
        *(DownsampleConv3d(4, 6, 3, 2, 1), SubmanifoldConv3d(6, 6), DownsampleConv3d(6, 8, 3, 2, (1, 1, 0))),
        DownsampleConv3d(8, 4, (1, 1, 3), (1, 1, 2)),
    ],
}
OPERATIONS = {
    "submanifold 3": [SubmanifoldConv3d(4, 6)],
    "submanifold 5": [SubmanifoldConv3d(4, 6, 5)],
    "submanifold 1": [SubmanifoldConv3d(4, 6, 1)],
    "submanifold 1x3x5": [SubmanifoldConv3d(4, 6, (1, 3, 5))],
    "downsample 2": [DownsampleConv3d(4, 6)],
    "downsample 3 by 2": [DownsampleConv3d(4, 6, 3, 2, 1)],
    "down and up": [DownsampleConv3d(4, 6), UpsampleConv3d(6, 5)],
    "two down and up": [
        *(DownsampleConv3d(4, 6), SubmanifoldConv3d(6, 6), DownsampleConv3d(6, 8)),
        *(UpsampleConv3d(8, 6), SubmanifoldConv3d(6, 6), UpsampleConv3d(6, 3)),
    ],
    "a unit": [SubmanifoldConv3d(4, 6), BatchNorm(6), ReLU()],
}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    try:
        return get_backend(request.param)
    except ImportError as error:
        pytest.skip(str(error))


def _by_cell(x: Voxels) -> tuple[Tensor, Tensor]:
    """Cells and features ordered by batch, x, y, z: libraries number coarse cells in their own order."""
    coords, rows = torch.unique(x.coords.long(), dim=0, return_inverse=True)
    order = torch.empty_like(rows)
    order[rows] = torch.arange(len(rows))
    return coords, x.feats.detach()[order]


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("shift", [0, -37])
def test_operations_agree_with_native(cells: Any, backend: Backend, operation: str, shift: int) -> None:
    coords = (cells((13, 11, 9)) + torch.tensor((0, shift, shift, shift))).int()
    feats = torch.randn(len(coords), 4)
    layers = Chain(*OPERATIONS[operation])
    ours, truth = layers(backend.voxels(feats, coords)), layers(NativeBackend().voxels(feats, coords))
    (coords_ours, feats_ours), (coords_truth, feats_truth) = _by_cell(ours), _by_cell(truth)
    assert torch.equal(coords_ours, coords_truth)
    assert ours.level == truth.level and ours.backend is backend
    torch.testing.assert_close(feats_ours, feats_truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("operation", sorted(BOUNDED))
def test_bounded_grids_agree_with_native(cells: Any, backend: Backend, operation: str) -> None:
    shape = (13, 12, 33)
    coords = cells(shape, share=0.05).int()
    feats = torch.randn(len(coords), 4)
    if backend.name == "torchsparse":
        with pytest.raises(ValueError, match="bounded grid"):
            backend.voxels(feats, coords, grid=shape)
        return
    layers = Chain(*BOUNDED[operation])
    results = [layers(library.voxels(feats, coords, grid=shape)) for library in (backend, NativeBackend())]
    (coords_ours, feats_ours), (coords_truth, feats_truth) = map(_by_cell, results)
    assert len(coords_truth) > 10 and torch.equal(coords_ours, coords_truth)
    torch.testing.assert_close(feats_ours, feats_truth, rtol=1e-5, atol=1e-5)


def test_features_come_back_in_the_callers_order(cells: Any, backend: Backend) -> None:
    coords, feats = cells().int(), torch.randn(len(cells()), 4)
    x = backend.voxels(feats, coords)
    torch.testing.assert_close(backend.features(x), feats)
    kernel = torch.randn(4, 2)
    one = backend.submanifold(x, kernel, (1, 1, 1))
    torch.testing.assert_close(backend.features(one), feats @ kernel)


def test_points_agree_with_native(cells: Any, backend: Backend) -> None:
    coords, feats = cells((13, 11, 9)).int(), torch.randn(len(cells((13, 11, 9))), 4)
    layer, results = DownsampleConv3d(4, 4), []
    for library in (backend, NativeBackend()):
        points = library.voxels(feats, coords)
        x = layer(points)
        x = x.with_feats(x.feats + voxelize_mean(points.feats, points, x))
        results.append(devoxelize(x, points).detach())
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def test_upsampling_needs_its_downsampling(cells: Any, backend: Backend) -> None:
    x = backend.voxels(torch.randn(len(cells()), 4), cells().int())
    with pytest.raises(ValueError, match="level 0"):
        UpsampleConv3d(4, 4)(x)
    with pytest.raises(ValueError, match=r"\(2, 2, 2\)"):
        UpsampleConv3d(4, 4, 3)(DownsampleConv3d(4, 4)(x))


def test_voxels_of_another_backend_are_refused(cells: Any) -> None:
    spconv = pytest.importorskip("also_selfsup.sparseconv.spconv_backend", exc_type=ImportError)
    x = NativeBackend().voxels(torch.randn(len(cells()), 4), cells())
    with pytest.raises(TypeError, match="'native'"):
        spconv.SpconvBackend().submanifold(x, torch.randn(27, 4, 4), (3, 3, 3))


def test_spconv_says_that_it_cannot_train_on_the_cpu(cells: Any) -> None:
    spconv = pytest.importorskip("also_selfsup.sparseconv.spconv_backend", exc_type=ImportError)
    x = spconv.SpconvBackend().voxels(torch.randn(len(cells()), 4), cells().int())
    y = SubmanifoldConv3d(4, 4)(x)
    with pytest.raises(RuntimeError, match="framework=native"):
        y.feats.sum().backward()


def test_spconv_leaves_the_number_of_threads_as_it_was(cells: Any) -> None:
    spconv = pytest.importorskip("also_selfsup.sparseconv.spconv_backend", exc_type=ImportError)
    before = torch.get_num_threads()
    SubmanifoldConv3d(4, 4)(spconv.SpconvBackend().voxels(torch.randn(len(cells()), 4), cells().int()))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["spconv", "torchsparse"])
def test_an_absent_library_is_named_with_its_cure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name, f"{name}.pytorch", f"also_selfsup.sparseconv.{name}_backend"]:
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"framework {name}.*not installed") as caught:
        get_backend(name)
    assert f"also-selfsup[{name}]" in str(caught.value) and "native" in str(caught.value)


def test_names_of_backends() -> None:
    assert get_backend("auto").name == get_backend("native").name == "native"
    with pytest.raises(ValueError, match="native, spconv, torchsparse"):
        get_backend("minkowski")

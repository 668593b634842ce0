"""Voxels of a box against a plain reference, scan after scan and voxel after voxel."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from also_selfsup.data.scan import Batch
from also_selfsup.settings.extent import ExtentError
from also_selfsup.transforms.features import point_features
from also_selfsup.transforms.pipeline import PretrainingTransforms
from also_selfsup.transforms.range_voxels import voxelize_range

BOX = [0.0, -4.0, -2.0, 8.0, 4.0, 1.0]
Sizes = float | tuple[float, ...]


def voxelized_one_by_one(batch: Batch, *, size: Sizes, extent: list[float]) -> dict[str, np.ndarray]:
    """Each scan by a dictionary from cell to its points, of which the first five count."""
    edges = np.broadcast_to(np.array(size, np.float32), 3)
    low, high = np.array(extent[:3], np.float32), np.array(extent[3:])
    grid = np.round((high - np.array(extent[:3])) / np.broadcast_to(size, 3)).astype(int)
    coords, scans, means = [], [], []
    for scan in range(len(batch["sensor"])):
        found: dict[tuple[int, ...], list[np.ndarray]] = {}
        for row in np.flatnonzero(batch["batch"].numpy() == scan):
            cell = np.floor((batch["pos"][row].numpy() - low) / edges).astype(int)
            if (cell >= 0).all() and (cell < grid).all():
                found.setdefault(tuple(cell.tolist()), []).append(batch["x"][row].numpy())
        for cell_of_box in sorted(found):
            coords.append(cell_of_box)
            scans.append(scan)
            means.append(np.mean(found[cell_of_box][:5], axis=0))
    return {
        "voxel_coords": np.array(coords).reshape(-1, 3),
        "voxel_coords_batch": np.array(scans),
        "voxel_x": np.array(means).reshape(len(means), -1),
    }


@pytest.fixture
def featured(uneven: Batch) -> Batch:
    return {**uneven, "x": point_features(uneven, ["pos", "intensities"])}


@pytest.mark.parametrize("size", [0.5, 0.25, (0.1, 0.2, 0.5), (4.0, 8.0, 3.0)])
def test_voxels_equal_the_reference(featured: Batch, path: str, size: Sizes) -> None:
    found = voxelize_range(featured, voxel_size=size, extent=BOX)
    expected = voxelized_one_by_one(featured, size=size, extent=BOX)
    assert found.keys() == expected.keys() and len(expected["voxel_x"]) > 5
    assert np.array_equal(found["voxel_coords"], expected["voxel_coords"])
    assert np.array_equal(found["voxel_coords_batch"], expected["voxel_coords_batch"])
    np.testing.assert_allclose(found["voxel_x"], expected["voxel_x"], rtol=1e-5, atol=1e-5)


def test_types(featured: Batch) -> None:
    found = voxelize_range(featured, voxel_size=0.5, extent=BOX)
    assert found["voxel_coords"].dtype == torch.int32 and found["voxel_coords"].is_contiguous()
    assert found["voxel_coords_batch"].dtype == torch.int64 and found["voxel_x"].dtype == torch.float32
    double = {**featured, "x": featured["x"].double(), "pos": featured["pos"].double()}
    assert voxelize_range(double, voxel_size=0.5, extent=BOX)["voxel_x"].dtype == torch.float64


def test_the_box_holds_its_minimum_and_not_its_maximum(make_batch: Callable[..., Batch], path: str) -> None:
    corners = [[x, y, z] for x in (0.0, 8.0) for y in (-4.0, 4.0) for z in (-2.0, 1.0)]
    below = np.array([7.999, 3.999, 0.999])
    batch = make_batch([corners, [below.tolist()], [[-1e-6, 0, 0]], [[1e6, -1e6, 1e9]]])
    found = voxelize_range({**batch, "x": batch["intensities"]}, voxel_size=0.5, extent=BOX)
    assert found["voxel_coords"].tolist() == [[0, 0, 0], [15, 15, 5]]
    assert found["voxel_coords_batch"].tolist() == [0, 1] and found["voxel_x"].flatten().tolist() == [0, 0]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 40])
def test_the_first_five_points_make_the_mean(make_batch: Callable[..., Batch], path: str, count: int) -> None:
    batch = make_batch([[[0.1, 0.1, 0.1]] * count, np.zeros((0, 3)), [[9.0, 0, 0]] * count])
    found = voxelize_range({**batch, "x": batch["intensities"]}, voxel_size=0.5, extent=BOX)
    assert found["voxel_coords"].tolist() == [[0, 8, 4]]
    assert found["voxel_x"].item() == pytest.approx(np.arange(min(count, 5)).mean())


@pytest.mark.parametrize("clouds", [[], [np.zeros((0, 3))] * 3, [[[9.0, 9.0, 9.0]]] * 2])
def test_no_point_inside(make_batch: Callable[..., Batch], path: str, clouds: list[object]) -> None:
    batch = make_batch(clouds or [np.zeros((0, 3))])
    found = voxelize_range({**batch, "x": batch["intensities"]}, voxel_size=0.5, extent=BOX)
    shapes = {name: tuple(field.shape) for name, field in found.items()}
    assert shapes == {"voxel_coords": (0, 3), "voxel_coords_batch": (0,), "voxel_x": (0, 1)}


def test_a_fraction_of_a_voxel_is_refused(featured: Batch) -> None:
    with pytest.raises(ExtentError, match=r"z: -2.0 m to 1.0 m holds 4.29 voxels of 0.7 m"):
        voxelize_range(featured, voxel_size=(0.5, 0.5, 0.7), extent=BOX)


def test_the_pipeline_takes_the_box_and_any_of_a_voxels_points(
    make_batch: Callable[..., Batch], generator: torch.Generator
) -> None:
    transforms = PretrainingTransforms(
        grid_size=0.01,
        manifold_points=None,
        non_manifold_points=3,
        query_distance=0.1,
        voxel_size=0.5,
        inputs=("intensities",),
        extent=BOX,
    )
    cloud = [[1.01 + 0.02 * number, 1.01, 0.1] for number in range(6)]
    found = transforms(make_batch([cloud] * 600), generator, training=False)
    assert len(found["voxel_x"]) == 600 and "voxel_to_pc_id" not in found
    left_out = (15 - 5 * found["voxel_x"].flatten()).round().long()  # of the points 0 to 5, which sum to 15
    assert torch.bincount(left_out, minlength=6).min() > 60  # 100 expected, each with a deviation of 9
    everywhere = replace(transforms, extent=None)(make_batch([cloud]), generator, training=False)
    assert "voxel_to_pc_id" in everywhere

"""Voxels against a per-scan reference in numpy."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.features import point_features
from also_selfsup.transforms.voxelization import voxelize


def voxelized_one_by_one(batch: Batch, size: float | Sequence[float]) -> dict[str, np.ndarray]:
    """Fields of the voxels, scan after scan, cells in the order of their numbers."""
    coords, scans, firsts = [np.zeros((0, 3))], [], []
    voxel_of_point = np.full(len(batch["pos"]), -1)
    for scan in range(len(batch["sensor"])):
        ids = np.flatnonzero(batch["batch"].numpy() == scan)
        if len(ids) == 0:
            continue
        cells = np.round(batch["pos"].numpy()[ids] / np.array(size, np.float32))
        cells -= cells.min(0)
        found, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
        voxel_of_point[ids] = inverse.reshape(-1) + len(scans)
        coords.append(found)
        scans += [scan] * len(found)
        firsts += ids[first].tolist()
    return {
        "voxel_coords": np.concatenate(coords),
        "voxel_coords_batch": np.array(scans),
        "voxel_x": batch["x"].numpy()[firsts],
        "voxel_to_pc_id": voxel_of_point,
    }


@pytest.fixture
def featured(uneven: Batch) -> Batch:
    return {**uneven, "x": point_features(uneven, ["pos", "intensities"])}


@pytest.mark.parametrize("size", [0.1, 1.0, (0.05, 0.1, 0.4), [2.0, 0.5, 8.0]])
def test_voxels_equal_the_reference(featured: Batch, path: str, size: float | Sequence[float]) -> None:
    found, expected = voxelize(featured, voxel_size=size), voxelized_one_by_one(featured, size)
    assert found.keys() == expected.keys()
    for name, field in expected.items():
        assert np.array_equal(found[name].numpy(), field), name


def test_types_and_origin(featured: Batch) -> None:
    found = voxelize(featured, voxel_size=0.1)
    assert found["voxel_coords"].dtype == torch.int32
    assert found["voxel_coords_batch"].dtype == found["voxel_to_pc_id"].dtype == torch.int64
    assert found["voxel_coords"].is_contiguous()
    for scan in range(1, 7):
        assert found["voxel_coords"][found["voxel_coords_batch"] == scan].amin(0).tolist() == [0, 0, 0]


def test_permuted_points_give_the_same_voxels(featured: Batch) -> None:
    rng = np.random.default_rng(0)
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(featured["batch"].numpy() == scan)) for scan in range(8)]
    )
    permuted = {**featured, "pos": featured["pos"][order], "x": featured["x"][order]}
    found, other = voxelize(featured, voxel_size=0.2), voxelize(permuted, voxel_size=0.2)
    assert torch.equal(found["voxel_coords"], other["voxel_coords"])
    assert torch.equal(found["voxel_to_pc_id"][order], other["voxel_to_pc_id"])


def test_a_batch_gives_what_its_scans_give(street: Batch) -> None:
    batch = {**street, "x": street["intensities"]}
    together = voxelize(batch, voxel_size=0.5)
    offset = 0
    for scan in range(3):
        rows = batch["batch"] == scan
        one = {"pos": batch["pos"][rows], "x": batch["x"][rows], "batch": batch["batch"][rows] * 0}
        alone = voxelize({**one, "sensor": batch["sensor"][scan : scan + 1]}, voxel_size=0.5)
        here = together["voxel_coords_batch"] == scan
        assert torch.equal(together["voxel_coords"][here], alone["voxel_coords"])
        assert torch.equal(together["voxel_x"][here], alone["voxel_x"])
        assert torch.equal(together["voxel_to_pc_id"][rows], alone["voxel_to_pc_id"] + offset)
        offset += len(alone["voxel_coords"])


def test_no_points_no_voxels(make_batch: Callable[..., Batch], path: str) -> None:
    batch = make_batch([np.zeros((0, 3))] * 3)
    found = voxelize({**batch, "x": batch["intensities"]}, voxel_size=0.1)
    shapes = {name: tuple(field.shape) for name, field in found.items()}
    assert shapes == {
        "voxel_coords": (0, 3),
        "voxel_coords_batch": (0,),
        "voxel_x": (0, 1),
        "voxel_to_pc_id": (0,),
    }


def test_double_precision(street: Batch) -> None:
    batch = {**street, "pos": street["pos"].double(), "x": street["intensities"].double()}
    found = voxelize(batch, voxel_size=0.3)
    cells = np.round(batch["pos"].numpy()[:2000] / 0.3)
    assert int((found["voxel_coords_batch"] == 0).sum()) == len(np.unique(cells, axis=0))
    assert found["voxel_x"].dtype == torch.float64

"""Queries of several frames: one point a cell, the scan's own first, each ray from its own sensor."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from also_selfsup.data.scan import Batch, OtherFrames, Scan, collate
from also_selfsup.transforms.occupancy import generate_queries
from also_selfsup.transforms.pipeline import PretrainingTransforms
from also_selfsup.transforms.query_source import query_source

OWN, OTHER = 0.25, 0.75  # intensities, by which tests know whose a point is


def scan_of(own: NDArray[np.float64], other: NDArray[np.float64], *, origin: tuple[float, ...]) -> Scan:
    return Scan(
        pos=own.astype(np.float32),
        intensities=np.full((len(own), 1), OWN, np.float32),
        sensor=np.zeros(3, np.float32),
        name="scan",
        others=OtherFrames(
            other.astype(np.float32),
            np.full((len(other), 1), OTHER, np.float32),
            np.repeat(np.array([origin], np.float32), len(other), axis=0),
        ),
    )


@pytest.fixture
def batch() -> Batch:
    """Two scans of 300 points; 500 of another frame 5 m ahead beside the first, none beside the second."""
    rng = np.random.default_rng(0)
    clouds = [rng.uniform(5, 30, (size, 3)) for size in (300, 500, 300)]
    nothing = np.zeros((0, 3))
    return collate(
        [scan_of(clouds[0], clouds[1], origin=(5, 0, 0)), scan_of(clouds[2], nothing, origin=(0, 0, 0))]
    )


def test_one_point_a_cell_the_own_first(batch: Batch) -> None:
    found = query_source(batch, size=3.0)
    own = {tuple(row) for row in batch["pos"].tolist()}
    cells: dict[tuple[int, ...], set[bool]] = {}
    for scan in range(2):
        points = [(row, True) for row in batch["pos"][batch["batch"] == scan].tolist()]
        points += [(row, False) for row in batch["query_pos"][batch["query_batch"] == scan].tolist()]
        for row, mine in points:
            cells.setdefault((scan, *(int(value / 3.0) for value in row)), set()).add(mine)
    rows = list(
        zip(found["batch"].tolist(), found["pos"].tolist(), found["intensities"][:, 0].tolist(), strict=True)
    )
    kept = [(scan, *(int(value / 3.0) for value in row)) for scan, row, _ in rows]
    assert len(kept) == len(set(kept)) and set(kept) == set(cells)
    for cell, (_, row, intensity) in zip(kept, rows, strict=True):
        assert (tuple(row) in own) == (True in cells[cell]) == (intensity == OWN)
    assert found["batch"].tolist() == sorted(found["batch"].tolist())
    expected = torch.where(found["intensities"] == OWN, torch.zeros(3), torch.tensor([5.0, 0, 0]))
    assert torch.equal(found["origins"], expected)


def test_without_other_frames_nothing_changes(batch: Batch) -> None:
    alone = {name: value for name, value in batch.items() if not name.startswith("query_")}
    assert query_source(alone, size=0.1) is alone


def test_rays_start_at_their_own_sensor(batch: Batch, generator: torch.Generator) -> None:
    source = query_source(batch, size=0.0)
    assert len(source["pos"]) == 1100
    found = generate_queries(source, count=600, distance=0.1, generator=generator)
    kinds = {OWN: (batch["pos"], torch.zeros(3)), OTHER: (batch["query_pos"], torch.tensor([5.0, 0, 0]))}
    scan = found["pos_non_manifold_batch"]
    for intensity, (points, origin) in kinds.items():
        rows = found["intensities_non_manifold"][:, 0] == intensity
        assert 50 < rows.sum() < 800
        queries = found["pos_non_manifold"][rows].double()
        gaps = torch.cdist(queries, points.double())
        near, index = gaps.min(dim=1)
        assert near.max() <= 0.1 + 1e-5
        ray = torch.nn.functional.normalize(points[index].double() - origin, dim=1)
        step = ((queries - points[index]) * ray).sum(1)
        # On the ray of the point it is near to, unless two points are nearer to each other than delta.
        assert ((queries - points[index] - step[:, None] * ray).norm(dim=1) < 1e-4).double().mean() > 0.98
        occupied = found["occupancies"][rows] == 1
        assert ((step > 0) == occupied).double().mean() > 0.98
    far = found["intensities_non_manifold"][:, 0] < 0
    assert (found["occupancies"][far] == 0).all() and set(scan.tolist()) == {0, 1}


def test_the_networks_input_is_the_scan_alone(batch: Batch) -> None:
    transforms = PretrainingTransforms(
        grid_size=0.1,
        manifold_points=None,
        non_manifold_points=90,
        query_distance=0.1,
        voxel_size=0.5,
        inputs=("intensities",),
    )
    found = transforms(batch, torch.Generator().manual_seed(0), training=False)
    assert set(found["x"][:, 0].tolist()) == {OWN}
    assert len(found["pos"]) <= 600 and not any(name.startswith("query_") for name in found)
    assert OTHER in found["intensities_non_manifold"][:, 0].tolist()

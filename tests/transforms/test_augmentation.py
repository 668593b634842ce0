"""Rotation and mirroring keep what they must, and are as random as they should be."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.augmentation import augment, flip_x, rotate_z
from also_selfsup.transforms.occupancy import generate_queries


@pytest.fixture
def queried(uneven: Batch, generator: torch.Generator) -> Batch:
    return {**uneven, **generate_queries(uneven, count=60, distance=0.1, generator=generator)}


def plane(batch: Batch, scan: int) -> tuple[np.ndarray, np.ndarray]:
    """Points, queries and sensor of a scan: x + iy as complex numbers, and z."""
    rows = [
        batch["pos"][batch["batch"] == scan],
        batch["pos_non_manifold"][batch["pos_non_manifold_batch"] == scan],
        batch["sensor"][scan : scan + 1],
    ]
    joined = torch.cat(rows).double().numpy()
    return joined[:, 0] + 1j * joined[:, 1], joined[:, 2]


def test_rotation_turns_points_queries_and_sensor_by_one_angle(
    queried: Batch, generator: torch.Generator
) -> None:
    turned = rotate_z(queried, generator=generator)
    angles = set()
    for scan in range(8):
        (before, height), (after, new_height) = plane(queried, scan), plane(turned, scan)
        farthest = np.abs(before).argmax()
        factor = after[farthest] / before[farthest] if before[farthest] else 1.0
        assert abs(abs(factor) - 1) < 1e-5
        assert np.abs(after - factor * before).max() < 1e-4
        assert np.array_equal(height, new_height)
        angles.add(round(float(np.angle(factor)), 6))
    assert len(angles) >= 6, "an angle for each scan that has points"


def test_flip_mirrors_points_queries_and_sensor_together(queried: Batch, generator: torch.Generator) -> None:
    signs = set()
    for _ in range(8):
        flipped = flip_x(queried, generator=generator)
        for scan in range(1, 7):
            before, height = plane(queried, scan)
            after, new_height = plane(flipped, scan)
            sign = 1.0 if np.array_equal(after, before) else -1.0
            assert np.array_equal(after, sign * before.real + 1j * before.imag)
            assert np.array_equal(height, new_height)
            signs.add(sign)
    assert signs == {1.0, -1.0}


@pytest.fixture(scope="module")
def pointers(make_batch: Callable[..., Batch]) -> Batch:
    """Three thousand scans of the one point (3, 1, 2)."""
    return make_batch([[[3.0, 1.0, 2.0]]] * 3000)


def test_angles_are_uniform_over_the_circle(pointers: Batch, generator: torch.Generator) -> None:
    pos = rotate_z(pointers, generator=generator)["pos"].double().numpy()
    turns = np.angle((pos[:, 0] + 1j * pos[:, 1]) / (3 + 1j)) / (2 * np.pi) + 0.5
    assert stats.kstest(turns, "uniform").pvalue > 1e-3


def test_every_second_scan_is_flipped(pointers: Batch, generator: torch.Generator) -> None:
    pos = flip_x(pointers, generator=generator)["pos"]
    flipped = int((pos[:, 0] == -3).sum())
    assert stats.binomtest(flipped, 3000, 0.5).pvalue > 1e-3
    assert (pos[:, 0].abs() == 3).all() and (pos[:, 1:] == torch.tensor([1.0, 2.0])).all()


def test_both_together_keep_distances_and_mirror_half(
    pointers: Batch, make_batch: Callable[..., Batch]
) -> None:
    cloud = np.random.default_rng(0).normal(0, 4, (5, 3))
    batch = make_batch([cloud] * 400)
    generator = torch.Generator().manual_seed(3)
    moved = augment(batch, rotation=True, flip=True, generator=generator)["pos"].double().view(400, 5, 3)
    original = torch.from_numpy(cloud.astype(np.float32)).double()
    assert (torch.cdist(moved, moved) - torch.cdist(original, original)).abs().max() < 1e-4
    handed = (
        torch.linalg.det(moved[:, :3] - moved[:, 3:4]).sign()
        / torch.linalg.det(original[:3] - original[3:4]).sign()
    )
    assert stats.binomtest(int((handed < 0).sum()), 400, 0.5).pvalue > 1e-3


def test_neither_leaves_the_batch(queried: Batch, generator: torch.Generator) -> None:
    same = augment(queried, rotation=False, flip=False, generator=generator)
    assert same.keys() == queried.keys() and all(same[name] is queried[name] for name in queried)


def test_the_batch_given_is_left_alone(queried: Batch, generator: torch.Generator) -> None:
    before = {name: value.clone() for name, value in queried.items() if isinstance(value, torch.Tensor)}
    augment(queried, rotation=True, flip=True, generator=generator)
    assert all(torch.equal(queried[name], value) for name, value in before.items())


def test_double_precision_stays(street: Batch, generator: torch.Generator) -> None:
    double = {**street, "pos": street["pos"].double(), "sensor": street["sensor"].double()}
    moved = augment(double, rotation=True, flip=True, generator=generator)
    assert moved["pos"].dtype == moved["sensor"].dtype == torch.float64
    lengths = moved["pos"].norm(dim=1) - double["pos"].norm(dim=1)
    assert lengths.abs().max() < 1e-12

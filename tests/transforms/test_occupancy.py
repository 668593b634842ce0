"""Queries lie where the paper's formula puts them, on rays to points drawn as it says."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.occupancy import generate_queries

Array = NDArray[np.float64]


def queries_of(found: dict[str, torch.Tensor], scan: int, batch: Batch) -> dict[str, Array]:
    """Queries of one scan by kind, from its sensor; `points` are the rows that "in" and "out" name."""
    rows = found["pos_non_manifold_batch"].numpy() == scan
    pos = found["pos_non_manifold"].double().numpy()[rows] - batch["sensor"][scan].double().numpy()
    occupied = found["occupancies"].numpy()[rows] == 1
    intensity = found["intensities_non_manifold"].numpy()[rows, 0]
    far = intensity < 0
    return {
        "in": pos[occupied],
        "out": pos[~occupied & ~far],
        "far": pos[~occupied & far],
        "in points": intensity[occupied].astype(int),
        "out points": intensity[~occupied & ~far].astype(int),
    }


def cloud_of(batch: Batch, scan: int) -> Array:
    """Points of one scan, from its sensor."""
    pos = batch["pos"][batch["batch"] == scan] - batch["sensor"][scan]
    return np.asarray(pos.double().numpy())


def along(queries: Array, points: Array) -> Array:
    """Metres from the point to the query, positive behind it; fails where a query is off its ray."""
    depth = np.linalg.norm(points, axis=1, keepdims=True)
    ray = points / depth
    reach = (queries * ray).sum(1)
    assert np.abs(queries - reach[:, None] * ray).max(initial=0) < 1e-4
    return np.asarray(reach - depth[:, 0])


def nearest_rays(queries: Array, cloud: Array) -> NDArray[np.int64]:
    """Row of the point whose ray a query lies on."""
    rays = cloud / np.linalg.norm(cloud, axis=1, keepdims=True)
    return np.asarray((queries @ rays.T).argmax(1))


@pytest.mark.parametrize("count", [3, 10, 300, 301, 302])
def test_shares_of_the_kinds(street: Batch, path: str, count: int, generator: torch.Generator) -> None:
    found = generate_queries(street, count=count, distance=0.1, generator=generator)
    assert found["pos_non_manifold_batch"].tolist() == [0] * count + [1] * count + [2] * count
    for scan in range(3):
        kinds = queries_of(found, scan, street)
        assert len(kinds["in"]) == count - 2 * (count // 3)
        assert len(kinds["out"]) == len(kinds["far"]) == count // 3


@pytest.mark.parametrize("distance", [0.1, 0.5])
def test_queries_lie_where_the_formula_says(
    street: Batch, path: str, distance: float, generator: torch.Generator
) -> None:
    found = generate_queries(street, count=1500, distance=distance, generator=generator)
    for scan in range(3):
        cloud, kinds = cloud_of(street, scan), queries_of(found, scan, street)
        behind = along(kinds["in"], cloud[kinds["in points"]])
        before = -along(kinds["out"], cloud[kinds["out points"]])
        for steps in (behind, before):
            assert -1e-5 < steps.min() and steps.max() < distance + 1e-5
            assert stats.kstest(steps / distance, "uniform").pvalue > 1e-3
        targets = cloud[nearest_rays(kinds["far"], cloud)]
        along(kinds["far"], targets)
        share = np.linalg.norm(kinds["far"], axis=1) / np.linalg.norm(targets, axis=1)
        assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_points_are_drawn_without_replacement(street: Batch, generator: torch.Generator) -> None:
    found = generate_queries(street, count=1800, distance=0.1, generator=generator)
    for scan in range(3):
        kinds = queries_of(found, scan, street)
        far = nearest_rays(kinds["far"], cloud_of(street, scan)).tolist()
        drawn = [*kinds["in points"].tolist(), *kinds["out points"].tolist(), *far]
        assert len(drawn) == len(set(drawn)) == 1800, "every query has a point of its own"


def test_all_points_are_equally_likely(make_batch: Callable[..., Batch], generator: torch.Generator) -> None:
    rng = np.random.default_rng(3)
    cloud = rng.normal(0, 5, (60, 3))
    cloud *= 1 + 1 / np.linalg.norm(cloud, axis=1, keepdims=True)
    scans = 900
    batch = make_batch([cloud] * scans)
    found = generate_queries(batch, count=9, distance=0.1, generator=generator)
    points = found["intensities_non_manifold"].numpy().reshape(scans, 9)
    for kind in (slice(0, 3), slice(3, 6)):
        counts = np.bincount(points[:, kind].astype(int).ravel(), minlength=60)
        statistic = ((counts - 45) ** 2).sum() / 45 / (57 / 60)
        assert 1e-3 < stats.chi2.cdf(statistic, 59) < 1 - 1e-3


def test_small_scans_give_what_they_have(uneven: Batch, path: str, generator: torch.Generator) -> None:
    found = generate_queries(uneven, count=400, distance=0.1, generator=generator)
    away = (uneven["pos"] - uneven["sensor"][uneven["batch"]]).norm(dim=1) >= 0.01
    for scan in range(8):
        usable = int((away & (uneven["batch"] == scan)).sum())
        kinds = queries_of(found, scan, uneven)
        assert len(kinds["in"]) == min(usable, 134)
        assert len(kinds["out"]) == len(kinds["far"]) == min(usable, 133)
        for kind in ("in points", "out points"):
            assert len(set(kinds[kind].tolist())) == len(kinds[kind]), "no point twice within a kind"
    assert torch.isfinite(found["pos_non_manifold"]).all()
    assert (found["pos_non_manifold_batch"].diff() >= 0).all()


def test_points_at_the_sensor_are_not_drawn(
    make_batch: Callable[..., Batch], path: str, generator: torch.Generator
) -> None:
    sensor = np.array([1.0, 1.0, 1.0])
    cloud = np.concatenate([np.tile(sensor, (50, 1)), sensor + [[0.009, 0, 0]], sensor + [[0.011, 0, 0]]])
    batch = make_batch([cloud, np.tile(sensor, (20, 1))], [sensor, sensor])
    found = generate_queries(batch, count=30, distance=0.1, generator=generator)
    assert found["pos_non_manifold_batch"].tolist() == [0, 0, 0]
    assert found["intensities_non_manifold"].flatten().tolist() == [51.0, 51.0, -1.0]


def test_no_points_no_queries(
    make_batch: Callable[..., Batch], path: str, generator: torch.Generator
) -> None:
    batch = make_batch([np.zeros((0, 3))] * 2)
    found = generate_queries(batch, count=30, distance=0.1, generator=generator)
    assert {name: tuple(field.shape) for name, field in found.items()} == {
        "pos_non_manifold": (0, 3),
        "pos_non_manifold_batch": (0,),
        "occupancies": (0,),
        "intensities_non_manifold": (0, 1),
    }


def test_types_and_the_batch_left_alone(street: Batch, generator: torch.Generator) -> None:
    pos = street["pos"].clone()
    double = {**street, **{name: street[name].double() for name in ("pos", "intensities", "sensor")}}
    for batch, kind in ((street, torch.float32), (double, torch.float64)):
        found = generate_queries(batch, count=30, distance=0.1, generator=generator)
        assert found["pos_non_manifold"].dtype == found["intensities_non_manifold"].dtype == kind
        assert found["occupancies"].dtype == found["pos_non_manifold_batch"].dtype == torch.int64
    assert torch.equal(street["pos"], pos)


def test_same_seed_same_queries(street: Batch) -> None:
    first, again, other = (
        generate_queries(street, count=60, distance=0.1, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["pos_non_manifold"], other["pos_non_manifold"])

"""Batches that transforms have to survive, and a stand-in for the way they take on a GPU."""

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from also_selfsup.data.scan import Batch, Scan, collate
from also_selfsup.transforms import cells, randomness, rows

MakeBatch = Callable[..., Batch]
ORIGIN = (0.0, 0.0, 0.0)


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    """Labelled scans from clouds and sensors; a point's intensity is its row, by which tests know it."""

    def make(clouds: Sequence[ArrayLike], sensors: Sequence[Sequence[float]] | None = None) -> Batch:
        scans = []
        for number, cloud in enumerate(clouds):
            pos = np.asarray(cloud, np.float32).reshape(-1, 3)
            scans.append(
                Scan(
                    pos=pos,
                    intensities=np.arange(len(pos), dtype=np.float32)[:, None],
                    sensor=np.array(sensors[number] if sensors else ORIGIN, np.float32),
                    name=f"scan {number}",
                    labels=np.arange(len(pos), dtype=np.int64) % 17,
                )
            )
        return collate(scans)

    return make


@pytest.fixture(scope="session")
def uneven(make_batch: MakeBatch) -> Batch:
    """Eight scans: empty, one point, large, duplicates, at the origin, sensor elsewhere, tiny, empty."""
    rng = np.random.default_rng(0)
    nothing = np.zeros((0, 3))
    large = rng.normal(0, 12, (4000, 3)) * (1, 1, 0.1)
    twice = np.repeat(rng.normal(0, 3, (150, 3)), 3, axis=0)
    origin = np.concatenate([np.zeros((40, 3)), rng.uniform(-0.3, 0.3, (60, 3))])
    sensor = (3.0, -2.0, 1.5)
    elsewhere = np.concatenate([np.tile(sensor, (5, 1)), rng.normal(0, 5, (500, 3)) + sensor])
    clouds = [nothing, [[1.0, 2.0, 3.0]], large, twice, origin, elsewhere, large[:7], nothing]
    return make_batch(clouds, [ORIGIN] * 5 + [sensor] + [ORIGIN] * 2)


@pytest.fixture(scope="session")
def street(make_batch: MakeBatch) -> Batch:
    """Three scans of 2000 distinct points, none near its sensor, each sensor elsewhere."""
    rng = np.random.default_rng(1)
    sensors = [ORIGIN, (1.0, 2.0, -1.0), (-4.0, 0.5, 2.0)]
    clouds = [rng.normal(0, 10, (2000, 3)) + np.sign(rng.normal(size=(2000, 3))) + s for s in sensors]
    return make_batch(clouds, sensors)


@pytest.fixture(scope="session")
def numpy_permutation() -> Any:
    """The formula of `permutation.permuted` in numpy: (count, keys (K,), places) to (K, places)."""
    return runpy.run_path(str(Path(__file__).with_name("permutation_formula.py")))["permuted"]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture(params=["cpu", "device"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: as on the CPU, and (on the CPU too) through every branch that a GPU takes."""
    if request.param == "device":
        for module in (cells, randomness, rows):
            monkeypatch.setattr(module, "on_cpu", lambda _: False)
    return str(request.param)

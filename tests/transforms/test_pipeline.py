"""The whole chain: fields that fit together, reproducible, with few reads, on real scans too."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from also_selfsup.data.scan import Batch
from also_selfsup.transforms import occupancy, rows, thinning
from also_selfsup.transforms.pipeline import PretrainingTransforms, SegmentationTransforms
from also_selfsup.transforms.randomness import step_generator

PRETRAINING = PretrainingTransforms(
    grid_size=0.1,
    manifold_points=1000,
    non_manifold_points=300,
    query_distance=0.1,
    voxel_size=0.2,
    inputs=("pos", "intensities"),
)
BOXED = replace(PRETRAINING, extent=[0.0, -20.0, -4.0, 20.0, 20.0, 4.0])
SEGMENTATION = SegmentationTransforms(
    grid_size=0.1, manifold_points=1000, voxel_size=0.2, inputs=("intensities",)
)


def check_points(found: Batch, batch: Batch, *, count: int) -> None:
    """The points kept are points of the batch, at most `count` a scan, all fields of a point together."""
    offsets = np.searchsorted(batch["batch"].numpy(), np.arange(len(batch["sensor"])))
    rows = offsets[found["batch"].numpy()] + found["intensities"][:, 0].numpy().astype(int)
    assert len(set(rows.tolist())) == len(rows)
    assert np.array_equal(batch["batch"].numpy()[rows], found["batch"].numpy())
    assert np.array_equal(batch["y"].numpy()[rows], found["y"].numpy())
    assert (np.diff(found["batch"].numpy()) >= 0).all()
    assert np.bincount(found["batch"].numpy()).max() <= count


def check_voxels(found: Batch, *, size: float) -> None:
    """Each point lies in its voxel, and each voxel's input is that of one of its points."""
    cells = np.round(found["pos"].numpy() / np.float32(size))
    voxel = found["voxel_to_pc_id"].numpy()
    scans = found["voxel_coords_batch"].numpy()
    assert np.array_equal(scans[voxel], found["batch"].numpy())
    for scan in np.unique(scans):
        rows = found["batch"].numpy() == scan
        low = cells[rows].min(0)
        assert np.array_equal(found["voxel_coords"].numpy()[voxel[rows]], cells[rows] - low)
    first = np.full(len(scans), -1)
    first[voxel[::-1]] = np.arange(len(voxel))[::-1]
    assert np.array_equal(found["voxel_x"].numpy(), found["x"].numpy()[first])


def test_pretraining_fields_fit_together(uneven: Batch, path: str, generator: torch.Generator) -> None:
    found = PRETRAINING(uneven, generator, training=True)
    check_points(found, uneven, count=1000)
    check_voxels(found, size=0.2)
    assert torch.equal(found["x"], torch.cat([found["pos"], found["intensities"]], 1))
    free = int((found["occupancies"] == 0).sum())
    assert free > 0 and len(found["occupancies"]) == free + int((found["occupancies"] == 1).sum())
    assert found["names"] == uneven["names"]


def test_queries_come_from_the_decimated_cloud_before_thinning(
    street: Batch, generator: torch.Generator
) -> None:
    few = replace(PRETRAINING, manifold_points=10)
    found = few(street, generator, training=False)
    named = {int(v) for v in found["intensities_non_manifold"].flatten() if v >= 0}
    kept = {int(v) for v in found["intensities"].flatten()}
    assert len(found["pos"]) == 30 and len(found["occupancies"]) == 900
    assert len(named - kept) > 100


def test_validation_is_not_augmented(street: Batch, generator: torch.Generator) -> None:
    found = PRETRAINING(street, generator, training=False)
    rows = found["batch"] * 2000 + found["intensities"][:, 0].long()
    assert torch.equal(found["pos"], street["pos"][rows])
    assert torch.equal(found["sensor"], street["sensor"])


def test_queries_move_with_their_points(street: Batch, generator: torch.Generator) -> None:
    found = replace(PRETRAINING, manifold_points=None)(street, generator, training=True)
    assert not torch.equal(found["sensor"], street["sensor"])
    inside = found["occupancies"] == 1
    distance = torch.cdist(found["pos_non_manifold"][inside], found["pos"]).amin(1)
    assert float(distance.max()) < 0.1001


@pytest.mark.parametrize("transforms", [PRETRAINING, BOXED, SEGMENTATION])
def test_a_step_repeats_itself_and_no_other(
    uneven: Batch, transforms: PretrainingTransforms | SegmentationTransforms
) -> None:
    def run(step: int) -> Batch:
        place = step_generator(seed=1, epoch=2, rank=0, step=step, device="cpu")
        return transforms(uneven, place, training=True)

    first, again, other = run(5), run(5), run(6)
    for name, field in first.items():
        if isinstance(field, torch.Tensor):
            assert torch.equal(field, again[name]), name
    assert not torch.equal(first["pos"], other["pos"])


@pytest.mark.parametrize("transforms", [PRETRAINING, BOXED, SEGMENTATION])
def test_the_batch_given_is_left_alone(
    uneven: Batch, generator: torch.Generator, transforms: PretrainingTransforms | SegmentationTransforms
) -> None:
    before = {name: value.clone() for name, value in uneven.items() if isinstance(value, torch.Tensor)}
    names = set(uneven)
    transforms(uneven, generator, training=True)
    assert set(uneven) == names
    assert all(torch.equal(uneven[name], value) for name, value in before.items())


@pytest.mark.parametrize("training", [True, False])
def test_segmentation_fields_fit_together(
    uneven: Batch, path: str, training: bool, generator: torch.Generator
) -> None:
    found = SEGMENTATION(uneven, generator, training=training)
    check_points(found, uneven, count=1000)
    check_voxels(found, size=0.2)
    assert "original_pos" not in found and "occupancies" not in found


def test_evaluation_keeps_the_original_points(uneven: Batch, generator: torch.Generator) -> None:
    found = SEGMENTATION(uneven, generator, training=False, keep_original=True)
    for name in ("pos", "batch", "y"):
        assert torch.equal(found[f"original_{name}"], uneven[name])
    assert len(found["pos"]) < len(found["original_pos"])
    unlabelled = {name: value for name, value in uneven.items() if name != "y"}
    assert "original_y" not in SEGMENTATION(unlabelled, generator, training=False, keep_original=True)


def test_original_points_are_refused_in_training(uneven: Batch, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="training=False"):
        SEGMENTATION(uneven, generator, training=True, keep_original=True)


def test_a_batch_without_points(
    make_batch: Callable[..., Batch], path: str, generator: torch.Generator
) -> None:
    batch = make_batch([np.zeros((0, 3))] * 2)
    for transforms in (PRETRAINING, SEGMENTATION):
        found = transforms(batch, generator, training=True)
        assert len(found["pos"]) == len(found["voxel_coords"]) == len(found["voxel_to_pc_id"]) == 0


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        PRETRAINING.grid_size = 0.2  # type: ignore[misc]


class Calls(TorchDispatchMode):
    """Count the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


# Operations whose result's size, or whose value, the host waits for on a GPU.
WAITING = {"_local_scalar_dense", "item", "nonzero", "masked_select", "bincount", "_unique2", "unique_dim"}


@pytest.mark.parametrize(("transforms", "reads"), [(PRETRAINING, 3), (BOXED, 3), (SEGMENTATION, 2)])
@pytest.mark.parametrize("path", ["device"], indirect=True)
def test_the_host_reads_sizes_only(
    uneven: Batch,
    path: str,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
    transforms: PretrainingTransforms | SegmentationTransforms,
    reads: int,
) -> None:
    read: list[torch.Tensor] = []

    def reading(sizes: torch.Tensor) -> list[int]:
        read.append(sizes)
        return [int(size) for size in sizes.numpy()]

    for module in (rows, thinning, occupancy):
        monkeypatch.setattr(module, "read_sizes", reading)
    with Calls() as calls:
        transforms(uneven, generator, training=True)
    assert len(read) == reads
    assert not WAITING & set(calls.counts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("transforms", "reads"), [(PRETRAINING, 0), (BOXED, 1), (SEGMENTATION, 0)])
def test_on_a_gpu(
    uneven: Batch, transforms: PretrainingTransforms | SegmentationTransforms, reads: int
) -> None:
    """Besides the event that tells of the sizes' arrival, which is no read, nothing is waited for."""
    on_gpu = {name: v.cuda() if isinstance(v, torch.Tensor) else v for name, v in uneven.items()}
    generator = step_generator(seed=0, epoch=0, rank=0, step=0, device="cuda")
    transforms(on_gpu, generator, training=True)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            found = transforms(on_gpu, generator, training=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum("synchronizing" in str(wait.message) for wait in waits) == reads
    on_cpu = {name: v.cpu() if isinstance(v, torch.Tensor) else v for name, v in found.items()}
    check_points(on_cpu, uneven, count=1000)
    if transforms is not BOXED:
        check_voxels(on_cpu, size=0.2)


def test_real_scans(shared_data: Path, make_batch: Callable[..., Batch], generator: torch.Generator) -> None:
    files = sorted((shared_data / "nuscenes" / "samples" / "LIDAR_TOP").iterdir())[:2]
    clouds = [np.fromfile(file, np.float32).reshape(-1, 5)[:, :3] for file in files]
    batch = make_batch(clouds)
    recipe = replace(PRETRAINING, manifold_points=16384, non_manifold_points=2048, voxel_size=0.1)
    found = recipe(batch, generator, training=True)
    check_points(found, batch, count=16384)
    check_voxels(found, size=0.1)
    assert len(found["occupancies"]) == 4096
    assert torch.isfinite(found["pos_non_manifold"]).all()
    cells = [len(np.unique(np.trunc(cloud / np.float32(0.1)), axis=0)) for cloud in clouds]
    assert np.bincount(found["batch"].numpy()).tolist() == [min(count, 16384) for count in cells]


def test_any_point_of_a_voxel_may_give_its_input(
    make_batch: Callable[..., Batch], generator: torch.Generator
) -> None:
    batch = make_batch([[[1.01, 1.0, 1.0], [1.06, 1.0, 1.0]]] * 1000)
    wide = replace(SEGMENTATION, grid_size=0.04, voxel_size=0.5)
    found = wide(batch, generator, training=False)
    assert len(found["pos"]) == 2000 and len(found["voxel_x"]) == 1000
    assert stats.binomtest(int(found["voxel_x"].sum()), 1000, 0.5).pvalue > 1e-3

"""Run by test_fused.py and benchmarks/transforms_gpu.py: the GPU's transforms beside those of the CPU.

With `--device cpu` the kernels run in Triton's interpreter. What is deterministic is asserted here; figures
of what is random are printed as JSON.
"""

import argparse
import json
import os
import sys
from typing import Any

import numpy as np


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scans", type=int, default=1)
    parser.add_argument("--points", type=int, default=1600, help="of the largest scan")
    parser.add_argument("--rounds", type=int, default=2, help="steps for the statistics")
    return parser.parse_args()


OPTIONS = arguments()
if OPTIONS.device == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import torch  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402
from torch import Tensor  # noqa: E402

from also_selfsup.data.scan import Batch, Scan, collate  # noqa: E402
from also_selfsup.transforms import fused, pipeline  # noqa: E402
from also_selfsup.transforms.permutation import permuted  # noqa: E402
from also_selfsup.transforms.pipeline import PretrainingTransforms, SegmentationTransforms  # noqa: E402
from also_selfsup.transforms.thinning import decimate  # noqa: E402
from also_selfsup.transforms.voxelization import voxelize  # noqa: E402

GRID, VOXEL, DISTANCE = 0.2, (0.2, 0.25, 0.3), 0.1
Fields = dict[str, Any]


@triton.jit
def permute(places, count, bits, key, E: tl.constexpr):  # noqa: ANN001, ANN201
    """One permutation."""
    place = tl.arange(0, E)
    bits = tl.full((), 0, tl.int32) + bits
    count = tl.full((), 0, tl.int32) + count
    tl.store(places + place, permuted(place, count, bits, tl.load(key), place < count))


def permutations(device: str) -> list[Fields]:
    """Some lengths and keys, with what the kernel makes of them."""
    found = []
    for count, key in ((1, 5), (2, 6), (3, 2**61 + 12345), (7, 2**33), (64, 99), (100, 2**62 - 1)):
        places = torch.empty(128, dtype=torch.int32, device=device)
        bits = max(count - 1, 0).bit_length()
        permute[(1,)](places, count, bits, torch.tensor([key], device=device), E=128)
        found.append({"count": count, "key": key, "places": places[:count].tolist()})
    return found


def scans_of(count: int, points: int) -> Batch:
    """Scans of all kinds: large, empty, one point, at the sensor, duplicates; the intensity is the row."""
    rng = np.random.default_rng(0)
    sensor = np.array([3.0, -2.0, 1.5], np.float32)
    clouds = [rng.normal(0, 6, (points, 3)) * (1, 1, 0.1) for _ in range(count)]
    clouds += [np.zeros((0, 3)), np.array([[1.0, 2.0, 3.0]]), np.repeat(rng.normal(0, 3, (50, 3)), 3, 0)]
    clouds += [np.concatenate([np.tile(sensor, (5, 1)), rng.normal(0, 5, (300, 3)) + sensor, [sensor] * 3])]
    clouds += [np.rint(rng.uniform(-30, 30, (200, 3))) * 0.1, np.zeros((0, 3))]  # on the borders of cells
    scans = [
        Scan(
            pos=cloud.astype(np.float32),
            intensities=np.arange(len(cloud), dtype=np.float32)[:, None],
            sensor=sensor if number % 2 else np.zeros(3, np.float32),
            name=f"scan {number}",
            labels=np.arange(len(cloud)) % 17,
        )
        for number, cloud in enumerate(clouds)
    ]
    return collate(scans)


def moved(fields: Fields, device: str) -> Fields:
    return {name: v.to(device) if isinstance(v, Tensor) else v for name, v in fields.items()}


def rows_of(batch: Batch, found: Fields, suffix: str = "") -> np.ndarray:
    """Rows, in the batch, of points known by their scan and their intensity."""
    starts = np.searchsorted(batch["batch"].numpy(), np.arange(len(batch["sensor"])))
    scan = found[f"pos{suffix}_batch" if suffix else "batch"].numpy()
    return starts[scan] + found[f"intensities{suffix}"][:, 0].numpy().astype(int)


def check_points(batch: Batch, found: Fields, *, most: int | None) -> None:
    """Points kept: those of the CPU's decimation, as many as asked for, fields together, none twice."""
    scan_count = len(batch["sensor"])
    truth, sizes = decimate(batch["pos"], batch["batch"], size=GRID, scan_count=scan_count)
    rows = rows_of(batch, found)
    assert len(set(rows.tolist())) == len(rows) and set(rows.tolist()) <= set(truth.tolist())
    counts = [size if most is None else min(size, most) for size in sizes]
    assert np.bincount(found["batch"].numpy(), minlength=scan_count).tolist() == counts
    assert torch.equal(found["y"], batch["y"][rows])
    for name in ("pos", "intensities", "batch", "y", "sensor"):
        assert found[name].dtype == batch[name].dtype and found[name].is_contiguous(), name


def check_motion(batch: Batch, found: Fields) -> list[Fields]:
    """Each scan turned about z and mirrored in x, its sensor with it; the angle and the mirror of each."""
    moves = []
    rows, scans = rows_of(batch, found), found["batch"].numpy()
    for scan in np.unique(scans):
        before = torch.cat([batch["pos"][rows[scans == scan]], batch["sensor"][scan][None]]).double()
        after = torch.cat([found["pos"][scans == scan], found["sensor"][scan][None]]).double()
        assert torch.equal(before[:, 2], after[:, 2])
        if len(before) < 10:
            continue
        move = torch.linalg.lstsq(before[:, :2], after[:, :2]).solution.T
        assert torch.allclose(before[:, :2] @ move.T, after[:, :2], atol=1e-5)
        assert torch.allclose(move @ move.T, torch.eye(2, dtype=torch.float64), atol=1e-5)
        moves.append(
            {"mirrored": bool(torch.det(move) < 0), "angle": float(torch.atan2(move[1, 0], move[1, 1]))}
        )
    return moves


def check_queries(batch: Batch, found: Fields, *, most: int) -> Fields:
    """Queries on the rays of distinct kept points, as many of each kind as there should be; their u."""
    truth, _ = decimate(batch["pos"], batch["batch"], size=GRID, scan_count=len(batch["sensor"]))
    own = batch["sensor"][batch["batch"][truth]]
    usable = truth[(batch["pos"][truth] - own).norm(dim=1) >= 0.01]
    share, values = most // 3, {"in": [], "out": []}
    scans, occupied = found["pos_non_manifold_batch"], found["occupancies"] == 1
    far = found["intensities_non_manifold"][:, 0] == -1
    for scan in range(len(batch["sensor"])):
        size, here = int((batch["batch"][usable] == scan).sum()), scans == scan
        counts = [int((here & kind).sum()) for kind in (occupied, ~occupied & ~far, far)]
        assert counts == [min(size, most - 2 * share), min(size, share), min(size, share)]
    for name, kind in (("in", occupied), ("out", ~occupied & ~far)):
        part = {n: found[n][kind] for n in ("pos_non_manifold_batch", "intensities_non_manifold")}
        rows = rows_of(batch, part, "_non_manifold")
        assert len(set(rows.tolist())) == len(rows) and set(rows.tolist()) <= set(usable.tolist())
        sensor = batch["sensor"][part["pos_non_manifold_batch"]].double()
        way, gone = batch["pos"][rows].double() - sensor, found["pos_non_manifold"][kind].double() - sensor
        depth = way.norm(dim=1)
        along = (way * gone).sum(1) / depth
        assert torch.allclose(gone, way * (along / depth)[:, None], atol=2e-5)
        u = (along - depth) / DISTANCE * (1 if name == "in" else -1)
        assert -1e-3 < float(u.min()) and float(u.max()) < 1 + 1e-3
        values[name] = [round(value, 4) for value in u.tolist()]
    return values


def check_voxels(found: Fields) -> None:
    """Exactly those of the CPU for the same points."""
    truth = voxelize(found, voxel_size=VOXEL)
    for name, values in truth.items():
        assert found[name].dtype == values.dtype and torch.equal(found[name], values), name


def of_one_batch(chain: PretrainingTransforms, batch: Batch) -> dict[str, int]:
    """What the host does for a batch, in the interpreter."""
    from launch_counts import counted

    with counted() as counts:
        chain.begin(batch, torch.Generator().manual_seed(1), training=True).result()
    return dict(counts)


def main() -> None:
    """Check; print figures."""
    device = OPTIONS.device
    if device == "cpu":
        pipeline.fusible = lambda *_, **__: True
        fused.ELEMENTS = fused.SUMMED = 512  # the interpreter takes as long for a large block
    batch = scans_of(OPTIONS.scans, OPTIONS.points)
    most, queries = OPTIONS.points // 4, OPTIONS.points // 8
    chain = PretrainingTransforms(
        grid_size=GRID, manifold_points=most, non_manifold_points=queries, query_distance=DISTANCE,
        voxel_size=VOXEL, inputs=("pos", "intensities"),
    )  # fmt: skip
    whole = SegmentationTransforms(
        grid_size=GRID, manifold_points=None, voxel_size=VOXEL, inputs=("intensities",)
    )
    generator = torch.Generator(device).manual_seed(1)
    found = moved(whole(moved(batch, device), generator, training=False), "cpu")
    check_points(batch, found, most=None)
    check_voxels(found)
    assert torch.equal(found["pos"], batch["pos"][rows_of(batch, found)])

    moves, kept = [], []
    for seed in range(OPTIONS.rounds):
        generator = torch.Generator(device).manual_seed(seed)
        found = moved(chain(moved(batch, device), generator, training=True), "cpu")
        check_points(batch, found, most=most)
        check_voxels(found)
        assert torch.equal(found["x"], torch.cat([found["pos"], found["intensities"]], 1))
        moves += check_motion(batch, found)
        kept.append(rows_of(batch, found)[found["batch"].numpy() == 0].tolist())
    # The same seed draws the same, here without augmentation, which leaves queries where they can be checked.
    generator.manual_seed(seed)
    still = moved(chain(moved(batch, device), generator, training=False), "cpu")
    for name in ("intensities", "batch", "y", "occupancies", "intensities_non_manifold"):
        assert torch.equal(still[name], found[name]), name
    u = check_queries(batch, still, most=queries)
    decimated, sizes = decimate(batch["pos"], batch["batch"], size=GRID, scan_count=len(batch["sensor"]))
    json.dump(
        {
            "permutations": permutations(device),
            "moves": moves,
            "u": u,
            "decimated": decimated[: sizes[0]].tolist(),
            "kept": kept,
            "counts": of_one_batch(chain, batch) if device == "cpu" else None,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()

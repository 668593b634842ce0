"""The transforms of pre-training on one core, beside the same steps scan by scan in plain numpy, in turns.

Recipe `nuscenes`: 0.1 m decimation, 16,384 points, 2,048 queries, 0.1 m voxels. The published code takes
24.8 ms a scan of one core for these steps (measured on another machine). Times are CPU time of the process,
which other work on the machine disturbs less than time on the wall; with `--device cuda` it is the wall's.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from also_selfsup.data.formats import read_nuscenes_points
from also_selfsup.data.scan import Batch, Scan, collate
from also_selfsup.transforms import occupancy, thinning, voxelization
from also_selfsup.transforms.augmentation import augment
from also_selfsup.transforms.pipeline import PretrainingTransforms

PUBLISHED = 24.8
GRID, VOXEL, DISTANCE, POINTS, QUERIES = 0.1, 0.1, 0.1, 16384, 2048
STEPS = ("decimate", "queries", "thin", "augment", "voxelize")
CHAIN = PretrainingTransforms(
    grid_size=GRID,
    manifold_points=POINTS,
    non_manifold_points=QUERIES,
    query_distance=DISTANCE,
    voxel_size=VOXEL,
    inputs=("intensities",),
)
Floats = NDArray[np.float32]
Laps = dict[str, float]


def made_up_scan(seed: int) -> Scan:
    """34,679 returns of 32 beams from ground and walls, a quarter of them from the car itself."""
    rng = np.random.default_rng(seed)
    count = 34_679
    elevation = np.radians(rng.integers(0, 32, count) * 4 / 3 - 30.67)
    azimuth = rng.uniform(-np.pi, np.pi, count)
    corners = np.sort(rng.uniform(-np.pi, np.pi, 60))
    walls = rng.uniform(6, 60, 61)[np.searchsorted(corners, azimuth)]
    down = np.minimum(np.sin(elevation), -1e-3)
    depth = np.minimum(1.84 / -down, walls / np.cos(elevation)) + rng.normal(0, 0.02, count)
    depth[rng.random(count) < 0.27] = 0.3
    ray = np.stack([np.cos(azimuth), np.sin(azimuth), np.tan(elevation)]) * np.cos(elevation)
    pos = (depth * ray).T.astype(np.float32)
    return Scan(
        pos=pos, intensities=rng.random((count, 1), np.float32), sensor=np.zeros(3, np.float32), name=""
    )


def real_scan(path: Path) -> Scan:
    """A scan of nuScenes."""
    pos, intensities = read_nuscenes_points(path)
    return Scan(pos=pos.copy(), intensities=intensities, sensor=np.zeros(3, np.float32), name=path.name)


class Stopwatch:
    """Adds up the time between its presses by name."""

    def __init__(self, device: str) -> None:
        self.laps: Laps = {}
        self.clock: Callable[[], float] = time.process_time if device == "cpu" else self._wall
        self.last = self.clock()

    @staticmethod
    def _wall() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    def press(self, name: str) -> None:
        now = self.clock()
        self.laps[name] = self.laps.get(name, 0.0) + now - self.last
        self.last = now


def cells_once(numbers: Floats) -> tuple[NDArray[np.int64], ...]:
    """First point and inverse of the distinct cells, by one packed number each, as usual in numpy."""
    cells = numbers.astype(np.int64)
    cells -= cells.min(0)
    sides = cells.max(0) + 1
    keys = (cells[:, 0] * sides[1] + cells[:, 1]) * sides[2] + cells[:, 2]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return cells, first, inverse


def numpy_scan(scan: Scan, rng: np.random.Generator, watch: Stopwatch) -> None:
    """All steps on one scan."""
    _, first, _ = cells_once(np.trunc(scan.pos / np.float32(GRID)))
    pos, intensities = scan.pos[first], scan.intensities[first]
    watch.press("decimate")
    queries = numpy_queries(pos, scan.sensor, rng)
    watch.press("queries")
    chosen = rng.permutation(len(pos))[:POINTS]
    pos, features = pos[chosen], intensities[chosen]
    watch.press("thin")
    angle = rng.uniform(-np.pi, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
    matrix[:, 0] *= rng.choice([-1, 1])
    pos, queries = pos @ matrix, queries @ matrix
    watch.press("augment")
    cells, first, inverse = cells_once(np.round(pos / np.float32(VOXEL)))
    _ = cells[first].astype(np.int32), features[first], inverse
    watch.press("voxelize")


def numpy_queries(pos: Floats, sensor: Floats, rng: np.random.Generator) -> Floats:
    """Queries of one scan: behind, before, between; with occupancies left out."""
    way = pos - sensor
    depth = np.linalg.norm(way, axis=1)
    away = np.flatnonzero(depth >= 0.01)
    parts = []
    for kind, share in (("in", QUERIES - 2 * (QUERIES // 3)), ("out", QUERIES // 3), ("far", QUERIES // 3)):
        ids = rng.choice(away, min(share, len(away)), replace=False)
        u = rng.random(len(ids), np.float32)
        step = u * depth[ids] if kind == "far" else depth[ids] + DISTANCE * (u if kind == "in" else -u)
        parts.append(sensor + way[ids] * (step / depth[ids])[:, None])
    return np.concatenate(parts)


def our_steps(batch: Batch, generator: torch.Generator, watch: Stopwatch) -> None:
    """The chain of `PretrainingTransforms`, timed step by step."""
    scan_count = batch["sensor"].shape[0]
    ids, sizes = thinning.decimate(batch["pos"], batch["batch"], size=GRID, scan_count=scan_count)
    batch = thinning.select(batch, ids)
    watch.press("decimate")
    queries = occupancy.generate_queries(batch, count=QUERIES, distance=DISTANCE, generator=generator)
    watch.press("queries")
    ids = thinning.thin(batch["batch"], sizes=sizes, count=POINTS, generator=generator)
    batch = {**thinning.select(batch, ids), **queries}
    watch.press("thin")
    batch = augment(batch, rotation=True, flip=True, generator=generator)
    watch.press("augment")
    voxelization.voxelize({**batch, "x": batch["intensities"]}, voxel_size=VOXEL)
    watch.press("voxelize")


def median_laps(rounds: list[Laps], *, scans: int) -> Laps:
    """Median of each lap in ms a scan, after a first round to warm up."""
    return {name: 1e3 / scans * statistics.median(lap[name] for lap in rounds[1:]) for name in rounds[0]}


def measure(scans: list[Scan], *, device: str, rounds: int) -> tuple[Laps, Laps]:
    """Laps of numpy and of ours, `whole` being the chain in one piece; rivals take turns."""
    batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in collate(scans).items()}
    generator, rng = torch.Generator(device).manual_seed(0), np.random.default_rng(0)
    plain, ours = [], []
    for _ in range(rounds + 1):
        watch = Stopwatch("cpu")
        for scan in scans:
            numpy_scan(scan, rng, watch)
        plain.append({**watch.laps, "whole": sum(watch.laps.values())})
        watch = Stopwatch(device)
        our_steps(batch, generator, watch)
        CHAIN(batch, generator, training=True)
        watch.press("whole")
        ours.append(watch.laps)
    return median_laps(plain, scans=len(scans)), median_laps(ours, scans=len(scans))


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four scans, three rounds")
    parser.add_argument(
        "--scans", type=Path, help="folder of nuScenes .pcd.bin files, in place of made-up scans"
    )
    parser.add_argument("--device", default="cpu", help="where ours runs: cpu (one core) or cuda")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count, rounds = (4, 3) if options.quick else (16, 11)
    files = sorted(options.scans.glob("*.bin"))[:count] if options.scans else []
    scans = [real_scan(file) for file in files] or [made_up_scan(seed) for seed in range(count)]
    plain, ours = measure(scans, device=options.device, rounds=rounds)

    points = sum(len(scan.pos) for scan in scans) / len(scans)
    title = (
        f"transforms, ms a scan: {len(scans)} {'real' if files else 'made-up'} scans of {points:.0f} points"
    )
    table = Table("step", "numpy, scan by scan", f"ours, {options.device}", "ratio", title=title)
    for name in (*STEPS, "whole"):
        table.add_row(name, f"{plain[name]:.2f}", f"{ours[name]:.3f}", f"{plain[name] / ours[name]:.2f}")
    table.add_row("published", f"{PUBLISHED:.2f}", f"{ours['whole']:.3f}", f"{PUBLISHED / ours['whole']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()

"""The transforms on a GPU up to the network's input, launched without waiting for the device once.

B scans, N points, T points of the network's input, Q queries.

The same steps as `thinning`, `occupancy` and `augmentation`, with the same distribution: random orders come
from keyed permutations instead of sorted random keys, and sizes stay on the device, so buffers are as long as
their contents may become. The modules named are the reference that this is tested against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.cells import CellSize, edges_of, farthest_cell
from also_selfsup.transforms.occupancy import NEAREST_TARGET
from also_selfsup.transforms.rows import scan_starts

ELEMENTS = 256
LARGEST_COUNT = 2**31 - 1
# Fields by the size that they have: T, Q, or V.
LENGTHS = {
    **dict.fromkeys(("pos", "intensities", "y", "batch", "x", "voxel_to_pc_id"), 0),
    **dict.fromkeys(
        ("pos_non_manifold", "pos_non_manifold_batch", "occupancies", "intensities_non_manifold"), 1
    ),
    **dict.fromkeys(("voxel_coords", "voxel_coords_batch", "voxel_x"), 2),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the steps need to know.

    Attributes:
        grid_size: Cell of the decimation in metres.
        most_points: Most input points of a scan; None takes all.
        queries: Queries of a scan; 0 draws none.
        distance: Most metres of a query from its point.
        rotation: Rotate about z.
        flip: Mirror in x, every second scan.
    """

    grid_size: CellSize
    most_points: int | None
    queries: int = 0
    distance: float = 0.0
    rotation: bool = False
    flip: bool = False


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What decimation kept: rows in lists of N places, filled by scan."""

    rows: Tensor  # (N,) int32, of the points kept
    usable: Tensor  # (N,) int32, of those among them that have a ray
    tables: Tensor  # (11, L) int32, see fused_kernels
    counts: Tensor  # (3,) int64: T, Q, and room for the number of voxels


@dataclass(frozen=True, kw_only=True)
class Draws:
    """A step's random numbers."""

    keys: Tensor  # (2B,) int64: for the points and for the queries of each scan
    uniform: Tensor  # (2B + B * queries,) float32 in [0, 1): angle and flip of each scan, then its queries
    cos: Tensor  # (B,) float32
    sin: Tensor  # (B,) float32


def fusible(batch: Batch, *, grid_size: CellSize) -> bool:
    """Whether a batch can take this way: on a GPU with Triton, its points float32 and of one frame."""
    pos = batch["pos"]
    plain = pos.dtype == torch.float32 and "query_pos" not in batch and grid_size != 0
    return bool(plain and pos.is_cuda and pos.shape[0] > 0 and _has_triton(pos.device))


@cache
def _has_triton(device: torch.device) -> bool:
    return find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (7, 0)


def launch(batch: Batch, recipe: Recipe, *, generator: torch.Generator) -> tuple[Batch, Kept]:
    """Decimate, thin, draw queries and augment.

    Args:
        batch: As collated, on the generator's device.
        recipe: What to do.
        generator: Of this step.

    Returns:
        The batch with fields longer than what they hold (`LENGTHS` says which count of `Kept` is theirs).
    """
    kept = _decimate(batch, recipe)
    draws = _draw(batch["sensor"], recipe, generator)
    fields = {**batch, **_thin(batch, recipe, kept=kept, draws=draws)}
    if recipe.queries:
        fields |= _queries(batch, recipe, kept=kept, draws=draws)
    return fields, kept


def _decimate(batch: Batch, recipe: Recipe) -> Kept:
    from also_selfsup.transforms import fused_kernels as kernels  # needs Triton, which GPU builds bring

    pos, index, sensor = batch["pos"].contiguous(), batch["batch"], batch["sensor"]
    count, scan_count, device = pos.shape[0], sensor.shape[0], pos.device
    grid, limit = (_blocks(count),), farthest_cell(scan_count)
    keys, marks = (torch.empty(count, dtype=torch.int64, device=device) for _ in range(2))
    sizes = (*edges_of(recipe.grid_size), float(limit))
    kernels.cell_keys[grid](pos, index, keys, count, *sizes, 2 * limit + 1, E=ELEMENTS)
    keys, order = torch.sort(keys, stable=True)
    kernels.mark_kept[grid](keys, order, pos, index, sensor, marks, count, NEAREST_TARGET, E=ELEMENTS)
    totals = torch.cumsum(marks, 0)
    rows, usable = (torch.empty(count, dtype=torch.int32, device=device) for _ in range(2))
    kernels.list_kept[grid](marks, totals, order, rows, usable, count, E=ELEMENTS)
    width = 1 << max(scan_count - 1, 1).bit_length()
    tables = torch.empty(kernels.TABLE_ROWS, width, dtype=torch.int32, device=device)
    counts = torch.zeros(3, dtype=torch.int64, device=device)
    share = recipe.queries // 3
    most = LARGEST_COUNT if recipe.most_points is None else recipe.most_points
    starts = scan_starts(index, scan_count)
    kernels.count_all[(1,)](
        totals, starts, tables, counts, scan_count, most, recipe.queries - 2 * share, share, L=width
    )
    return Kept(rows=rows, usable=usable, tables=tables, counts=counts)


def _draw(sensor: Tensor, recipe: Recipe, generator: torch.Generator) -> Draws:
    scan_count, device = sensor.shape[0], sensor.device
    keys = torch.randint(0, 1 << 62, (2 * scan_count,), generator=generator, device=device)
    uniform = torch.rand(scan_count * (2 + recipe.queries), generator=generator, device=device)
    angles = uniform[:scan_count] * (2 * math.pi)  # as uniform on the circle as from -pi to pi
    return Draws(keys=keys, uniform=uniform, cos=angles.cos(), sin=angles.sin())


def _thin(batch: Batch, recipe: Recipe, *, kept: Kept, draws: Draws) -> Batch:
    from also_selfsup.transforms import fused_kernels as kernels

    pos, sensor = batch["pos"].contiguous(), batch["sensor"]
    most = pos.shape[0] if recipe.most_points is None else min(recipe.most_points, pos.shape[0])
    places = min(pos.shape[0], most * sensor.shape[0])
    labels = batch.get("y")
    found = {
        "pos": pos.new_empty(places, 3),
        "intensities": pos.new_empty(places, 1),
        "batch": batch["batch"].new_empty(places),
        "sensor": torch.empty_like(sensor),
    }
    if labels is not None:
        found["y"] = labels.new_empty(places)
    kernels.thin_points[(_blocks(most), sensor.shape[0])](
        kept.rows, kept.tables, draws.keys, draws.cos, draws.sin, draws.uniform,
        pos, batch["intensities"].contiguous(), labels, sensor,
        found["pos"], found["intensities"], found.get("y"), found["batch"], found["sensor"],
        sensor.shape[0], ROTATE=recipe.rotation, FLIP=recipe.flip, LABELS=labels is not None,
        L=kept.tables.shape[1], E=ELEMENTS,
    )  # fmt: skip
    return found


def _queries(batch: Batch, recipe: Recipe, *, kept: Kept, draws: Draws) -> Batch:
    from also_selfsup.transforms import fused_kernels as kernels

    pos, sensor, most = batch["pos"].contiguous(), batch["sensor"], recipe.queries
    places = most * sensor.shape[0]
    found = {
        "pos_non_manifold": pos.new_empty(places, 3),
        "pos_non_manifold_batch": batch["batch"].new_empty(places),
        "occupancies": batch["batch"].new_empty(places),
        "intensities_non_manifold": pos.new_empty(places, 1),
    }
    kernels.draw_queries[(_blocks(most), sensor.shape[0])](
        kept.usable, kept.tables, draws.keys, draws.cos, draws.sin, draws.uniform,
        pos, batch["intensities"].contiguous(), sensor,
        *found.values(), recipe.distance, sensor.shape[0], most,
        ROTATE=recipe.rotation, FLIP=recipe.flip, L=kept.tables.shape[1], E=ELEMENTS,
    )  # fmt: skip
    return found


def _blocks(count: int) -> int:
    return max(-(-count // ELEMENTS), 1)

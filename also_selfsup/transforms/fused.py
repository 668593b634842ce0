"""The transforms on a GPU, launched without waiting for the device once.

B scans, N points, T points of the network's input in P places, Q queries, V voxels.

The same steps as `thinning`, `occupancy`, `augmentation`, `features` and `voxelization`, with the same
distribution: random orders come from keyed permutations instead of sorted random keys, and sizes stay on the
device, so buffers are as long as their contents may become. The modules named are the reference that this is
tested against.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.cells import CellSize, edges_of, farthest_cell
from also_selfsup.transforms.fused_room import POINTS, VOXELS, Kept, Recipe, Room
from also_selfsup.transforms.occupancy import NEAREST_TARGET
from also_selfsup.transforms.pending import Pending, Piece, read_later

ELEMENTS = 256
# Elements of a block whose sum all blocks after it add up: better few blocks.
SUMMED = 1024
LARGEST_COUNT = 2**31 - 1


def fusible(batch: Batch, *, grid_size: CellSize) -> bool:
    """Whether a batch can take this way: on a GPU with Triton, its points float32 and of one frame."""
    pos = batch["pos"]
    plain = pos.dtype == torch.float32 and "query_pos" not in batch and grid_size != 0
    return bool(plain and pos.is_cuda and pos.shape[0] > 0 and _has_triton(pos.device))


@cache
def _has_triton(device: torch.device) -> bool:
    return find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (7, 0)


def launch(
    batch: Batch,
    recipe: Recipe,
    *,
    generator: torch.Generator,
    finish: Callable[[Batch], Batch] = dict,
) -> Pending:
    """Decimate, thin, draw queries, augment, give inputs, voxelise.

    Args:
        batch: As collated, on the generator's device.
        recipe: What to do.
        generator: Of this step.
        finish: What is left to do when sizes are known.
    """
    kept = _decimate(batch, recipe)
    room = Room.of(batch, recipe)
    labels = batch.get("y")
    new_labels = None if labels is None else labels.new_empty(room.places)
    keys = _choose(batch, recipe, kept=kept, room=room, new_labels=new_labels, generator=generator)
    pieces = room.pieces()
    if new_labels is not None:
        pieces["y"] = Piece(new_labels, 0, None, POINTS)
    if keys is not None and recipe.voxel_size is not None:
        coords = _voxelize(keys, recipe.voxel_size, kept=kept, room=room, scan_count=len(batch["sensor"]))
        pieces["voxel_coords"] = Piece(coords, 0, 3, VOXELS)
    rest = {**batch, "sensor": room.sensor(len(batch["sensor"]))}
    return Pending(rest, pieces, read_later(kept.counts), finish)


def _decimate(batch: Batch, recipe: Recipe) -> Kept:
    from also_selfsup.transforms import fused_kernels as kernels  # needs Triton, which GPU builds bring

    pos, index, sensor = batch["pos"].contiguous(), batch["batch"], batch["sensor"].contiguous()
    count, scan_count, device = pos.shape[0], sensor.shape[0], pos.device
    blocks, limit = _blocks(count, SUMMED), farthest_cell(scan_count)
    width = 1 << max(scan_count - 1, 1).bit_length()
    # The sums of voxels, of which there may be a block more, take the place of those of points.
    length = kernels.TABLE_ROWS.value * width + 2 * blocks + 1
    tables, lists = (torch.empty(n, dtype=torch.int32, device=device) for n in (length, 2 * count))
    keys, counts = (torch.empty(n, dtype=torch.int64, device=device) for n in (count, 3))
    kernels.launch_cell_keys(
        (_blocks(count, ELEMENTS), 1, 1),
        (pos, index, keys, tables, count, *edges_of(recipe.grid_size), float(limit), 2 * limit + 1),
        constants={"L": width, "E": ELEMENTS},
    )  # fmt: skip
    keys, order = torch.sort(keys, stable=True)
    marks = torch.empty(count, dtype=torch.int8, device=device)
    constants = {"L": width, "E": SUMMED}
    kernels.launch_mark_kept(
        (blocks, 1, 1),
        (keys, order, pos, index, sensor, marks, tables, count, NEAREST_TARGET),
        constants=constants,
    )
    share = recipe.queries // 3
    most = LARGEST_COUNT if recipe.most_points is None else recipe.most_points
    kernels.launch_list_kept(
        (blocks, 1, 1),
        (marks, order, lists, tables, counts, count, most, recipe.queries - 2 * share, share),
        constants=constants,
    )
    return Kept(lists=lists, tables=tables, width=width, counts=counts)


def _choose(
    batch: Batch,
    recipe: Recipe,
    *,
    kept: Kept,
    room: Room,
    new_labels: Tensor | None,
    generator: torch.Generator,
) -> Tensor | None:
    """Points and queries; answers sort keys of the points' voxels, if there are to be any."""
    from also_selfsup.transforms import fused_points as kernels

    pos, sensor = batch["pos"].contiguous(), batch["sensor"].contiguous()
    scan_count, most, limit = sensor.shape[0], recipe.queries, farthest_cell(sensor.shape[0])
    keys = torch.randint(0, 1 << 62, (2 * scan_count,), generator=generator, device=pos.device)
    draws = torch.rand(scan_count * (2 + most), generator=generator, device=pos.device)
    cosines = sines = draws
    if recipe.rotation:
        angles = draws[:scan_count] * (2 * math.pi)  # as uniform on the circle as from -pi to pi
        cosines, sines = angles.cos(), angles.sin()
    voxel_keys = torch.empty(room.places, dtype=torch.int64, device=pos.device) if room.voxels else None
    labels = batch.get("y")
    blocks = _blocks(max(recipe.largest(batch), most), ELEMENTS)
    kernels.launch_choose_points(
        (blocks, scan_count, 2 if most else 1),
        (
            kept.lists, kept.tables, kept.counts, keys, cosines, sines, draws, pos,
            batch["intensities"].contiguous(), keys if labels is None else labels, sensor,
            room.floats, room.whole,
            keys if new_labels is None else new_labels, keys if voxel_keys is None else voxel_keys,
            len(pos), room.places, room.queries, scan_count, most, 2 * limit + 1,
            float(recipe.distance), *edges_of(recipe.voxel_size or 1.0), float(limit),
        ),
        constants={
            "ROTATE": recipe.rotation, "FLIP": recipe.flip, "LABELS": labels is not None, "C": room.channels,
            "AT_POS": recipe.channels_of("pos"), "AT_INTENSITY": recipe.channels_of("intensities"),
            "VOXELS": room.voxels, "L": kept.width, "E": ELEMENTS,
        },
    )  # fmt: skip
    return voxel_keys


def _voxelize(keys: Tensor, size: CellSize, *, kept: Kept, room: Room, scan_count: int) -> Tensor:
    """Write the voxels; answers their cells, (3 P,) int32."""
    from also_selfsup.transforms import fused_voxels as kernels

    limit, blocks = farthest_cell(scan_count), _blocks(room.places, SUMMED)
    keys, rows = torch.sort(keys, stable=True)
    coords = torch.empty(3 * room.places, dtype=torch.int32, device=keys.device)
    grid, constants = (blocks, 1, 1), {"L": kept.width, "E": SUMMED}
    kernels.launch_count_voxels(grid, (keys, kept.tables, room.places), constants=constants)
    kernels.launch_write_voxels(
        grid,
        (
            keys, rows, kept.tables, kept.counts, room.floats, room.whole, coords, room.places,
            *edges_of(size), float(limit),
        ),
        constants={"C": room.channels, **constants},
    )  # fmt: skip
    return coords


def _blocks(count: int, size: int) -> int:
    return max(-(-count // size), 1)

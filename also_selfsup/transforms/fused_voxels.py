"""Last of the transforms on a GPU: voxels of points whose number the host does not know yet, in Triton.

B scans, T points of the network's input in P places, V voxels, C channels. In the kernels E is a block of
elements.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.transforms.cells import CellSize, edges_of, farthest_cell
from also_selfsup.transforms.fused_kernels import POINT_START, POINTS, limited

ELEMENTS = 256
# What a place without a point sorts by, and what no cell number reaches.
NO_KEY, NO_CELL = 2**63 - 1, 2**31 - 1
_NO_KEY, _NO_CELL = tl.constexpr(NO_KEY), tl.constexpr(NO_CELL)
# Adding and taking away 1.5 * 2**23 rounds a float32 below 2**22 to the nearest integer, halves to even.
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def _cell(pos, place, size, limit, inside):
    """round(pos / size) of one axis, halves to even."""
    continuous = limited(tl.load(pos + place, mask=inside, other=0.0), size, limit)
    return ((continuous + _ROUNDER) - _ROUNDER).to(tl.int32)


@triton.jit(do_not_specialize=["side"])
def voxel_keys(
    pos, tables, keys, lows, size_x, size_y, size_z, limit, side, L: tl.constexpr, E: tl.constexpr
):  # fmt: skip
    """(P,) int64 by scan and cell, and the smallest cell of each scan and axis, (B, 3) int32."""
    scan, number = tl.program_id(1), tl.program_id(0) * E + tl.arange(0, E)
    inside = number < tl.load(tables + POINTS * L + scan)
    place = tl.load(tables + POINT_START * L + scan) + number
    x = _cell(pos, place * 3, size_x, limit, inside)
    y = _cell(pos, place * 3 + 1, size_y, limit, inside)
    z = _cell(pos, place * 3 + 2, size_z, limit, inside)
    tl.atomic_min(lows + scan * 3, tl.min(tl.where(inside, x, _NO_CELL), 0))
    tl.atomic_min(lows + scan * 3 + 1, tl.min(tl.where(inside, y, _NO_CELL), 0))
    tl.atomic_min(lows + scan * 3 + 2, tl.min(tl.where(inside, z, _NO_CELL), 0))
    key = ((scan.to(tl.int64) * side + x) * side + y) * side + z
    tl.store(keys + place, key, mask=inside)


@triton.jit(do_not_specialize=["places"])
def mark_voxels(keys, marks, places, E: tl.constexpr):
    """(P,) int32 in the order of keys: 1 at the first point of a voxel."""
    place = tl.program_id(0) * E + tl.arange(0, E)
    inside = place < places
    key = tl.load(keys + place, mask=inside, other=_NO_KEY)
    before = tl.load(keys + place - 1, mask=inside & (place > 0), other=_NO_KEY)
    tl.store(marks + place, ((key != _NO_KEY) & (key != before)).to(tl.int32), mask=inside)


@triton.jit(do_not_specialize=["places", "channels"])
def write_voxels(
    keys, rows, marks, numbers, pos, batch, x, lows, coords, scans, voxel_x, point_voxels, counts,
    places, channels, size_x, size_y, size_z, limit, E: tl.constexpr,
):  # fmt: skip
    """Cells, scans and inputs of the voxels, the voxel of each point, and V as the third of `counts`."""
    place = tl.program_id(0) * E + tl.arange(0, E)
    inside = place < places
    inside = inside & (tl.load(keys + place, mask=inside, other=_NO_KEY) != _NO_KEY)
    row = tl.load(rows + place, mask=inside, other=0)
    voxel = tl.load(numbers + place, mask=inside, other=1) - 1
    tl.store(point_voxels + row, voxel.to(tl.int64), mask=inside)
    first = tl.load(marks + place, mask=inside, other=0) > 0
    scan = tl.load(batch + row, mask=first, other=0)
    tl.store(scans + voxel, scan, mask=first)
    low = lows + scan * 3
    cell = _cell(pos, row * 3, size_x, limit, first) - tl.load(low, mask=first, other=0)
    tl.store(coords + voxel * 3, cell, mask=first)
    cell = _cell(pos, row * 3 + 1, size_y, limit, first) - tl.load(low + 1, mask=first, other=0)
    tl.store(coords + voxel * 3 + 1, cell, mask=first)
    cell = _cell(pos, row * 3 + 2, size_z, limit, first) - tl.load(low + 2, mask=first, other=0)
    tl.store(coords + voxel * 3 + 2, cell, mask=first)
    for channel in range(channels):
        value = tl.load(x + row * channels + channel, mask=first, other=0.0)
        tl.store(voxel_x + voxel * channels + channel, value, mask=first)
    total = tl.load(numbers + places - 1)
    tl.store(counts + 2, total.to(tl.int64), mask=tl.program_id(0) == 0)


def voxelize_places(
    fields: dict[str, Tensor], tables: Tensor, *, counts: Tensor, voxel_size: CellSize, most_points: int
) -> dict[str, Tensor]:
    """What `voxelization.voxelize` gives, in places for as many voxels as there may be.

    Args:
        fields: `pos` (P, 3) float32, `batch` (P,), `x` (P, C), `sensor` (B, 3); the first T of P hold points.
        tables: (rows, L) int32 of `fused_kernels`, with the place and number of each scan's points.
        counts: (3,) int64; V is written into the last.
        voxel_size: Edge of the voxels in metres, or one for each of x, y, z.
        most_points: No scan has more.

    Returns:
        `voxel_coords` (P, 3) int32, `voxel_coords_batch` (P,) int64 and `voxel_x` (P, C), of which the first
        V hold voxels; `voxel_to_pc_id` (P,) int64, of which the first T count.
    """
    pos, x = fields["pos"], fields["x"]
    (places, channels), scan_count, width = x.shape, fields["sensor"].shape[0], tables.shape[1]
    limit = farthest_cell(scan_count)
    size = (*edges_of(voxel_size), float(limit))
    grid = (triton.cdiv(min(most_points, places), ELEMENTS), scan_count)
    keys = torch.full((places,), NO_KEY, dtype=torch.int64, device=pos.device)
    lows = torch.full((scan_count, 3), NO_CELL, dtype=torch.int32, device=pos.device)
    voxel_keys[grid](pos, tables, keys, lows, *size, 2 * limit + 1, L=width, E=ELEMENTS)
    keys, rows = torch.sort(keys, stable=True)
    blocks = triton.cdiv(places, ELEMENTS)
    marks = torch.empty(places, dtype=torch.int32, device=pos.device)
    mark_voxels[(blocks,)](keys, marks, places, E=ELEMENTS)
    numbers = torch.cumsum(marks, 0, dtype=torch.int32)
    coords = torch.empty(places, 3, dtype=torch.int32, device=pos.device)
    scans, point_voxels = (torch.empty(places, dtype=torch.int64, device=pos.device) for _ in range(2))
    voxel_x = torch.empty_like(x)
    write_voxels[(blocks,)](
        keys, rows, marks, numbers, pos, fields["batch"], x, lows, coords, scans, voxel_x, point_voxels,
        counts, places, channels, *size, E=ELEMENTS,
    )  # fmt: skip
    return {
        "voxel_coords": coords,
        "voxel_coords_batch": scans,
        "voxel_x": voxel_x,
        "voxel_to_pc_id": point_voxels,
    }

"""Last of the transforms on a GPU: voxels of points whose number the host does not know yet, in Triton.

B scans, T points of the network's input in P places, V voxels, C channels. In the kernels E is a block of
elements.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.transforms.fused_kernels import LOWS, SUMS, TABLE_ROWS, summed
from also_selfsup.transforms.fused_points import NO_KEY, cell_of
from also_selfsup.transforms.launch import Launcher


@triton.jit
def _leads(keys, places, E: tl.constexpr):
    """Places of a block in the order of keys, which of them hold a point, which the first of a voxel."""
    place = tl.program_id(0) * E + tl.arange(0, E)
    inside = place < places
    key = tl.load(keys + place, mask=inside, other=NO_KEY)
    before = tl.load(keys + place - 1, mask=inside & (place > 0), other=NO_KEY)
    return place, key != NO_KEY, (key != NO_KEY) & (key != before)


@triton.jit(do_not_specialize=["places"])
def count_voxels(keys, tables, places, L: tl.constexpr, E: tl.constexpr):
    """How many voxels begin in each block."""
    _, _, first = _leads(keys, places, E)
    tl.store(tables + TABLE_ROWS * L + tl.program_id(0), tl.sum(first.to(tl.int32), 0))


@triton.jit(do_not_specialize=["places"])
def write_voxels(
    keys, rows, tables, counts, floats, whole, coords, places, size_x, size_y, size_z, limit,
    C: tl.constexpr, L: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Cells, scans and inputs of the voxels, the voxel of each point, and V as the third of `counts`."""
    place, inside, first = _leads(keys, places, E)
    row = tl.load(rows + place, mask=inside, other=0)
    total = summed(tables + TABLE_ROWS * L, 0, tl.program_id(0), SUMS) + tl.cumsum(first.to(tl.int32), 0)
    voxel, length = total - 1, places.to(tl.int64)
    tl.store(whole + length + row, voxel.to(tl.int64), mask=inside)
    scan = tl.load(whole + row, mask=first, other=0)
    tl.store(whole + 2 * length + voxel, scan, mask=first)
    low = tables + LOWS * L + scan
    for axis in tl.static_range(3):
        pos = tl.load(floats + row * 3 + axis, mask=first, other=0.0)
        cell = cell_of(pos, size_x if axis == 0 else size_y if axis == 1 else size_z, limit)
        cell -= tl.load(low + axis * L, mask=first, other=0)
        tl.store(coords + voxel * 3 + axis, cell, mask=first)
    x, voxel_x = floats + 4 * length, floats + (4 + C) * length
    for channel in tl.static_range(C):
        value = tl.load(x + row * C + channel, mask=first, other=0.0)
        tl.store(voxel_x + voxel * C + channel, value, mask=first)
    if tl.program_id(0) == tl.num_programs(0) - 1:
        tl.store(counts + 2, tl.max(total, 0).to(tl.int64))


launch_count_voxels = Launcher(count_voxels)
launch_write_voxels = Launcher(write_voxels)

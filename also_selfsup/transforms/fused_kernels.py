"""The transforms on a GPU, their first kernels: which points decimation keeps, around a sort by cell.

B scans, N points, K points kept by decimation, T points of the network's input, Q queries, V voxels.

Sizes that depend on the data stay on the device, in tables of (14, L) int32 with a column a scan. A running
sum takes two launches: one notes the sum of each block, the next adds up those of the blocks before its own.
In the kernels E is a block of elements.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.transforms.launch import Launcher

# Rows of the tables: where a scan begins in a list, and how many it has there.
KEPT_START, KEPT, KEPT_BITS = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
USABLE_START, USABLE, USABLE_BITS = tl.constexpr(3), tl.constexpr(4), tl.constexpr(5)
POINT_START, POINTS = tl.constexpr(6), tl.constexpr(7)
QUERY_START, BEHIND, FREE = tl.constexpr(8), tl.constexpr(9), tl.constexpr(10)
# Three rows: the smallest voxel of a scan along each axis. Sums of blocks follow.
LOWS = tl.constexpr(11)
TABLE_ROWS = tl.constexpr(14)
# What no cell number reaches.
NO_CELL = tl.constexpr(2**31 - 1)
# Marks of a place in the order of cells: its point is the first of its cell; it has a ray, too.
_FIRST, _USABLE = tl.constexpr(1), tl.constexpr(2)
# Sums that are read together.
SUMS = tl.constexpr(512)


@triton.jit
def limited(pos, size, limit):
    """Position in units of the cell, divided as IEEE says and limited as `cells.continuous_cells` does."""
    return tl.minimum(tl.maximum(tl.div_rn(pos, size), -limit), limit)


@triton.jit
def summed(numbers, begin, end, W: tl.constexpr):
    """The sum of int32 numbers from one place to another, W read together."""
    found = tl.zeros((W,), tl.int32)
    for first in range(begin, end, W):
        place = first + tl.arange(0, W)
        found += tl.load(numbers + place, mask=place < end, other=0)
    return tl.sum(found, 0)


@triton.jit
def _bits(count):
    """The least number of bits with 2**bits >= count."""
    bits = tl.zeros_like(count)
    for power in range(31):
        bits += ((tl.full((), 1, tl.int32) << power) < count).to(tl.int32)
    return bits


@triton.jit(do_not_specialize=["count", "side"])
def cell_keys(
    pos, batch, keys, tables, count, size_x, size_y, size_z, limit, side, L: tl.constexpr, E: tl.constexpr
):  # fmt: skip
    """(N,) int64 by scan and cell, cells truncated towards zero; and the tables' counts made ready."""
    row = tl.program_id(0) * E + tl.arange(0, E)
    inside = row < count
    x = limited(tl.load(pos + row * 3, mask=inside, other=0.0), size_x, limit).to(tl.int64)
    y = limited(tl.load(pos + row * 3 + 1, mask=inside, other=0.0), size_y, limit).to(tl.int64)
    z = limited(tl.load(pos + row * 3 + 2, mask=inside, other=0.0), size_z, limit).to(tl.int64)
    scan = tl.load(batch + row, mask=inside, other=0)
    tl.store(keys + row, ((scan * side + x) * side + y) * side + z, mask=inside)
    if tl.program_id(0) == 0:
        column = tl.arange(0, L)
        tl.store(tables + KEPT * L + column, 0)
        tl.store(tables + USABLE * L + column, 0)
        for axis in tl.static_range(3):
            tl.store(tables + (LOWS + axis) * L + column, NO_CELL)


@triton.jit(do_not_specialize=["count"])
def mark_kept(
    keys, rows, pos, batch, sensor, marks, tables, count, nearest, L: tl.constexpr, E: tl.constexpr
):  # fmt: skip
    """(N,) int8 in the order of cells, and how many of each kind a block and a scan have."""
    place = tl.program_id(0) * E + tl.arange(0, E)
    inside = place < count
    key = tl.load(keys + place, mask=inside, other=0)
    before = tl.load(keys + place - 1, mask=inside & (place > 0), other=0)
    first = inside & ((place == 0) | (key != before))
    row = tl.load(rows + place, mask=first, other=0)
    scan = tl.load(batch + row, mask=first, other=0).to(tl.int32)
    start = sensor + scan * 3
    x = tl.load(pos + row * 3, mask=first, other=0.0) - tl.load(start, mask=first, other=0.0)
    y = tl.load(pos + row * 3 + 1, mask=first, other=0.0) - tl.load(start + 1, mask=first, other=0.0)
    z = tl.load(pos + row * 3 + 2, mask=first, other=0.0) - tl.load(start + 2, mask=first, other=0.0)
    usable = first & (tl.sqrt_rn(x * x + y * y + z * z) >= nearest)
    tl.store(marks + place, tl.where(first, _FIRST, 0) + tl.where(usable, _USABLE, 0), mask=inside)
    sums = tables + TABLE_ROWS * L + tl.program_id(0)
    tl.store(sums, tl.sum(first.to(tl.int32), 0))
    tl.store(sums + tl.num_programs(0), tl.sum(usable.to(tl.int32), 0))
    # Scans ascend in the order of cells: a block meets one or two.
    for number in range(tl.min(tl.where(first, scan, L), 0), tl.max(tl.where(first, scan, -1), 0) + 1):
        here = scan == number
        tl.atomic_add(tables + KEPT * L + number, tl.sum((first & here).to(tl.int32), 0))
        tl.atomic_add(tables + USABLE * L + number, tl.sum((usable & here).to(tl.int32), 0))


@triton.jit(do_not_specialize=["count", "most_points", "most_behind", "most_free"])
def list_kept(
    marks, rows, lists, tables, counts, count, most_points, most_behind, most_free,
    L: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """(2, N) int32, by scan: rows of the points kept, and of those among them that have a ray; the tables."""
    program = tl.program_id(0)
    place = program * E + tl.arange(0, E)
    inside = place < count
    mark = tl.load(marks + place, mask=inside, other=0).to(tl.int32)
    kept, usable = mark & _FIRST, mark // _USABLE
    row = tl.load(rows + place, mask=kept > 0, other=0).to(tl.int32)
    sums = tables + TABLE_ROWS * L
    number = summed(sums, 0, program, SUMS) + tl.cumsum(kept, 0) - 1
    tl.store(lists + number, row, mask=kept > 0)
    number = summed(sums + tl.num_programs(0), 0, program, SUMS) + tl.cumsum(usable, 0) - 1
    tl.store(lists + count + number, row, mask=usable > 0)
    if program == 0:
        _count_all(tables, counts, most_points, most_behind, most_free, L)


@triton.jit
def _count_all(tables, counts, most_points, most_behind, most_free, L: tl.constexpr):
    """The tables, and T and Q as the first two of `counts`."""
    scan = tl.arange(0, L)
    kept, usable = tl.load(tables + KEPT * L + scan), tl.load(tables + USABLE * L + scan)
    points = tl.minimum(kept, most_points)
    behind, free = tl.minimum(usable, most_behind), tl.minimum(usable, most_free)
    queries = behind + 2 * free
    tl.store(tables + KEPT_START * L + scan, tl.cumsum(kept, 0) - kept)
    tl.store(tables + KEPT_BITS * L + scan, _bits(kept))
    tl.store(tables + USABLE_START * L + scan, tl.cumsum(usable, 0) - usable)
    tl.store(tables + USABLE_BITS * L + scan, _bits(usable))
    tl.store(tables + POINT_START * L + scan, tl.cumsum(points, 0) - points)
    tl.store(tables + POINTS * L + scan, points)
    tl.store(tables + QUERY_START * L + scan, tl.cumsum(queries, 0) - queries)
    tl.store(tables + BEHIND * L + scan, behind)
    tl.store(tables + FREE * L + scan, free)
    tl.store(counts, tl.sum(points, 0).to(tl.int64))
    tl.store(counts + 1, tl.sum(queries, 0).to(tl.int64))
    tl.store(counts + 2, tl.zeros((), tl.int64))


launch_cell_keys = Launcher(cell_keys)
launch_mark_kept = Launcher(mark_kept)
launch_list_kept = Launcher(list_kept)

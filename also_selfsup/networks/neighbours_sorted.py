"""Before the decoder on a GPU, the first kernels of the search: the supports in the order of their cells.

Letters: M supports, D axes of the distance (2 or 3), B rows of a block.

Supports are sorted by the number of their cell. A column (all cells that differ in the last axis only) has a
tag, linear in its cell, so that no two of the columns around a query share one. Numbers run along a column
and round a circle, from a place that is a hash of the tag: columns may share numbers, and a candidate is
known by its tag. So the cloud may have any extent, which nobody has to measure.

What comes out lies in two tensors, in parts of M. One has the coordinates, axis by axis; the other, int32,
columns, scans, places in the shuffle and rows of the sorted supports, then for each number of a cell where
its supports begin, then zeros for sums of pairs.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.transforms.fused_kernels import summed
from also_selfsup.transforms.launch import Launcher

# Sums that are read together.
TOGETHER = tl.constexpr(256)


@triton.jit
def mixed(number):
    """A bijection of 32 bits, each of which depends on all of them."""
    number = number.to(tl.uint32)
    number ^= number >> 16
    number *= 0x7FEB352D
    number ^= number >> 15
    number *= 0x846CA68B
    number ^= number >> 16
    return number.to(tl.int32)


@triton.jit
def _cell(pos, row, inside, INVERSE: tl.constexpr, AXIS: tl.constexpr):
    value = tl.load(pos + row * 3 + AXIS, mask=inside, other=0.0).to(tl.float64)
    return tl.floor(value * INVERSE).to(tl.int64).to(tl.int32)


@triton.jit
def column(pos, batch, row, inside, INVERSE: tl.constexpr, D: tl.constexpr):
    """Tags of the columns that rows of `pos` lie in, and their cells along the last axis."""
    tag = tl.load(batch + row, mask=inside, other=0).to(tl.int32) * 0x2545F491
    tag += _cell(pos, row, inside, INVERSE, 0) * 0x1B873593
    if D == 3:
        tag += _cell(pos, row, inside, INVERSE, 1) * 0x19D699A5
    return tag, _cell(pos, row, inside, INVERSE, D - 1)


@triton.jit
def not_finite(pos, row, inside, D: tl.constexpr):
    """Which rows of `pos` have a coordinate that is none."""
    spoiled = inside & False
    for axis in tl.static_range(D):
        value = tl.load(pos + row * 3 + axis, mask=inside, other=0.0)
        spoiled = spoiled | (tl.abs(value) == float("inf")) | (value != value)
    return spoiled


@triton.jit(do_not_specialize=["count", "circle"])
def _key_kernel(
    pos, batch, keys, flags, count, circle, INVERSE: tl.constexpr, D: tl.constexpr, B: tl.constexpr
):  # fmt: skip
    # Number of the cell of every support, and how many of a block are not finite.
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    tag, along = column(pos, batch, row, inside, INVERSE, D)
    tl.store(keys + row, (mixed(tag) + along) & (circle - 1), mask=inside)
    spoiled = tl.sum(not_finite(pos, row, inside, D).to(tl.int32), 0)
    tl.store(flags + tl.program_id(0), spoiled)


@triton.jit(do_not_specialize=["count", "circle", "groups"])
def _sort_kernel(
    order, keys, pos, batch, seeds, flags, points, records, numbers, count, circle, groups,
    INVERSE: tl.constexpr, D: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # The supports in the order of their cells, each with its row and its place in a shuffle of all; by other
    # programs, where the supports of each number begin. What sums are added to begins with 0.
    program, blocks = tl.program_id(0), (count + B - 1) // B
    place = program * B + tl.arange(0, B)
    if program < blocks:
        inside = place < count
        row = tl.load(order + place, mask=inside, other=0).to(tl.int32)
        for axis in tl.static_range(D):
            value = tl.load(pos + row * 3 + axis, mask=inside, other=0.0)
            tl.store(points + axis * count + place, value, mask=inside)
        tag, _ = column(pos, batch, row, inside, INVERSE, D)
        scan = tl.load(batch + row, mask=inside, other=0).to(tl.int32)
        first, second = tl.load(seeds).to(tl.int32), tl.load(seeds + 1).to(tl.int32)
        tl.store(records + place, tag, mask=inside)
        tl.store(records + count + place, scan, mask=inside)
        tl.store(records + 2 * count + place, mixed(mixed(row ^ first) ^ second), mask=inside)
        tl.store(records + 3 * count + place, row, mask=inside)
    else:
        number = place - blocks * B
        low, high = tl.zeros((B,), tl.int32), tl.zeros((B,), tl.int32) + count
        step = count
        while step > 0:
            middle = (low + high) // 2
            key = tl.load(keys + middle, mask=low < high, other=0)
            below = (low < high) & (key < number)
            low, high = tl.where(below, middle + 1, low), tl.where(below, high, tl.minimum(middle, high))
            step //= 2
        starts = records + 4 * count
        tl.store(starts + number, low, mask=number <= circle)
        number -= circle + 1
        tl.store(starts + circle + 1 + number, 0, mask=(number >= 0) & (number < groups))
    if program == 0:
        spoiled = summed(flags, 0, blocks, TOGETHER)
        tl.store(numbers + 1, (spoiled > 0).to(tl.int32))


launch_keys, launch_sort = Launcher(_key_kernel), Launcher(_sort_kernel)

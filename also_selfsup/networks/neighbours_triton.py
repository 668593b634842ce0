"""Before the decoder on a GPU, the kernels of the search: which supports lie within a radius of which query.

Letters: Q queries, M supports, R ranges of neighbour cells (9 in space, 3 in the plane, filled up to a power
of two), D axes of the distance (2 or 3), W candidates of a range at a time, B rows of a block.

Supports are sorted by the number of their cell. A column (all cells that differ in the last axis only) has a
tag, linear in its cell, so that no two of the columns around a query share one. Numbers run along a column
and round a circle, from a place that is a hash of the tag: columns may share numbers, and a candidate is
known by its tag. So the cloud may have any extent, which nobody has to measure.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.sparseconv.native.gpu.launch import Launcher


@triton.jit
def _mixed(number):
    # A bijection of 32 bits, each of which depends on all of them.
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
def _column(pos, batch, row, inside, INVERSE: tl.constexpr, D: tl.constexpr):
    tag = tl.load(batch + row, mask=inside, other=0).to(tl.int32) * 0x2545F491
    tag += _cell(pos, row, inside, INVERSE, 0) * 0x1B873593
    if D == 3:
        tag += _cell(pos, row, inside, INVERSE, 1) * 0x19D699A5
    return tag, _cell(pos, row, inside, INVERSE, D - 1)


@triton.jit
def _note_not_finite(pos, row, inside, numbers, D: tl.constexpr):
    spoiled = inside & False
    for axis in tl.static_range(D):
        value = tl.load(pos + row * 3 + axis, mask=inside, other=0.0)
        spoiled = spoiled | (tl.abs(value) == float("inf")) | (value != value)
    tl.store(numbers + 1 + row * 0, 1, mask=spoiled)


@triton.jit(do_not_specialize=["count", "circle"])
def _key_kernel(
    pos, batch, tags, keys, numbers, count, circle,
    INVERSE: tl.constexpr, D: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # Tag and number of the cell of every support.
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    tag, along = _column(pos, batch, row, inside, INVERSE, D)
    _note_not_finite(pos, row, inside, numbers, D)
    tl.store(tags + row, tag, mask=inside)
    tl.store(keys + row, (_mixed(tag) + along) & (circle - 1), mask=inside)


@triton.jit(do_not_specialize=["count"])
def _sort_kernel(
    order, pos, batch, tags, seeds, points, columns, scans, ids, ranks, count,
    D: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # The supports in the order of their cells, each with its row and its place in a shuffle of all.
    place = tl.program_id(0) * B + tl.arange(0, B)
    inside = place < count
    row = tl.load(order + place, mask=inside, other=0).to(tl.int32)
    for axis in tl.static_range(D):
        value = tl.load(pos + row * 3 + axis, mask=inside, other=0.0)
        tl.store(points + axis * count + place, value, mask=inside)
    tl.store(columns + place, tl.load(tags + row, mask=inside, other=0), mask=inside)
    tl.store(scans + place, tl.load(batch + row, mask=inside, other=0).to(tl.int32), mask=inside)
    tl.store(ids + place, row, mask=inside)
    first, second = tl.load(seeds).to(tl.int32), tl.load(seeds + 1).to(tl.int32)
    tl.store(ranks + place, _mixed(_mixed(row ^ first) ^ second), mask=inside)


@triton.jit
def _ranges(
    pos, batch, query, starts, supports, circle, INVERSE: tl.constexpr, D: tl.constexpr, R: tl.constexpr
):
    # Where the supports of the three cells of each column around a query begin, how many, and the tag.
    number = tl.arange(0, R)
    tag, along = _column(pos, batch, query, True, INVERSE, D)
    if D == 3:
        known = number < 9
        tag += (number // 3 - 1) * 0x1B873593 + (number % 3 - 1) * 0x19D699A5
    else:
        known = number < 3
        tag += (number - 1) * 0x1B873593
    first = (_mixed(tag) + along - 1) & (circle - 1)
    last = first + 3
    begin = tl.load(starts + first, mask=known, other=0)
    end = tl.load(starts + tl.where(last > circle, last - circle, last), mask=known, other=0)
    end += tl.where(known & (last > circle), supports, 0)
    return begin, end - begin, tag


@triton.jit
def _look(
    place, begin, length, tag, query, pos, batch, points, columns, scans, supports,
    SQUARED: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    # The candidates (R, W) at some places of the ranges: where they stand, and whether they are in the ball.
    known = place[None, :] < length[:, None]
    index = begin[:, None] + place[None, :]
    index = tl.where(index >= supports, index - supports, index)
    apart = tl.load(pos + query * 3) - tl.load(points + index, mask=known, other=0.0)
    distance = apart * apart
    for axis in tl.static_range(1, D):
        other = tl.load(points + axis * supports + index, mask=known, other=0.0)
        apart = tl.load(pos + query * 3 + axis) - other
        distance += apart * apart
    scan = tl.load(batch + query).to(tl.int32)
    same = tl.load(columns + index, mask=known, other=0) == tag[:, None]
    same = same & (tl.load(scans + index, mask=known, other=0) == scan)
    return index, known & same & (distance < SQUARED)


@triton.jit
def _total(hits):
    return tl.sum(tl.sum(hits.to(tl.int32), 1), 0)


@triton.jit(do_not_specialize=["supports", "circle", "limit"])
def _count_kernel(
    pos, batch, starts, points, columns, scans, ranks, numbers, counts, thresholds, supports, circle, limit,
    INVERSE: tl.constexpr, SQUARED: tl.constexpr, D: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    # How many supports a query keeps, and below which place in the shuffle: one program a query.
    query = tl.program_id(0)
    begin, length, tag = _ranges(pos, batch, query, starts, supports, circle, INVERSE, D, R)
    _note_not_finite(pos, query + tl.arange(0, 1), tl.arange(0, 1) == 0, numbers, D)
    longest = tl.max(length, 0)
    found = tl.zeros((), tl.int32)
    for offset in range(0, longest, W):
        place = offset + tl.arange(0, W)
        _, hits = _look(
            place, begin, length, tag, query, pos, batch, points, columns, scans, supports, SQUARED, D
        )
        found += _total(hits)
    # Places in the shuffle are uniform in [-2**31, 2**31) and none occurs twice: guess by proportion, later
    # by halving, until exactly as many lie below as are to be kept.
    target = tl.minimum(found, limit)
    low, high = tl.full((), -(2**31), tl.int64), tl.full((), 2**31, tl.int64)
    below_low, below_high = tl.zeros((), tl.int32), found
    threshold, below, step = high, found, 0
    while below != target:
        share = (high - low) * (2 * (target - below_low) + 1) // (2 * (below_high - below_low))
        threshold = low + tl.where(step < 8, share, (high - low) // 2)
        threshold = tl.minimum(tl.maximum(threshold, low + 1), high - 1)
        below = tl.zeros((), tl.int32)
        for offset in range(0, longest, W):
            place = offset + tl.arange(0, W)
            index, hits = _look(
                place, begin, length, tag, query, pos, batch, points, columns, scans, supports, SQUARED, D
            )
            below += _total(hits & (tl.load(ranks + index, mask=hits, other=0) < threshold))
        low, below_low = tl.where(below < target, threshold, low), tl.where(below < target, below, below_low)
        high, below_high = (
            tl.where(below < target, high, threshold),
            tl.where(below < target, below_high, below),
        )
        step += 1
    tl.store(counts + query, below)
    tl.store(thresholds + query, threshold)


@triton.jit(do_not_specialize=["supports", "circle"])
def _list_kernel(
    pos, batch, starts, points, columns, scans, ranks, ids, counts, ends, thresholds,
    numbers, pair_query, pair_support, keys, supports, circle,
    INVERSE: tl.constexpr, SQUARED: tl.constexpr, D: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    # Write the pairs of a query behind those of the queries before it; the last one says how many.
    query = tl.program_id(0)
    begin, length, tag = _ranges(pos, batch, query, starts, supports, circle, INVERSE, D, R)
    threshold = tl.load(thresholds + query)
    end = tl.load(ends + query)
    first = end - tl.load(counts + query)
    for offset in range(0, tl.max(length, 0), W):
        place = offset + tl.arange(0, W)
        index, hits = _look(
            place, begin, length, tag, query, pos, batch, points, columns, scans, supports, SQUARED, D
        )
        hits = hits & (tl.load(ranks + index, mask=hits, other=0) < threshold)
        kept = hits.to(tl.int32)
        rows = tl.sum(kept, 1)
        pair = first + (tl.cumsum(rows, 0) - rows)[:, None] + tl.cumsum(kept, 1) - kept
        support = tl.load(ids + index, mask=hits, other=0)
        tl.store(pair_query + pair, query.to(tl.int64), mask=hits)
        tl.store(pair_support + pair, support.to(tl.int64), mask=hits)
        tl.store(keys + pair, support, mask=hits)
        first += tl.sum(rows, 0)
    tl.store(numbers, end, mask=query == tl.num_programs(0) - 1)


launch_keys, launch_sort = Launcher(_key_kernel), Launcher(_sort_kernel)
launch_count, launch_list = Launcher(_count_kernel), Launcher(_list_kernel)

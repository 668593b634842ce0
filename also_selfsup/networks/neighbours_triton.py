"""Before the decoder on a GPU, the kernels of the search: which supports lie within a radius of which query.

Letters: Q queries, M supports, P pairs of at most C, R ranges of neighbour cells (9 in space, 3 in the plane,
filled up to a power of two), D axes of the distance (2 or 3), W candidates of a range at a time.

`points` and `records` are what `neighbours_sorted` has made. The zeros at the end of `records` become the
numbers of pairs of groups of queries.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.networks.neighbours_sorted import TOGETHER, column, mixed, not_finite
from also_selfsup.transforms.fused_kernels import summed
from also_selfsup.transforms.launch import Launcher

# Queries whose pairs are summed in one number.
GROUP = tl.constexpr(256)
# Places that are filled together.
_FILLED = tl.constexpr(32)


@triton.jit
def _ranges(
    pos, batch, query, starts, supports, circle, INVERSE: tl.constexpr, D: tl.constexpr, R: tl.constexpr
):
    # Where the supports of the three cells of each column around a query begin, how many, and the tag.
    number = tl.arange(0, R)
    tag, along = column(pos, batch, query, True, INVERSE, D)
    if D == 3:
        known = number < 9
        tag += (number // 3 - 1) * 0x1B873593 + (number % 3 - 1) * 0x19D699A5
    else:
        known = number < 3
        tag += (number - 1) * 0x1B873593
    first = (mixed(tag) + along - 1) & (circle - 1)
    last = first + 3
    begin = tl.load(starts + first, mask=known, other=0)
    end = tl.load(starts + tl.where(last > circle, last - circle, last), mask=known, other=0)
    end += tl.where(known & (last > circle), supports, 0)
    return begin, end - begin, tag


@triton.jit
def _look(
    place, begin, length, tag, query, pos, batch, points, records, supports,
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
    same = tl.load(records + index, mask=known, other=0) == tag[:, None]
    same = same & (tl.load(records + supports + index, mask=known, other=0) == scan)
    return index, known & same & (distance < SQUARED)


@triton.jit
def _total(hits):
    return tl.sum(tl.sum(hits.to(tl.int32), 1), 0)


@triton.jit(do_not_specialize=["supports", "circle", "limit"])
def _count_kernel(
    pos, batch, points, records, numbers, counts, thresholds, supports, circle, limit,
    INVERSE: tl.constexpr, SQUARED: tl.constexpr, D: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    # How many supports a query keeps, and below which place in the shuffle: one program a query.
    query = tl.program_id(0)
    starts = records + 4 * supports
    begin, length, tag = _ranges(pos, batch, query, starts, supports, circle, INVERSE, D, R)
    row = query + tl.arange(0, 1)
    tl.store(numbers + 1 + row * 0, 1, mask=not_finite(pos, row, row == query, D))
    longest = tl.max(length, 0)
    found = tl.zeros((), tl.int32)
    for offset in range(0, longest, W):
        place = offset + tl.arange(0, W)
        _, hits = _look(place, begin, length, tag, query, pos, batch, points, records, supports, SQUARED, D)
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
                place, begin, length, tag, query, pos, batch, points, records, supports, SQUARED, D
            )
            below += _total(hits & (tl.load(records + 2 * supports + index, mask=hits, other=0) < threshold))
        low, below_low = tl.where(below < target, threshold, low), tl.where(below < target, below, below_low)
        high, below_high = (
            tl.where(below < target, high, threshold),
            tl.where(below < target, below_high, below),
        )
        step += 1
    tl.store(counts + query, below)
    tl.atomic_add(starts + circle + 1 + query // GROUP, below)
    tl.store(thresholds + query, threshold)


@triton.jit(do_not_specialize=["supports", "circle", "limit"])
def _list_kernel(
    pos, batch, points, records, counts, thresholds, numbers, found, keys, supports, circle, limit,
    INVERSE: tl.constexpr, SQUARED: tl.constexpr, D: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    # Write the pairs of a query behind those of the queries before it; the last one says how many. Its part
    # of the places behind all pairs is filled with what stands for none.
    query, queries = tl.program_id(0), tl.num_programs(0)
    starts = records + 4 * supports
    sums, group = starts + circle + 1, query // GROUP
    begin, length, tag = _ranges(pos, batch, query, starts, supports, circle, INVERSE, D, R)
    threshold, count = tl.load(thresholds + query), tl.load(counts + query)
    first = summed(sums, 0, group, TOGETHER) + summed(counts, group * GROUP, query, TOGETHER)
    room = queries * limit
    _fill(
        found, keys, summed(sums, 0, (queries + GROUP - 1) // GROUP, TOGETHER) + query * limit - first,
        limit - count, room, supports,
    )  # fmt: skip
    tl.store(numbers, first + count, mask=query == queries - 1)
    for offset in range(0, tl.max(length, 0), W):
        place = offset + tl.arange(0, W)
        index, hits = _look(
            place, begin, length, tag, query, pos, batch, points, records, supports, SQUARED, D
        )
        hits = hits & (tl.load(records + 2 * supports + index, mask=hits, other=0) < threshold)
        kept = hits.to(tl.int32)
        rows = tl.sum(kept, 1)
        pair = first + (tl.cumsum(rows, 0) - rows)[:, None] + tl.cumsum(kept, 1) - kept
        support = tl.load(records + 3 * supports + index, mask=hits, other=0)
        tl.store(found + pair, query.to(tl.int64), mask=hits)
        tl.store(found + room + pair, support.to(tl.int64), mask=hits)
        tl.store(keys + pair, support, mask=hits)
        first += tl.sum(rows, 0)


@triton.jit
def _fill(found, keys, begin, count, room, supports):
    # No pairs, at so many places.
    for offset in range(0, count, _FILLED):
        place = offset + tl.arange(0, _FILLED)
        inside = place < count
        tl.store(found + begin + place, -1, mask=inside)
        tl.store(found + room + begin + place, -1, mask=inside)
        tl.store(keys + begin + place, supports, mask=inside)


launch_count, launch_list = Launcher(_count_kernel), Launcher(_list_kernel)

"""The transforms on a GPU, their arithmetic: a Triton kernel between two sorts or sums, all scans at once.

B scans, N points, K points kept by decimation, T points of the network's input, Q queries, V voxels.

Sizes that depend on the data stay on the device, in tables of (11, L) int32 with a column a scan. In the
kernels E is a block of elements.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.transforms.permutation import permuted

# Rows of the tables: where a scan begins in a list, and how many it has there.
KEPT_START, KEPT, KEPT_BITS = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
USABLE_START, USABLE, USABLE_BITS = tl.constexpr(3), tl.constexpr(4), tl.constexpr(5)
POINT_START, POINTS = tl.constexpr(6), tl.constexpr(7)
QUERY_START, BEHIND, FREE = tl.constexpr(8), tl.constexpr(9), tl.constexpr(10)
TABLE_ROWS = 11
# Two counts in one running sum: kept points below, usable ones above.
_HALF = tl.constexpr(32)
_LOW_HALF = tl.constexpr(2**32 - 1)


@triton.jit
def limited(pos, size, limit):
    """Position in units of the cell, divided as IEEE says and limited as `cells.continuous_cells` does."""
    return tl.minimum(tl.maximum(tl.div_rn(pos, size), -limit), limit)


@triton.jit
def _bits(count):
    """The least number of bits with 2**bits >= count."""
    bits = tl.zeros_like(count)
    for power in range(31):
        bits += ((tl.full((), 1, tl.int32) << power) < count).to(tl.int32)
    return bits


@triton.jit
def _moved(x, y, cosines, sines, draws, scan, scan_count, ROTATE: tl.constexpr, FLIP: tl.constexpr):
    """Turn x and y about z by the scan's angle, then mirror in x where its draw says so."""
    if ROTATE:
        cos, sin = tl.load(cosines + scan), tl.load(sines + scan)
        x, y = cos * x - sin * y, sin * x + cos * y
    if FLIP:
        x = tl.where(tl.load(draws + scan_count + scan) < 0.5, -x, x)
    return x, y


@triton.jit(do_not_specialize=["count", "side"])
def cell_keys(pos, batch, keys, count, size_x, size_y, size_z, limit, side, E: tl.constexpr):
    """(N,) int64 by scan and cell, cells truncated towards zero."""
    row = tl.program_id(0) * E + tl.arange(0, E)
    inside = row < count
    x = limited(tl.load(pos + row * 3, mask=inside, other=0.0), size_x, limit).to(tl.int64)
    y = limited(tl.load(pos + row * 3 + 1, mask=inside, other=0.0), size_y, limit).to(tl.int64)
    z = limited(tl.load(pos + row * 3 + 2, mask=inside, other=0.0), size_z, limit).to(tl.int64)
    scan = tl.load(batch + row, mask=inside, other=0)
    tl.store(keys + row, ((scan * side + x) * side + y) * side + z, mask=inside)


@triton.jit(do_not_specialize=["count"])
def mark_kept(keys, rows, pos, batch, sensor, marks, count, nearest, E: tl.constexpr):
    """(N,) int64 in the order of cells: 1 for the first point of a cell, 2**32 more if it has a ray."""
    place = tl.program_id(0) * E + tl.arange(0, E)
    inside = place < count
    key = tl.load(keys + place, mask=inside, other=0)
    before = tl.load(keys + place - 1, mask=inside & (place > 0), other=0)
    first = inside & ((place == 0) | (key != before))
    row = tl.load(rows + place, mask=first, other=0)
    scan = tl.load(batch + row, mask=first, other=0)
    x = tl.load(pos + row * 3, mask=first, other=0.0) - tl.load(sensor + scan * 3, mask=first, other=0.0)
    y = tl.load(pos + row * 3 + 1, mask=first, other=0.0) - tl.load(
        sensor + scan * 3 + 1, mask=first, other=0.0
    )
    z = tl.load(pos + row * 3 + 2, mask=first, other=0.0) - tl.load(
        sensor + scan * 3 + 2, mask=first, other=0.0
    )
    usable = first & (tl.sqrt_rn(x * x + y * y + z * z) >= nearest)
    tl.store(marks + place, first.to(tl.int64) + (usable.to(tl.int64) << _HALF), mask=inside)


@triton.jit(do_not_specialize=["count"])
def list_kept(marks, totals, rows, kept_rows, usable_rows, count, E: tl.constexpr):
    """(K,) int32 rows of the points kept, and of those among them that have a ray, by scan."""
    place = tl.program_id(0) * E + tl.arange(0, E)
    inside = place < count
    mark = tl.load(marks + place, mask=inside, other=0)
    total = tl.load(totals + place, mask=inside, other=0)
    kept = (mark & _LOW_HALF) > 0
    row = tl.load(rows + place, mask=kept, other=0).to(tl.int32)
    tl.store(kept_rows + (total & _LOW_HALF) - 1, row, mask=kept)
    tl.store(usable_rows + (total >> _HALF) - 1, row, mask=(mark >> _HALF) > 0)


@triton.jit(do_not_specialize=["scan_count", "most_points", "most_behind", "most_free"])
def count_all(
    totals, starts, tables, counts, scan_count, most_points, most_behind, most_free, L: tl.constexpr
):  # fmt: skip
    """The tables, and T and Q as the first two of `counts`; one program."""
    scan = tl.arange(0, L)
    known = scan < scan_count
    begin = tl.load(starts + scan, mask=known, other=0)
    end = tl.load(starts + scan + 1, mask=known, other=0)
    before = tl.load(totals + begin - 1, mask=known & (begin > 0), other=0)
    until = tl.load(totals + end - 1, mask=known & (end > 0), other=0)
    kept_start, usable_start = (before & _LOW_HALF).to(tl.int32), (before >> _HALF).to(tl.int32)
    kept = (until & _LOW_HALF).to(tl.int32) - kept_start
    usable = (until >> _HALF).to(tl.int32) - usable_start
    points = tl.minimum(kept, most_points)
    behind, free = tl.minimum(usable, most_behind), tl.minimum(usable, most_free)
    queries = behind + 2 * free
    tl.store(tables + KEPT_START * L + scan, kept_start)
    tl.store(tables + KEPT * L + scan, kept)
    tl.store(tables + KEPT_BITS * L + scan, _bits(kept))
    tl.store(tables + USABLE_START * L + scan, usable_start)
    tl.store(tables + USABLE * L + scan, usable)
    tl.store(tables + USABLE_BITS * L + scan, _bits(usable))
    tl.store(tables + POINT_START * L + scan, tl.cumsum(points, 0) - points)
    tl.store(tables + POINTS * L + scan, points)
    tl.store(tables + QUERY_START * L + scan, tl.cumsum(queries, 0) - queries)
    tl.store(tables + BEHIND * L + scan, behind)
    tl.store(tables + FREE * L + scan, free)
    tl.store(counts, tl.sum(points, 0).to(tl.int64))
    tl.store(counts + 1, tl.sum(queries, 0).to(tl.int64))


@triton.jit(do_not_specialize=["scan_count"])
def thin_points(
    kept_rows, tables, keys, cosines, sines, draws, pos, intensities, labels, sensor,
    new_pos, new_intensities, new_labels, new_batch, new_sensor, scan_count,
    ROTATE: tl.constexpr, FLIP: tl.constexpr, LABELS: tl.constexpr, L: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """The points of the network's input, T of them, in random order by scan, moved; and the sensors."""
    scan, place = tl.program_id(1), tl.program_id(0) * E + tl.arange(0, E)
    inside = place < tl.load(tables + POINTS * L + scan)
    count, bits = tl.load(tables + KEPT * L + scan), tl.load(tables + KEPT_BITS * L + scan)
    number = permuted(place, count, bits, tl.load(keys + scan), inside)
    row = tl.load(kept_rows + tl.load(tables + KEPT_START * L + scan) + number, mask=inside, other=0)
    x = tl.load(pos + row * 3, mask=inside, other=0.0)
    y = tl.load(pos + row * 3 + 1, mask=inside, other=0.0)
    z = tl.load(pos + row * 3 + 2, mask=inside, other=0.0)
    x, y = _moved(x, y, cosines, sines, draws, scan, scan_count, ROTATE, FLIP)
    new = tl.load(tables + POINT_START * L + scan) + place
    tl.store(new_pos + new * 3, x, mask=inside)
    tl.store(new_pos + new * 3 + 1, y, mask=inside)
    tl.store(new_pos + new * 3 + 2, z, mask=inside)
    tl.store(new_intensities + new, tl.load(intensities + row, mask=inside, other=0.0), mask=inside)
    tl.store(new_batch + new, tl.zeros((E,), tl.int64) + scan, mask=inside)
    if LABELS:
        tl.store(new_labels + new, tl.load(labels + row, mask=inside, other=0), mask=inside)
    if tl.program_id(0) == 0:
        start_x, start_y = tl.load(sensor + scan * 3), tl.load(sensor + scan * 3 + 1)
        start_x, start_y = _moved(start_x, start_y, cosines, sines, draws, scan, scan_count, ROTATE, FLIP)
        tl.store(new_sensor + scan * 3, start_x)
        tl.store(new_sensor + scan * 3 + 1, start_y)
        tl.store(new_sensor + scan * 3 + 2, tl.load(sensor + scan * 3 + 2))


@triton.jit(do_not_specialize=["scan_count", "most"])
def draw_queries(
    usable_rows, tables, keys, cosines, sines, draws, pos, intensities, sensor,
    queries, query_batch, occupancies, query_intensities, distance, scan_count, most,
    ROTATE: tl.constexpr, FLIP: tl.constexpr, L: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """The queries, Q of them, by scan and kind (`occupancy.generate_queries`), moved."""
    scan, rank = tl.program_id(1), tl.program_id(0) * E + tl.arange(0, E)
    behind, free = tl.load(tables + BEHIND * L + scan), tl.load(tables + FREE * L + scan)
    inside = rank < behind + 2 * free
    occupied, far = rank < behind, rank >= behind + free
    count, bits = tl.load(tables + USABLE * L + scan), tl.load(tables + USABLE_BITS * L + scan)
    # Ranks walk through the random order, and begin anew where it ends: no kind meets a point twice.
    number = permuted(rank % tl.maximum(count, 1), count, bits, tl.load(keys + scan_count + scan), inside)
    row = tl.load(usable_rows + tl.load(tables + USABLE_START * L + scan) + number, mask=inside, other=0)
    start_x, start_y = tl.load(sensor + scan * 3), tl.load(sensor + scan * 3 + 1)
    start_z = tl.load(sensor + scan * 3 + 2)
    x = tl.load(pos + row * 3, mask=inside, other=0.0) - start_x
    y = tl.load(pos + row * 3 + 1, mask=inside, other=0.0) - start_y
    z = tl.load(pos + row * 3 + 2, mask=inside, other=0.0) - start_z
    depth = tl.sqrt_rn(x * x + y * y + z * z)
    u = tl.load(draws + 2 * scan_count + scan * most + rank, mask=inside, other=0.0)
    along = tl.where(far, u * depth, depth + tl.where(occupied, u, -u) * distance)
    part = tl.div_rn(along, tl.where(inside, depth, 1.0))
    x, y, z = start_x + x * part, start_y + y * part, start_z + z * part
    x, y = _moved(x, y, cosines, sines, draws, scan, scan_count, ROTATE, FLIP)
    new = tl.load(tables + QUERY_START * L + scan) + rank
    tl.store(queries + new * 3, x, mask=inside)
    tl.store(queries + new * 3 + 1, y, mask=inside)
    tl.store(queries + new * 3 + 2, z, mask=inside)
    tl.store(query_batch + new, tl.zeros((E,), tl.int64) + scan, mask=inside)
    tl.store(occupancies + new, occupied.to(tl.int64), mask=inside)
    intensity = tl.load(intensities + row, mask=inside & ~far, other=-1.0)
    tl.store(query_intensities + new, intensity, mask=inside)

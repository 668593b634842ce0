"""The transforms on a GPU, in the middle: the network's points and the queries, chosen and moved, in Triton.

B scans, N points, T points of the network's input in P places, Q queries in as many places as there may be, C
channels.

All results lie in two tensors, one of floats and one of integers, in parts of P or of Q's places: an
allocation costs the host as much as a launch. In the kernels E is a block of elements.
"""

# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.transforms.fused_kernels import (
    BEHIND,
    FREE,
    KEPT,
    KEPT_BITS,
    KEPT_START,
    LOWS,
    NO_CELL,
    POINT_START,
    POINTS,
    QUERY_START,
    USABLE,
    USABLE_BITS,
    USABLE_START,
    limited,
)
from also_selfsup.transforms.launch import Launcher
from also_selfsup.transforms.permutation import permuted

# What a place without a point sorts by.
NO_KEY = tl.constexpr(2**63 - 1)
# Adding and taking away 1.5 * 2**23 rounds a float32 below 2**22 to the nearest integer, halves to even.
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def cell_of(pos, size, limit):
    """round(pos / size) of one axis, halves to even."""
    return ((limited(pos, size, limit) + _ROUNDER) - _ROUNDER).to(tl.int32)


@triton.jit
def _moved(x, y, cosines, sines, draws, scan, scan_count, ROTATE: tl.constexpr, FLIP: tl.constexpr):
    """Turn x and y about z by the scan's angle, then mirror in x where its draw says so."""
    if ROTATE:
        cos, sin = tl.load(cosines + scan), tl.load(sines + scan)
        x, y = cos * x - sin * y, sin * x + cos * y
    if FLIP:
        x = tl.where(tl.load(draws + scan_count + scan) < 0.5, -x, x)
    return x, y


@triton.jit
def _store_key(
    x, y, z, number, inside, scan, keys, tables, counts, places, size_x, size_y, size_z, limit, side,
    L: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Sort keys (P,) by scan and voxel, and the smallest voxel of each scan and axis."""
    x, y, z = cell_of(x, size_x, limit), cell_of(y, size_y, limit), cell_of(z, size_z, limit)
    tl.atomic_min(tables + LOWS * L + scan, tl.min(tl.where(inside, x, NO_CELL), 0))
    tl.atomic_min(tables + (LOWS + 1) * L + scan, tl.min(tl.where(inside, y, NO_CELL), 0))
    tl.atomic_min(tables + (LOWS + 2) * L + scan, tl.min(tl.where(inside, z, NO_CELL), 0))
    start = tl.load(tables + POINT_START * L + scan)
    key = ((scan.to(tl.int64) * side + x) * side + y) * side + z
    tl.store(keys + start + number, key, mask=inside)
    # A scan's programs have more numbers than it has points; the others lie behind all points, by scan.
    spare = scan.to(tl.int64) * tl.num_programs(0) * E - start + number - tl.load(tables + POINTS * L + scan)
    place = tl.load(counts) + spare
    tl.store(keys + place, NO_KEY, mask=(~inside) & (place < places))


@triton.jit
def _thin(
    lists, tables, keys, cosines, sines, draws, pos, intensities, labels, sensor, floats, whole, new_labels,
    places, query_places, scan_count,
    ROTATE: tl.constexpr, FLIP: tl.constexpr, LABELS: tl.constexpr, C: tl.constexpr, AT_POS: tl.constexpr,
    AT_INTENSITY: tl.constexpr, VOXELS: tl.constexpr, L: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """The points of the network's input, T of them, in random order by scan, moved; and the sensors."""
    scan, number = tl.program_id(1), tl.program_id(0) * E + tl.arange(0, E)
    inside = number < tl.load(tables + POINTS * L + scan)
    count, bits = tl.load(tables + KEPT * L + scan), tl.load(tables + KEPT_BITS * L + scan)
    chosen = permuted(number, count, bits, tl.load(keys + scan), inside)
    row = tl.load(lists + tl.load(tables + KEPT_START * L + scan) + chosen, mask=inside, other=0)
    x = tl.load(pos + row * 3, mask=inside, other=0.0)
    y = tl.load(pos + row * 3 + 1, mask=inside, other=0.0)
    z = tl.load(pos + row * 3 + 2, mask=inside, other=0.0)
    x, y = _moved(x, y, cosines, sines, draws, scan, scan_count, ROTATE, FLIP)
    intensity = tl.load(intensities + row, mask=inside, other=0.0)
    new = tl.load(tables + POINT_START * L + scan) + number
    tl.store(floats + new * 3, x, mask=inside)
    tl.store(floats + new * 3 + 1, y, mask=inside)
    tl.store(floats + new * 3 + 2, z, mask=inside)
    floats += places.to(tl.int64) * 3
    tl.store(floats + new, intensity, mask=inside)
    floats += places
    for channel in tl.static_range(C):
        if AT_INTENSITY >> channel & 1:
            tl.store(floats + new * C + channel, intensity, mask=inside)
        if AT_POS >> channel & 1:
            tl.store(floats + new * C + channel, x, mask=inside)
            tl.store(floats + new * C + channel + 1, y, mask=inside)
            tl.store(floats + new * C + channel + 2, z, mask=inside)
    tl.store(whole + new, tl.zeros((E,), tl.int64) + scan, mask=inside)
    if LABELS:
        tl.store(new_labels + new, tl.load(labels + row, mask=inside, other=0), mask=inside)
    if tl.program_id(0) == 0:
        floats += places.to(tl.int64) * (2 * C if VOXELS else C) + query_places.to(tl.int64) * 4 + scan * 3
        start_x, start_y = tl.load(sensor + scan * 3), tl.load(sensor + scan * 3 + 1)
        start_x, start_y = _moved(start_x, start_y, cosines, sines, draws, scan, scan_count, ROTATE, FLIP)
        tl.store(floats, start_x)
        tl.store(floats + 1, start_y)
        tl.store(floats + 2, tl.load(sensor + scan * 3 + 2))
    return x, y, z, number, inside


@triton.jit
def _draw(
    usable_rows, tables, keys, cosines, sines, draws, pos, intensities, sensor, floats, whole,
    query_places, distance, scan_count, most,
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
    tl.store(floats + new * 3, x, mask=inside)
    tl.store(floats + new * 3 + 1, y, mask=inside)
    tl.store(floats + new * 3 + 2, z, mask=inside)
    intensity = tl.load(intensities + row, mask=inside & ~far, other=-1.0)
    tl.store(floats + query_places.to(tl.int64) * 3 + new, intensity, mask=inside)
    tl.store(whole + new, tl.zeros((E,), tl.int64) + scan, mask=inside)
    tl.store(whole + query_places + new, occupied.to(tl.int64), mask=inside)


@triton.jit(do_not_specialize=["count", "places", "query_places", "scan_count", "most", "side"])
def choose_points(
    lists, tables, counts, keys, cosines, sines, draws, pos, intensities, labels, sensor,
    floats, whole, new_labels, voxel_keys, count, places, query_places, scan_count, most, side,
    distance, size_x, size_y, size_z, limit,
    ROTATE: tl.constexpr, FLIP: tl.constexpr, LABELS: tl.constexpr, C: tl.constexpr, AT_POS: tl.constexpr,
    AT_INTENSITY: tl.constexpr, VOXELS: tl.constexpr, L: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Points, queries and sort keys of voxels. Programs: blocks of elements, scans, points or queries."""
    if tl.program_id(2) == 0:
        x, y, z, number, inside = _thin(
            lists, tables, keys, cosines, sines, draws, pos, intensities, labels, sensor,
            floats, whole, new_labels, places, query_places, scan_count,
            ROTATE, FLIP, LABELS, C, AT_POS, AT_INTENSITY, VOXELS, L, E,
        )  # fmt: skip
        if VOXELS:
            _store_key(
                x, y, z, number, inside, tl.program_id(1), voxel_keys, tables, counts, places,
                size_x, size_y, size_z, limit, side, L, E,
            )  # fmt: skip
    else:
        floats += places.to(tl.int64) * (4 + 2 * C if VOXELS else 4 + C)
        whole += places.to(tl.int64) * (3 if VOXELS else 1)
        _draw(
            lists + count, tables, keys, cosines, sines, draws, pos, intensities, sensor,
            floats, whole, query_places, distance, scan_count, most, ROTATE, FLIP, L, E,
        )  # fmt: skip


launch_choose_points = Launcher(choose_points)

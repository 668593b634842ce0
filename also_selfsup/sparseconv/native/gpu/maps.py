"""Native backend on a GPU, the cells: who is whose neighbour, parent and child, in Triton.

Letters: V voxels (rows), K cells of a kernel, V' coarse voxels.

A table (K, V) holds the input row of each output row and kernel cell, -1 where there is none. The host reads
nothing here but the number of coarse cells. In the kernels B is a block of rows.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.interface import Geometry
from also_selfsup.sparseconv.native.levels import MARGIN, Level, Numbering
from also_selfsup.transforms.launch import Launcher

ROWS = 256


@triton.jit(do_not_specialize=["count", "step_x", "step_y", "searches"])
def _neighbour_kernel(
    numbers, ascending, rows, codes, table, keys, count, step_x, step_y, searches,
    SORTED: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    number = tl.load(numbers + row, mask=inside, other=0)
    key = tl.zeros((B,), dtype=tl.int32)
    for column in range(9):
        y, x = column // 3 - 1, column % 3 - 1
        target = number + x * step_x + y * step_y - 1
        low = tl.zeros((B,), dtype=tl.int32)
        high = low + count
        for _ in range(searches):
            middle = (low + high) // 2
            smaller = tl.load(ascending + middle, mask=middle < high, other=0) < target
            low = tl.where((middle < high) & smaller, middle + 1, low)
            high = tl.where((middle < high) & smaller, high, middle)
        place = low
        for z in range(3):
            there = inside & (place < count)
            hit = there & (tl.load(ascending + place, mask=there, other=0) == target + z)
            found = place
            if not SORTED:
                found = tl.load(rows + place, mask=hit, other=0).to(tl.int32)
            cell = z * 9 + column
            tl.store(table + cell * count + row, tl.where(hit, found, -1), mask=inside)
            key |= tl.where(hit, tl.load(codes + cell), 0)
            place += hit.to(tl.int32)
    key ^= key >> 1
    key ^= key >> 2
    key ^= key >> 4
    key ^= key >> 8
    key ^= key >> 16
    tl.store(keys + row, key, mask=inside)


@triton.jit(do_not_specialize=["count", "low_b", "low_x", "low_y", "low_z", "step_b", "step_x", "step_y"])
def _parent_kernel(
    coords, numbers, octants, count, low_b, low_x, low_y, low_z, step_b, step_x, step_y,
    PX: tl.constexpr, PY: tl.constexpr, PZ: tl.constexpr, M: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    x = tl.load(coords + row * 4 + 1, mask=inside, other=0) + PX - 2 * low_x
    y = tl.load(coords + row * 4 + 2, mask=inside, other=0) + PY - 2 * low_y
    z = tl.load(coords + row * 4 + 3, mask=inside, other=0) + PZ - 2 * low_z
    scan = (tl.load(coords + row * 4, mask=inside, other=0) - low_b + M).to(tl.int64)
    number = (
        scan * step_b + (x // 2 + M).to(tl.int64) * step_x + (y // 2 + M).to(tl.int64) * step_y + z // 2 + M
    )
    tl.store(numbers + row, number, mask=inside)
    tl.store(octants + row, (x % 2) * 4 + (y % 2) * 2 + z % 2, mask=inside)


@triton.jit(do_not_specialize=["count", "coarse_count", "low_x", "low_y", "low_z"])
def _family_kernel(
    ascending, order, ranks, octants, coords, numbers, coarse_coords, children, parents,
    count, coarse_count, low_x, low_y, low_z,
    PX: tl.constexpr, PY: tl.constexpr, PZ: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * B + tl.arange(0, B)
    inside = place < count
    fine = tl.load(order + place, mask=inside, other=0).to(tl.int32)
    coarse = tl.load(ranks + place, mask=inside, other=0).to(tl.int32)
    octant = tl.load(octants + fine, mask=inside, other=0)
    tl.store(children + octant.to(tl.int64) * coarse_count + coarse, fine, mask=inside)
    for cell in range(8):
        tl.store(parents + cell * count + fine, tl.where(octant == cell, coarse, -1), mask=inside)
    before = tl.load(ranks + place - 1, mask=inside & (place > 0), other=-1).to(tl.int32)
    first = inside & (coarse != before)
    tl.store(numbers + coarse, tl.load(ascending + place, mask=first, other=0), mask=first)
    tl.store(coarse_coords + coarse * 4, tl.load(coords + fine * 4, mask=first, other=0), mask=first)
    x = (tl.load(coords + fine * 4 + 1, mask=first, other=0) + PX - 2 * low_x) // 2 + low_x
    y = (tl.load(coords + fine * 4 + 2, mask=first, other=0) + PY - 2 * low_y) // 2 + low_y
    z = (tl.load(coords + fine * 4 + 3, mask=first, other=0) + PZ - 2 * low_z) // 2 + low_z
    tl.store(coarse_coords + coarse * 4 + 1, x, mask=first)
    tl.store(coarse_coords + coarse * 4 + 2, y, mask=first)
    tl.store(coarse_coords + coarse * 4 + 3, z, mask=first)


_launch_neighbours, _launch_parents = Launcher(_neighbour_kernel), Launcher(_parent_kernel)
_launch_family = Launcher(_family_kernel)


def neighbour_table(level: Level, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The 3x3x3 neighbours of every cell: table (27, V), and keys (V,) that bring like rows together.

    Args:
        level: The cells.
        codes: (27,) int32, the bits that each kernel cell sets in a key, which is then taken as a Gray code.
    """
    count, device = len(level), level.coords.device
    table = torch.empty(27, count, dtype=torch.int32, device=device)
    keys = torch.empty(count, dtype=torch.int32, device=device)
    _, step_x, step_y, _ = level.index.numbering.steps()
    rows = level.index.sorted_rows
    ascending = level.index.sorted_numbers
    _launch_neighbours(
        (triton.cdiv(count, ROWS), 1, 1),
        (
            level.index.numbers, ascending, level.index.numbers if rows is None else rows, codes, table, keys,
            count, step_x, step_y, count.bit_length() + 1,
        ),
        constants={"SORTED": rows is None, "B": ROWS},
    )  # fmt: skip
    return table, keys


def family(
    level: Level, numbering: Numbering, *, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The coarse cells of a 2x2x2 strided convolution. One read by the host: how many there are.

    Args:
        level: The fine cells.
        numbering: Of the coarse cells.
        geometry: Size and stride 2; any padding.

    Returns:
        coords (V', 4) int32 and numbers (V',) int64, ascending; children (8, V') and parents (8, V).
    """
    count, device = len(level), level.coords.device
    coords = level.coords.int().contiguous()
    pads = dict(zip(("PX", "PY", "PZ"), geometry.padding, strict=True))
    numbers, octants = (torch.empty(count, dtype=kind, device=device) for kind in (torch.int64, torch.int32))
    grid = (triton.cdiv(count, ROWS), 1, 1)
    _launch_parents(
        grid,
        (coords, numbers, octants, count, *numbering.low, *numbering.steps()[:3]),
        constants={**pads, "M": MARGIN, "B": ROWS},
    )
    ascending, order = torch.sort(numbers)
    ranks = torch.zeros(count, dtype=torch.int32, device=device)
    torch.cumsum(ascending[1:] != ascending[:-1], 0, dtype=torch.int32, out=ranks[1:])
    coarse_count = int(ranks[-1]) + 1
    coarse_coords = torch.empty(coarse_count, 4, dtype=torch.int32, device=device)
    coarse_numbers = torch.empty(coarse_count, dtype=torch.int64, device=device)
    children = torch.full((8, coarse_count), -1, dtype=torch.int32, device=device)
    parents = torch.empty(8, count, dtype=torch.int32, device=device)
    _launch_family(
        grid,
        (
            ascending, order, ranks, octants, coords, coarse_numbers, coarse_coords, children, parents,
            count, coarse_count, *numbering.low[1:],
        ),
        constants={**pads, "B": ROWS},
    )  # fmt: skip
    return coarse_coords, coarse_numbers, children, parents

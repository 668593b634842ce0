"""Native backend on a GPU, the cells: all levels of a batch from one sort, in Triton.

Letters: V voxels (rows) of a level, V' coarse voxels, K cells of a kernel.

A cell's number interleaves the bits of x, y and z (z lowest), below the scan's. Three bits fewer are the
number of its parent, so numbers in order are in order on every level, and which cells are neighbours follows
from the level above: the neighbour of a cell is a child of its parent, or of a neighbour of that.
Only the coarsest level is searched. In the kernels B is a block of rows.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import triton
import triton.language as tl

from also_selfsup.sparseconv.native.gpu.sources import BEGIN, COORDS, COUNT, KEYS, RANK, WIDTH
from also_selfsup.transforms.launch import Launcher

ROWS = 256
# Bits of x, y and z each, and where their zero lies: cells from -131,072 to 131,071.
BITS = 18
ZERO = 1 << (BITS - 1)
# Cells so near to an end have neighbours without a number.
EDGE = 64
# Outweighs all ranks: the host, which reads some anyway, sees by them that a cell has no number.
BEYOND = -(1 << 30)


def z_bits(level: int) -> int:
    """The bits of z in a number on a level; those of y are one, of x two places higher."""
    return sum(1 << 3 * bit for bit in range(BITS - level))


@triton.jit
def _spread(value):
    # Bits 0 to 17 of an int64 to every third place.
    value = (value | (value << 32)) & 0x1F00000000FFFF
    value = (value | (value << 16)) & 0x1F0000FF0000FF
    value = (value | (value << 8)) & 0x100F00F00F00F00F
    value = (value | (value << 4)) & 0x10C30C30C30C30C3
    return (value | (value << 2)) & 0x1249249249249249


@triton.jit
def _gather(value):
    # The inverse.
    value = value & 0x1249249249249249
    value = (value | (value >> 2)) & 0x10C30C30C30C30C3
    value = (value | (value >> 4)) & 0x100F00F00F00F00F
    value = (value | (value >> 8)) & 0x1F0000FF0000FF
    value = (value | (value >> 16)) & 0x1F00000000FFFF
    return (value | (value >> 32)) & 0x3FFFF


@triton.jit
def _gray(key):
    key ^= key >> 1
    key ^= key >> 2
    key ^= key >> 4
    key ^= key >> 8
    return key ^ (key >> 16)


@triton.jit(do_not_specialize=["count"])
def _number_kernel(coords, numbers, count, ZERO: tl.constexpr, EDGE: tl.constexpr, B: tl.constexpr):
    # -1 for a cell that has no number.
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    scan = tl.load(coords + row * 4, mask=inside, other=0)
    x = tl.load(coords + row * 4 + 1, mask=inside, other=0) + ZERO
    y = tl.load(coords + row * 4 + 2, mask=inside, other=0) + ZERO
    z = tl.load(coords + row * 4 + 3, mask=inside, other=0) + ZERO
    least = tl.minimum(tl.minimum(x, y), z)
    most = tl.maximum(tl.maximum(x, y), z)
    out = (least < EDGE) | (most >= 2 * ZERO - EDGE) | (scan < 0) | (scan > 510)
    number = (_spread(x.to(tl.int64)) << 2) | (_spread(y.to(tl.int64)) << 1) | _spread(z.to(tl.int64))
    tl.store(numbers + row, tl.where(out, -1, number | (scan.to(tl.int64) << 54)), mask=inside)


@triton.jit(do_not_specialize=["count"])
def _lead_kernel(ascending, leads, count, DEPTH: tl.constexpr, BEYOND: tl.constexpr, B: tl.constexpr):
    # Cells without a number, if any, come first: BEYOND there brings all ranks below 1.
    place = tl.program_id(0) * B + tl.arange(0, B)
    inside = place < count
    number = tl.load(ascending + place, mask=inside, other=0)
    before = tl.load(ascending + place - 1, mask=inside & (place > 0), other=-1)
    for level in tl.static_range(1, DEPTH + 1):
        lead = (number >> (3 * level)) != (before >> (3 * level))
        found = lead.to(tl.int32)
        if level == 1:
            found = tl.where((place == 0) & (number < 0), BEYOND, found)
        tl.store(leads + (level - 1) * count + place, found, mask=inside)


@triton.jit(do_not_specialize=["count", "depth"])
def _family_kernel(
    ascending, order, ranks, source, numbers, keys, coarsest, count, depth,
    ZERO: tl.constexpr, SEGMENT: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # From the cells of a level to their parents. A parent and its child's octant share one int32.
    level = tl.program_id(1)
    same, down = numbers + level * WIDTH, numbers + (depth + 1 + level) * WIDTH
    up, coarse_base = down + depth * WIDTH, tl.load(same + WIDTH + RANK).to(tl.int32)
    parents, children = source + tl.load(up + BEGIN), source + tl.load(down + BEGIN)
    coords, keys = source + tl.load(same + WIDTH + COORDS), keys + tl.load(up + KEYS)
    coarse_count = tl.load(down + COUNT).to(tl.int32)
    place = tl.program_id(0) * B + tl.arange(0, B)
    inside = place < count
    number = tl.load(ascending + place, mask=inside, other=0)
    before = tl.load(ascending + place - 1, mask=inside & (place > 0), other=-1)
    coarse = tl.load(ranks + level * count + place, mask=inside, other=1) - coarse_base - 1
    if level == 0:
        fine, own = tl.load(order + place, mask=inside, other=0).to(tl.int32), inside
    else:
        fine_base = tl.load(same + RANK).to(tl.int32)
        fine = tl.load(ranks + (level - 1) * count + place, mask=inside, other=1) - fine_base - 1
        own = inside & ((number >> (3 * level)) != (before >> (3 * level)))
    octant = ((number >> (3 * level)) & 7).to(tl.int32)
    tl.store(parents + fine, coarse * 8 + octant, mask=own)
    tl.store(keys + fine, (2 * depth + 1 + level) * SEGMENT + octant, mask=own)
    tl.store(children + octant.to(tl.int64) * coarse_count + coarse, fine, mask=own)
    above = level + 1
    first = inside & ((number >> (3 * above)) != (before >> (3 * above)))
    cell = number >> (3 * above)
    tl.store(coarsest + coarse, cell, mask=first & (above == depth))
    space = number & 0x3FFFFFFFFFFFFF
    zero = ZERO >> above
    tl.store(coords + coarse * 4, (number >> 54).to(tl.int32), mask=first)
    tl.store(coords + coarse * 4 + 1, (_gather(space >> 2) >> above).to(tl.int32) - zero, mask=first)
    tl.store(coords + coarse * 4 + 2, (_gather(space >> 1) >> above).to(tl.int32) - zero, mask=first)
    tl.store(coords + coarse * 4 + 3, (_gather(space) >> above).to(tl.int32) - zero, mask=first)


@triton.jit
def _along(number, step, BITS: tl.constexpr, ONE: tl.constexpr):
    # One cell back (0), none (1) or one on (2) along an axis, whose bits of the number are BITS, the lowest
    # ONE. The others are set before it is added, so that it carries across them.
    others = number & ~BITS
    ahead = (((number | ~BITS) + ONE) & BITS) | others
    behind = (((number & BITS) - ONE) & BITS) | others
    return tl.where(step == 1, number, tl.where(step == 2, ahead, behind))


@triton.jit(do_not_specialize=["depth", "searches"])
def _search_kernel(
    coarsest, codes, source, numbers, keys, depth, searches,
    Z: tl.constexpr, SEGMENT: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    own = numbers + depth * WIDTH
    table, count = source + tl.load(own + BEGIN), tl.load(own + COUNT).to(tl.int32)
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    number = tl.load(coarsest + row, mask=inside, other=0)
    key = tl.zeros((B,), dtype=tl.int32)
    for cell in range(27):
        # Cells run x fastest; z has the lowest bit of three.
        target = _along(number, cell // 9, Z, 1)
        target = _along(target, (cell // 3) % 3, Z << 1, 2)
        target = _along(target, cell % 3, Z << 2, 4)
        low = tl.zeros((B,), dtype=tl.int32)
        high = low + count
        for _ in range(searches):
            middle = (low + high) // 2
            smaller = tl.load(coarsest + middle, mask=middle < high, other=0) < target
            low = tl.where((middle < high) & smaller, middle + 1, low)
            high = tl.where((middle < high) & smaller, high, middle)
        there = inside & (low < count)
        hit = there & (tl.load(coarsest + low, mask=there, other=0) == target)
        tl.store(table + cell * count + row, tl.where(hit, low, -1), mask=inside)
        key |= tl.where(hit, tl.load(codes + cell), 0)
    tl.store(keys + tl.load(own + KEYS) + row, depth * SEGMENT + _gray(key), mask=inside)


@triton.jit(do_not_specialize=["level", "depth"])
def _descend_kernel(source, numbers, codes, keys, level, depth, SEGMENT: tl.constexpr, B: tl.constexpr):
    own, down = numbers + level * WIDTH, numbers + (depth + 1 + level) * WIDTH
    parents = source + tl.load(down + depth * WIDTH + BEGIN)
    table, count = source + tl.load(own + BEGIN), tl.load(own + COUNT).to(tl.int32)
    coarse_table = source + tl.load(own + WIDTH + BEGIN)
    children, coarse_count = source + tl.load(down + BEGIN), tl.load(down + COUNT).to(tl.int32)
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    packed = tl.load(parents + row, mask=inside, other=0)
    parent, octant = packed >> 3, packed & 7
    key = tl.zeros((B,), dtype=tl.int32)
    for cell in range(27):
        x = ((octant >> 2) & 1) + cell % 3 - 1 + 2
        y = ((octant >> 1) & 1) + (cell // 3) % 3 - 1 + 2
        z = (octant & 1) + cell // 9 - 1 + 2
        above = (z >> 1) * 9 + (y >> 1) * 3 + (x >> 1)
        there = tl.load(coarse_table + above.to(tl.int64) * coarse_count + parent, mask=inside, other=-1)
        child = (x & 1) * 4 + (y & 1) * 2 + (z & 1)
        found = tl.load(
            children + child.to(tl.int64) * coarse_count + there, mask=inside & (there >= 0), other=-1
        )
        tl.store(table + cell * count + row, found, mask=inside)
        key |= tl.where(found >= 0, tl.load(codes + cell), 0)
    tl.store(keys + tl.load(own + KEYS) + row, level * SEGMENT + _gray(key), mask=inside)


@triton.jit(do_not_specialize=["depth"])
def _octants_kernel(source, numbers, keys, depth, SEGMENT: tl.constexpr, B: tl.constexpr):
    segment = depth + 1 + tl.program_id(1)
    own = numbers + segment * WIDTH
    children, count = source + tl.load(own + BEGIN), tl.load(own + COUNT).to(tl.int32)
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    key = tl.zeros((B,), dtype=tl.int32)
    for cell in range(8):
        found = tl.load(children + cell * count + row, mask=inside, other=-1)
        key |= (found >= 0).to(tl.int32) << cell
    tl.store(keys + tl.load(own + KEYS) + row, segment * SEGMENT + _gray(key), mask=inside)


@triton.jit
def _cells_kernel(coords, source, numbers, places, buffer, B: tl.constexpr):
    # The cells of all levels, and how many they are, to where the layers read them.
    block, level = tl.program_id(0), tl.program_id(1)
    own, into = numbers + level * WIDTH, places + level * 2
    count = tl.load(own + COUNT).to(tl.int32)
    place = block * B + tl.arange(0, B)
    inside = place < 4 * count
    if level == 0:
        found = tl.load(coords + place, mask=inside, other=0)
    else:
        found = tl.load(source + tl.load(own + COORDS) + place, mask=inside, other=0)
    tl.store(buffer + tl.load(into) + place, found, mask=inside)
    if block == 0:
        tl.store(buffer + tl.load(into + 1), count)


launch_numbers, launch_leads = Launcher(_number_kernel), Launcher(_lead_kernel)
launch_family, launch_search = Launcher(_family_kernel), Launcher(_search_kernel)
launch_descend, launch_octants = Launcher(_descend_kernel), Launcher(_octants_kernel)
launch_cells = Launcher(_cells_kernel)


def blocks(count: int) -> tuple[int, int, int]:
    """The grid of programs that share so many rows."""
    return triton.cdiv(count, ROWS), 1, 1

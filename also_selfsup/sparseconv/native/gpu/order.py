"""Native backend on a GPU, the order of work: from a table of pairs to its tiles, in Triton.

Letters: V voxels (rows), K cells of a kernel, T rows of a tile.

A table (K, V) holds the input row of each output row and kernel cell, -1 where there is none. The host waits
for nothing here. In the kernels B is a block of rows.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native.gpu.layout import CUBE, OCTANTS, Layout
from also_selfsup.sparseconv.native.gpu.sources import BEGIN, COUNT, KEYS, ROWS, WIDTH, owner
from also_selfsup.sparseconv.native.gpu.tiles import LARGE_TILE, Tiles, tile_size
from also_selfsup.transforms.launch import Launcher


@triton.jit(do_not_specialize=["count"])
def _mask_kernel(table, keys, count, K: tl.constexpr, B: tl.constexpr):
    row = tl.program_id(0) * B + tl.arange(0, B)
    inside = row < count
    key = tl.zeros((B,), dtype=tl.int32)
    for cell in range(K):
        found = tl.load(table + cell * count + row, mask=inside, other=-1)
        key |= (found >= 0).to(tl.int32) << cell
    key ^= key >> 1
    key ^= key >> 2
    key ^= key >> 4
    tl.store(keys + row, key, mask=inside)


@triton.jit
def _tile(
    table, order, rows, sorted_table, cells, counts, tile, count, begin, padded, size,
    K: tl.constexpr, PACKED: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    # Of B lanes a tile's rows are the first ones. PACKED: a row has one pair; its kernel cell stands in the
    # lowest three bits, the input row above them.
    lane = tl.arange(0, B)
    place = tile * size + lane
    own = lane < size
    inside = own & (place < count)
    row = tl.where(inside, tl.load(order + place, mask=inside, other=0).to(tl.int32) - begin, -1)
    tl.store(rows + place, row, mask=own)
    number = 0
    for cell in range(K):
        if PACKED:
            packed = tl.load(table + row, mask=inside, other=0)
            found = tl.where(inside & ((packed & 7) == cell), packed >> 3, -1)
        else:
            found = tl.load(table + cell * count + row, mask=inside, other=-1)
        tl.store(sorted_table + cell * padded + place, found, mask=own)
        present = tl.max((found >= 0).to(tl.int32), 0)
        tl.store(cells + tile * K + number, cell, mask=present > 0)
        number += present
    tl.store(counts + tile, number)


@triton.jit(do_not_specialize=["count", "padded"])
def _tile_kernel(
    table, order, rows, sorted_table, cells, counts, count, padded, K: tl.constexpr, T: tl.constexpr
):
    tile = tl.program_id(0)
    _tile(table, order, rows, sorted_table, cells, counts, tile, count, 0, padded, T, K, False, T)


@triton.jit
def _tile_of(
    source, own, order, into, buffer, program, K: tl.constexpr, PACKED: tl.constexpr, B: tl.constexpr
):
    # A tile of the table that these two rows of numbers are about, see `sources` and `Layout.tiles`.
    begin = tl.load(own + KEYS)
    _tile(
        source + tl.load(own + BEGIN), order + begin,
        buffer + tl.load(into + 1), buffer + tl.load(into + 2), buffer + tl.load(into + 3),
        buffer + tl.load(into + 4), program - tl.load(into).to(tl.int32), tl.load(own + COUNT).to(tl.int32),
        begin.to(tl.int32), tl.load(into + 5).to(tl.int32), tl.load(into + 6).to(tl.int32),
        K, PACKED, B,
    )  # fmt: skip


@triton.jit(do_not_specialize=["depth"])
def _all_tiles_kernel(
    source, numbers, order, places, buffer, depth,
    CUBE: tl.constexpr, OCTANTS: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    number = owner(places, 3 * depth + 1, program)
    own, into = numbers + number * WIDTH, places + number * WIDTH
    if number <= depth:
        _tile_of(source, own, order, into, buffer, program, CUBE, False, B)
    elif number <= 2 * depth:
        _tile_of(source, own, order, into, buffer, program, OCTANTS, False, B)
    else:
        _tile_of(source, own, order, into, buffer, program, OCTANTS, True, B)


_launch_masks, _launch_tiles = Launcher(_mask_kernel), Launcher(_tile_kernel)
_launch_all_tiles = Launcher(_all_tiles_kernel)


def mask_keys(table: Tensor) -> Tensor:
    """Keys (V,) of a table (8, V) that bring rows with like cells together."""
    cells, count = table.shape
    keys = torch.empty(count, dtype=torch.int32, device=table.device)
    grid = (triton.cdiv(count, ROWS), 1, 1)
    _launch_masks(grid, (table, keys, count), constants={"K": cells, "B": ROWS})
    return keys


def tiles_of(table: Tensor, keys: Tensor) -> Tiles:
    """Tiles of the rows of a table (K, V), sorted by their keys (V,)."""
    cells, count = table.shape
    size = tile_size(count)
    tile_count = triton.cdiv(count, size)
    rows, sorted_table, lists, counts = (
        torch.empty(shape, dtype=torch.int32, device=table.device)
        for shape in ((tile_count * size,), (cells, tile_count * size), (tile_count, cells), (tile_count,))
    )
    order = torch.sort(keys, stable=True).indices
    _launch_tiles(
        (tile_count, 1, 1),
        (table, order, rows, sorted_table, lists, counts, count, len(rows)),
        constants={"K": cells, "T": size},
    )
    return Tiles(rows, sorted_table, lists, counts, size)


def write_tiles(
    source: Tensor, numbers: Tensor, order: Tensor, *, places: Tensor, layout: Layout, buffer: Tensor
) -> None:
    """Fill the tiles of all tables of a batch, which may have room for more rows.

    Args:
        source: int32, the tensor that the tables lie in; those of parents hold the one input row of each row
            times 8 plus its kernel cell.
        numbers: Where they lie in it, see `sources`.
        order: int64, the keys of all tables in the order of the tiles.
        places: Where the tiles lie in the buffer, see `Layout.tiles`.
        layout: Of the buffer.
        buffer: To be filled.
    """
    _launch_all_tiles(
        (layout.tile_count, 1, 1),
        (source, numbers, order, places, buffer, layout.depth),
        constants={"CUBE": CUBE, "OCTANTS": OCTANTS, "B": LARGE_TILE},
    )

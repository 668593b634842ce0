"""Native backend on a GPU, the order of work: from a table of pairs to its tiles and chunks, in Triton.

Letters: V voxels (rows), K cells of a kernel, P pairs, T rows of a tile.

A table (K, V) holds the input row of each output row and kernel cell, -1 where there is none. The host waits
for nothing here. In the kernels B is a block of rows.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native.gpu.launch import Launcher
from also_selfsup.sparseconv.native.gpu.tiles import CHUNK, Chunks, Tiles, tile_size

ROWS = 1024
CELLS = 32  # a power of two above the cells of any kernel here


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


@triton.jit(do_not_specialize=["order", "count", "begin", "padded"])
def _tile_table_kernel(
    table, order, rows, sorted_table, cells, counts, count, begin, padded,
    K: tl.constexpr, T: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    # PACKED: a row has one pair; its kernel cell stands in the lowest three bits, the input row above them.
    tile = tl.program_id(0)
    place = tile * T + tl.arange(0, T)
    inside = place < count
    row = tl.where(inside, tl.load(order + place, mask=inside, other=0).to(tl.int32) - begin, -1)
    tl.store(rows + place, row)
    number = 0
    for cell in range(K):
        if PACKED:
            packed = tl.load(table + row, mask=inside, other=0)
            found = tl.where(inside & ((packed & 7) == cell), packed >> 3, -1)
        else:
            found = tl.load(table + cell * count + row, mask=inside, other=-1)
        tl.store(sorted_table + cell * padded + place, found)
        present = tl.max((found >= 0).to(tl.int32), 0)
        tl.store(cells + tile * K + number, cell, mask=present > 0)
        number += present
    tl.store(counts + tile, number)


@triton.jit(do_not_specialize=["counts", "count", "blocks"])
def _count_kernel(table, counts, count, blocks, B: tl.constexpr):
    cell, block = tl.program_id(0), tl.program_id(1)
    row = block * B + tl.arange(0, B)
    found = tl.load(table + cell * count + row, mask=row < count, other=-1)
    tl.store(counts + cell * blocks + block, tl.sum((found >= 0).to(tl.int32), 0))


@triton.jit(do_not_specialize=["count", "blocks", "begin"])
def _list_kernel(table, counts, ends, inputs, outputs, count, blocks, begin, B: tl.constexpr):
    cell, block = tl.program_id(0), tl.program_id(1)
    row = block * B + tl.arange(0, B)
    found = tl.load(table + cell * count + row, mask=row < count, other=-1)
    hit = (found >= 0).to(tl.int32)
    own = begin + cell * blocks + block
    base = tl.load(ends + begin - 1, mask=begin > 0, other=0)
    place = tl.load(ends + own) - tl.load(counts + own) + tl.cumsum(hit, 0) - hit - base
    tl.store(inputs + place, found, mask=hit > 0)
    tl.store(outputs + place, row, mask=hit > 0)


@triton.jit(do_not_specialize=["blocks", "begin"])
def _chunk_table_kernel(
    ends, starts, first, blocks, begin, K: tl.constexpr, CHUNK: tl.constexpr, B: tl.constexpr
):
    cell = tl.arange(0, B)
    known = cell < K
    base = tl.load(ends + begin - 1, mask=begin > 0, other=0)
    place = begin + cell * blocks
    start = tl.load(ends + place - 1, mask=known & (place > 0), other=0) - base
    end = tl.load(ends + place + blocks - 1, mask=known, other=0) - base
    number = tl.where(known, (end - start + CHUNK - 1) // CHUNK, 0)
    total = tl.cumsum(number, 0)
    tl.store(starts + cell, start, mask=known)
    tl.store(first + cell, total - number, mask=known)
    tl.store(starts + cell + 1, end, mask=cell == K - 1)
    tl.store(first + cell + 1, total, mask=cell == K - 1)


_launch_masks, _launch_tile_tables = Launcher(_mask_kernel), Launcher(_tile_table_kernel)
_launch_counts, _launch_lists = Launcher(_count_kernel), Launcher(_list_kernel)
_launch_chunk_tables = Launcher(_chunk_table_kernel)


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
    tiles = Tiles(rows, sorted_table, lists, counts, size)
    write_tiles(table, torch.sort(keys, stable=True).indices, begin=0, tiles=tiles)
    return tiles


def write_tiles(table: Tensor, places: Tensor, *, begin: int, tiles: Tiles) -> None:
    """Fill tiles, which may have room for more rows.

    Args:
        table: (K, V) int32, or (V,) with the one input row of each row times 8 plus its kernel cell.
        places: (V,) int64, the rows in the order of the tiles, plus `begin`.
        begin: Where these rows begin among all.
        tiles: To be filled.
    """
    packed = table.dim() == 1
    _launch_tile_tables(
        (len(tiles.counts), 1, 1),
        (
            table, places, tiles.rows, tiles.table, tiles.cells, tiles.counts, len(places), begin,
            len(tiles.rows),
        ),
        constants={"K": tiles.cells.shape[1], "T": tiles.size, "PACKED": packed},
    )  # fmt: skip


class PairLists:
    """The pairs of several tables (K, V) by kernel cell, counted together."""

    def __init__(self, tables: list[Tensor]) -> None:
        self.tables = tables
        self.blocks = [triton.cdiv(table.shape[1], ROWS) for table in tables]
        lengths = [len(table) * blocks for table, blocks in zip(tables, self.blocks, strict=True)]
        self.begins = [sum(lengths[:number]) for number in range(len(lengths) + 1)]
        self.counts = torch.empty(self.begins[-1], dtype=torch.int32, device=tables[0].device)
        for table, blocks, begin in zip(tables, self.blocks, self.begins[:-1], strict=True):
            _launch_counts(
                (len(table), blocks, 1),
                (table, self.counts[begin:], table.shape[1], blocks),
                constants={"B": ROWS},
            )
        self.ends = torch.cumsum(self.counts, 0, dtype=torch.int32)

    def totals(self) -> Tensor:
        """Pairs of each table and all before it, (tables,) int32, on the device."""
        return torch.stack([self.ends[begin - 1] for begin in self.begins[1:]])

    def write(self, number: int, chunks: Chunks) -> None:
        """Fill the lists of one table, which may have room for more pairs."""
        table, blocks, begin = self.tables[number], self.blocks[number], self.begins[number]
        cells, count = table.shape
        _launch_lists(
            (cells, blocks, 1),
            (table, self.counts, self.ends, chunks.inputs, chunks.outputs, count, blocks, begin),
            constants={"B": ROWS},
        )
        sizes = {"K": cells, "CHUNK": CHUNK, "B": CELLS}
        _launch_chunk_tables(
            (1, 1, 1), (self.ends, chunks.starts, chunks.first, blocks, begin), constants=sizes
        )


def chunks_of(table: Tensor) -> Chunks:
    """Pairs of a table (K, V) by kernel cell, in chunks; their number travels to the host meanwhile."""
    (cells, count), device = table.shape, table.device
    inputs, outputs = (torch.empty(cells * count, dtype=torch.int32, device=device) for _ in range(2))
    starts, first = (torch.empty(cells + 1, dtype=torch.int32, device=device) for _ in range(2))
    chunks = Chunks(inputs, outputs, starts, first, lambda: 0)
    PairLists([table]).write(0, chunks)
    return replace(chunks, total=_later(first[-1:]))


def _later(number: Tensor) -> Callable[[], int]:
    """Fetch a number without waiting for it now."""
    if not number.is_cuda:
        return lambda: int(number)
    host = torch.empty(1, dtype=number.dtype, pin_memory=True)
    host.copy_(number, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def read() -> int:
        arrived.synchronize()
        return int(host)

    return read

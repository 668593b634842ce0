"""Native backend on a GPU, the order of work: from a table of pairs to its tiles and chunks, in Triton.

Letters: V voxels (rows), K cells of a kernel, P pairs, T rows of a tile.

A table (K, V) holds the input row of each output row and kernel cell, -1 where there is none. The host waits
for nothing here. In the kernels B is a block of rows.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native_launch import Launcher
from also_selfsup.sparseconv.native_tiles import CHUNK, Chunks, Tiles, tile_size

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


@triton.jit(do_not_specialize=["count", "padded"])
def _tile_table_kernel(
    table, order, rows, sorted_table, cells, counts, count, padded, K: tl.constexpr, T: tl.constexpr
):
    tile = tl.program_id(0)
    place = tile * T + tl.arange(0, T)
    inside = place < count
    row = tl.load(order + place, mask=inside, other=-1).to(tl.int32)
    tl.store(rows + place, row)
    number = 0
    for cell in range(K):
        found = tl.load(table + cell * count + row, mask=inside, other=-1)
        tl.store(sorted_table + cell * padded + place, found)
        present = tl.max((found >= 0).to(tl.int32), 0)
        tl.store(cells + tile * K + number, cell, mask=present > 0)
        number += present
    tl.store(counts + tile, number)


@triton.jit(do_not_specialize=["count", "blocks"])
def _count_kernel(table, counts, count, blocks, B: tl.constexpr):
    cell, block = tl.program_id(0), tl.program_id(1)
    row = block * B + tl.arange(0, B)
    found = tl.load(table + cell * count + row, mask=row < count, other=-1)
    tl.store(counts + cell * blocks + block, tl.sum((found >= 0).to(tl.int32), 0))


@triton.jit(do_not_specialize=["count", "blocks"])
def _list_kernel(table, counts, ends, inputs, outputs, count, blocks, B: tl.constexpr):
    cell, block = tl.program_id(0), tl.program_id(1)
    row = block * B + tl.arange(0, B)
    found = tl.load(table + cell * count + row, mask=row < count, other=-1)
    hit = (found >= 0).to(tl.int32)
    own = cell * blocks + block
    place = tl.load(ends + own) - tl.load(counts + own) + tl.cumsum(hit, 0) - hit
    tl.store(inputs + place, found, mask=hit > 0)
    tl.store(outputs + place, row, mask=hit > 0)


@triton.jit(do_not_specialize=["blocks"])
def _chunk_table_kernel(ends, starts, first, blocks, K: tl.constexpr, CHUNK: tl.constexpr, B: tl.constexpr):
    cell = tl.arange(0, B)
    known = cell < K
    begin = tl.load(ends + cell * blocks - 1, mask=known & (cell > 0), other=0)
    end = tl.load(ends + (cell + 1) * blocks - 1, mask=known, other=0)
    number = tl.where(known, (end - begin + CHUNK - 1) // CHUNK, 0)
    total = tl.cumsum(number, 0)
    tl.store(starts + cell, begin, mask=known)
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
    order = torch.sort(keys, stable=True).indices
    rows, counts = (
        torch.empty(n, dtype=torch.int32, device=table.device) for n in (tile_count * size, tile_count)
    )
    sorted_table = torch.empty(cells, tile_count * size, dtype=torch.int32, device=table.device)
    lists = torch.empty(tile_count, cells, dtype=torch.int32, device=table.device)
    _launch_tile_tables(
        (tile_count, 1, 1),
        (table, order, rows, sorted_table, lists, counts, count, tile_count * size),
        constants={"K": cells, "T": size},
    )
    return Tiles(rows, sorted_table, lists, counts, size)


def chunks_of(table: Tensor) -> Chunks:
    """Pairs of a table (K, V) by kernel cell, in chunks; their number travels to the host meanwhile."""
    (cells, count), device = table.shape, table.device
    blocks = triton.cdiv(count, ROWS)
    counts = torch.empty(cells * blocks, dtype=torch.int32, device=device)
    _launch_counts((cells, blocks, 1), (table, counts, count, blocks), constants={"B": ROWS})
    ends = torch.cumsum(counts, 0, dtype=torch.int32)
    inputs, outputs = (torch.empty(cells * count, dtype=torch.int32, device=device) for _ in range(2))
    _launch_lists(
        (cells, blocks, 1), (table, counts, ends, inputs, outputs, count, blocks), constants={"B": ROWS}
    )
    starts, first = (torch.empty(cells + 1, dtype=torch.int32, device=device) for _ in range(2))
    sizes = {"K": cells, "CHUNK": CHUNK, "B": CELLS}
    _launch_chunk_tables((1, 1, 1), (ends, starts, first, blocks), constants=sizes)
    return Chunks(inputs, outputs, starts, first, _later(first[-1:]))


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

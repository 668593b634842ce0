"""Native backend on a GPU, the arithmetic: implicit matrix products over tiles and chunks, written in Triton.

Letters: V voxels (rows), K cells of a kernel, P pairs, I input channels, O output channels, T rows of a tile.

Sums are taken in float32, in a fixed order: the same input gives the same bits. Imported only where a GPU is.
In the kernels IN and OUT are I and O; BI, BO and BP are blocks of input channels, output channels and pairs.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native_launch import Launcher
from also_selfsup.sparseconv.native_tiles import CHUNK, Chunks, Tiles


@triton.jit
def _tile_kernel(
    feats, weights, out, rows, table, cells, counts,
    IN: tl.constexpr, OUT: tl.constexpr, K: tl.constexpr,
    T: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, BACK: tl.constexpr, MIRROR: tl.constexpr,
):  # fmt: skip
    # BACK: weights are those of the forward pass, (K, OUT, IN), read as if their sides were swapped; MIRROR:
    # the pairs of a cell are those of the opposite one.
    tile, columns = tl.program_id(0), tl.program_id(1) * BO + tl.arange(0, BO)
    places = tile * T + tl.arange(0, T)
    table_stride = tl.num_programs(0).to(tl.int64) * T
    steps: tl.constexpr = IN // BI
    total = tl.zeros((T, BO), dtype=tl.float32)
    for step in range(tl.load(counts + tile) * steps):
        cell = tl.load(cells + tile * K + step // steps)
        channels = (step % steps) * BI + tl.arange(0, BI)
        row = tl.load(table + cell * table_stride + places)
        a = tl.load(
            feats + row.to(tl.int64)[:, None] * IN + channels[None, :], mask=(row >= 0)[:, None], other=0.0
        )
        if MIRROR:
            cell = K - 1 - cell
        if BACK:
            b = tl.load(
                weights + (cell * OUT + columns)[:, None] * IN + channels[None, :],
                mask=(columns < OUT)[:, None],
                other=0.0,
            )
            total = tl.dot(a, tl.trans(b), total)
        else:
            b = tl.load(
                weights + (cell * IN + channels)[:, None] * OUT + columns[None, :],
                mask=(columns < OUT)[None, :],
                other=0.0,
            )
            total = tl.dot(a, b, total)
    row = tl.load(rows + places)
    tl.store(
        out + row.to(tl.int64)[:, None] * OUT + columns[None, :],
        total.to(out.dtype.element_ty),
        mask=(row >= 0)[:, None] & (columns < OUT)[None, :],
    )


@triton.jit
def _chunk_kernel(
    feats, grads, partial, inputs, outputs, starts, first,
    IN: tl.constexpr, OUT: tl.constexpr, K: tl.constexpr, CHUNK: tl.constexpr,
    BP: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    channels = tl.program_id(1) * BI + tl.arange(0, BI)
    columns = tl.program_id(2) * BO + tl.arange(0, BO)
    cell = tl.arange(0, 32)  # the cell of this chunk: the last one whose first chunk is not behind it
    before = tl.load(first + cell + 1, mask=cell < K, other=2147483647) <= chunk
    cell = tl.sum(before.to(tl.int32), 0)
    begin = tl.load(starts + cell) + (chunk - tl.load(first + cell)) * CHUNK
    last = tl.minimum(begin + CHUNK, tl.load(starts + cell + 1))
    total = tl.zeros((BI, BO), dtype=tl.float32)
    for start in range(begin, last, BP):
        pair = start + tl.arange(0, BP)
        there = tl.load(inputs + pair, mask=pair < last, other=0).to(tl.int64)
        here = tl.load(outputs + pair, mask=pair < last, other=0).to(tl.int64)
        a = tl.load(
            feats + there[:, None] * IN + channels[None, :],
            mask=(pair < last)[:, None] & (channels < IN)[None, :],
            other=0.0,
        )
        b = tl.load(
            grads + here[:, None] * OUT + columns[None, :],
            mask=(pair < last)[:, None] & (columns < OUT)[None, :],
            other=0.0,
        )
        total = tl.dot(tl.trans(a), b, total)
    tl.store(
        partial + chunk.to(tl.int64) * IN * OUT + channels[:, None] * OUT + columns[None, :],
        total,
        mask=(channels < IN)[:, None] & (columns < OUT)[None, :],
    )


@triton.jit
def _sum_kernel(partial, first, out, N: tl.constexpr, B: tl.constexpr):
    cell = tl.program_id(0)
    places = tl.program_id(1) * B + tl.arange(0, B)
    begin = tl.load(first + cell)
    total = tl.zeros((B,), dtype=tl.float32)
    for chunk in range(tl.load(first + cell + 1) - begin):
        total += tl.load(partial + (begin.to(tl.int64) + chunk) * N + places, mask=places < N, other=0.0)
    tl.store(out + cell.to(tl.int64) * N + places, total, mask=places < N)


_launch_tiles, _launch_chunks = Launcher(_tile_kernel), Launcher(_chunk_kernel)
_launch_sum = Launcher(_sum_kernel)


def multiply(feats: Tensor, cells: Tensor, *, tiles: Tiles, out_count: int) -> Tensor:
    """Convolve: (V_in, I) and (K, I, O), both contiguous and 16-bit, to (V_out, O)."""
    return _multiply(feats, cells, tiles=tiles, out_count=out_count, back=False, mirrored=False)


def multiply_back(grads: Tensor, cells: Tensor, *, tiles: Tiles, out_count: int, mirrored: bool) -> Tensor:
    """The input's gradient: (V_out, O) and the forward pass's (K, I, O) to (V_in, I).

    Args:
        grads: Contiguous and 16-bit, like `cells`.
        cells: The kernel.
        tiles: Of the input rows; of the output rows where the map mirrors itself.
        out_count: V_in.
        mirrored: The tiles are those of the output rows.
    """
    return _multiply(grads, cells, tiles=tiles, out_count=out_count, back=True, mirrored=mirrored)


def _multiply(
    feats: Tensor, cells: Tensor, *, tiles: Tiles, out_count: int, back: bool, mirrored: bool
) -> Tensor:
    cell_count, in_channels, out_channels = cells.shape
    if back:
        in_channels, out_channels = out_channels, in_channels
    out = feats.new_empty(out_count, out_channels)
    block_in = _largest_divisor(in_channels)
    block_out = min(triton.next_power_of_2(out_channels), 128)
    _launch_tiles(
        (len(tiles.counts), triton.cdiv(out_channels, block_out), 1),
        (feats, cells, out, tiles.rows, tiles.table, tiles.cells, tiles.counts),
        constants={
            "IN": in_channels, "OUT": out_channels, "K": cell_count, "T": tiles.size, "BI": block_in,
            "BO": block_out, "BACK": back, "MIRROR": mirrored,
        },
        warps=8 if tiles.size * block_out >= 128 * 128 else 4,
        stages=4,
    )  # fmt: skip
    return out


def weight_gradient(feats: Tensor, grads: Tensor, *, chunks: Chunks, cell_count: int) -> Tensor:
    """(V_in, I) and (V_out, O), contiguous and 16-bit, to the kernel's gradient (K, I, O) in float32."""
    in_channels, out_channels = feats.shape[1], grads.shape[1]
    count = chunks.total()
    partial = feats.new_empty(count, in_channels, out_channels, dtype=torch.float32)
    out = feats.new_empty(cell_count, in_channels, out_channels, dtype=torch.float32)
    block_in = min(triton.next_power_of_2(in_channels), 64)
    block_out = min(triton.next_power_of_2(out_channels), 128)
    if count:
        _launch_chunks(
            (count, triton.cdiv(in_channels, block_in), triton.cdiv(out_channels, block_out)),
            (feats, grads, partial, chunks.inputs, chunks.outputs, chunks.starts, chunks.first),
            constants={
                "IN": in_channels, "OUT": out_channels, "K": cell_count, "CHUNK": CHUNK,
                "BP": 64, "BI": block_in, "BO": block_out,
            },
        )  # fmt: skip
    numbers = in_channels * out_channels
    _launch_sum(
        (cell_count, triton.cdiv(numbers, 1024), 1),
        (partial, chunks.first, out),
        constants={"N": numbers, "B": 1024},
    )
    return out


def _largest_divisor(channels: int) -> int:
    """The widest block of input channels: 64, 32 or 16."""
    return next(block for block in (64, 32, 16) if channels % block == 0)

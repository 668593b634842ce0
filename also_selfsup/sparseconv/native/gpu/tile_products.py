"""Native backend on a GPU, the arithmetic: implicit matrix products over tiles of rows, in Triton.

Letters: V voxels (rows), K cells of a kernel, I input channels, O output channels, T rows of a tile.

Sums are taken in float32, in a fixed order: the same input gives the same bits. Imported only where a GPU is.
In the kernels IN and OUT are I and O; BI and BO are blocks of input and output channels,
REST a second block of output channels, which makes 96 of 64 and 32.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native.gpu.blocks import tile_blocks
from also_selfsup.sparseconv.native.gpu.tiles import Tiles
from also_selfsup.transforms.launch import Launcher


@triton.jit
def _added(residual, row, columns, ADDED: tl.constexpr):
    place = row.to(tl.int64)[:, None] * ADDED + columns[None, :]
    return tl.load(residual + place, mask=(row >= 0)[:, None], other=0.0).to(tl.float32)


@triton.jit
def _finish(
    value, partial, scale, shift, residual, out, tile, row, columns,
    OUT: tl.constexpr, MOMENTS: tl.constexpr, AFFINE: tl.constexpr, ADDED: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    # A tile's sums (T, columns) on their way to memory: with their mean and squared distances from it, or
    # after batch-norm in evaluation. ADDED: numbers from row to row of what is added; 0 if nothing is.
    # Without batch-norm the sums began with it, which needs fewer registers than adding it here.
    known = (row >= 0)[:, None]
    place = row.to(tl.int64)[:, None] * OUT + columns[None, :]
    if MOMENTS:  # rows that are not there are 0
        count = tl.sum((row >= 0).to(tl.float32), 0)
        mean = tl.sum(value, 0) / tl.maximum(count, 1.0)
        apart = tl.where(known, value - mean[None, :], 0.0)
        tl.store(partial + tile * 2 * OUT + columns, mean)
        tl.store(partial + tile * 2 * OUT + OUT + columns, tl.sum(apart * apart, 0))
    if AFFINE:
        value = value * tl.load(scale + columns)[None, :] + tl.load(shift + columns)[None, :]
        if ADDED > 0:
            value += _added(residual, row, columns, ADDED)
        if RELU:
            value = tl.maximum(value, 0.0)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=known)


@triton.jit
def _weights_of(weights, cell, channels, columns, IN: tl.constexpr, OUT: tl.constexpr, BACK: tl.constexpr):
    # BACK: the weights are those of the forward pass, (K, OUT, IN), read as if their sides were swapped.
    if BACK:
        return tl.trans(tl.load(weights + (cell * OUT + columns)[:, None] * IN + channels[None, :]))
    return tl.load(weights + (cell * IN + channels)[:, None] * OUT + columns[None, :])


@triton.jit
def _tile_kernel(
    feats, weights, out, rows, table, cells, counts, partial, scale, shift, residual,
    IN: tl.constexpr, OUT: tl.constexpr, K: tl.constexpr, T: tl.constexpr, BI: tl.constexpr,
    BO: tl.constexpr, REST: tl.constexpr, BACK: tl.constexpr, MIRROR: tl.constexpr,
    MOMENTS: tl.constexpr, AFFINE: tl.constexpr, ADDED: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    # The tiles with the most kernel cells are the last: begun first, none of them is waited for alone.
    # MIRROR: the pairs of a cell are those of the opposite one.
    tile, begin = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1) * (BO + REST)
    columns = begin + tl.arange(0, BO)
    places = tile * T + tl.arange(0, T)
    table_stride = tl.num_programs(0).to(tl.int64) * T
    parts: tl.constexpr = IN // BI
    begins: tl.constexpr = ADDED > 0 and not AFFINE
    total = tl.zeros((T, BO), dtype=tl.float32)
    if begins:
        total += _added(residual, tl.load(rows + places), columns, ADDED)
    if REST > 0:
        others = begin + BO + tl.arange(0, REST)
        rest = tl.zeros((T, REST), dtype=tl.float32)
        if begins:
            rest += _added(residual, tl.load(rows + places), others, ADDED)
    for step in range(tl.load(counts + tile) * parts):
        cell = tl.load(cells + tile * K + step // parts)
        row = tl.load(table + cell * table_stride + places)
        channels = (step % parts) * BI + tl.arange(0, BI)
        a = tl.load(
            feats + row.to(tl.int64)[:, None] * IN + channels[None, :], mask=(row >= 0)[:, None], other=0.0
        )
        if MIRROR:
            cell = K - 1 - cell
        total = tl.dot(a, _weights_of(weights, cell, channels, columns, IN, OUT, BACK), total)
        if REST > 0:
            rest = tl.dot(a, _weights_of(weights, cell, channels, others, IN, OUT, BACK), rest)
    row = tl.load(rows + places)
    _finish(
        total, partial, scale, shift, residual, out, tile, row, columns, OUT, MOMENTS, AFFINE, ADDED, RELU
    )
    if REST > 0:
        _finish(
            rest, partial, scale, shift, residual, out, tile, row, others, OUT, MOMENTS, AFFINE, ADDED, RELU
        )  # fmt: skip


_launch_tiles = Launcher(_tile_kernel)


@dataclass(frozen=True)
class Finish:
    """What becomes of a convolution's sums before they are written.

    Attributes:
        moments: (tiles, 2, O) float32, to be filled: mean of each tile's rows, and squares of the distances
            from it; or None.
        affine: Scale and shift (O,) float32 of a batch-norm in evaluation; or None.
        residual: (V_out, O) added after it, row by row; or None.
        relu: Cut negative values after it.
    """

    moments: Tensor | None = None
    affine: tuple[Tensor, Tensor] | None = None
    residual: Tensor | None = None
    relu: bool = False


def multiply(
    feats: Tensor, cells: Tensor, *, tiles: Tiles, out_count: int, finish: Finish | None = None
) -> Tensor:
    """Convolve: (V_in, I) and (K, I, O), both contiguous and 16-bit, to (V_out, O)."""
    found = finish or Finish()
    return _multiply(feats, cells, tiles=tiles, out_count=out_count, back=False, mirrored=False, finish=found)


def multiply_back(
    grads: Tensor,
    cells: Tensor,
    *,
    tiles: Tiles,
    out_count: int,
    mirrored: bool,
    added: Tensor | None = None,
) -> Tensor:
    """The input's gradient: (V_out, O) and the forward pass's (K, I, O) to (V_in, I).

    Args:
        grads: Contiguous and 16-bit, like `cells`.
        cells: The kernel.
        tiles: Of the input rows; of the output rows where the map mirrors itself.
        out_count: V_in.
        mirrored: The tiles are those of the output rows.
        added: (V_in, I) another gradient of the input, to be added; row by row, perhaps part of longer rows.
    """
    return _multiply(
        grads,
        cells,
        tiles=tiles,
        out_count=out_count,
        back=True,
        mirrored=mirrored,
        finish=Finish(residual=added),
    )


def _multiply(
    feats: Tensor,
    cells: Tensor,
    *,
    tiles: Tiles,
    out_count: int,
    back: bool,
    mirrored: bool,
    finish: Finish,
) -> Tensor:
    cell_count, in_channels, out_channels = cells.shape
    if back:
        in_channels, out_channels = out_channels, in_channels
    out = feats.new_empty(out_count, out_channels)
    blocks = tile_blocks(in_channels, out_channels)
    scale, shift = finish.affine or (out, out)  # never read where there is none
    _launch_tiles(
        (len(tiles.counts), out_channels // (blocks.outputs + blocks.rest), 1),
        (
            feats, cells, out, tiles.rows, tiles.table, tiles.cells, tiles.counts,
            out if finish.moments is None else finish.moments, scale, shift,
            out if finish.residual is None else finish.residual,
        ),
        constants={
            "IN": in_channels, "OUT": out_channels, "K": cell_count, "T": tiles.size, "BI": blocks.inputs,
            "BO": blocks.outputs, "REST": blocks.rest, "BACK": back, "MIRROR": mirrored,
            "MOMENTS": finish.moments is not None, "AFFINE": finish.affine is not None,
            "ADDED": 0 if finish.residual is None else finish.residual.stride(0), "RELU": finish.relu,
        },
        warps=blocks.warps,
        stages=blocks.stages,
    )  # fmt: skip
    return out

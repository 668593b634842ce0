"""Native backend on a GPU, the arithmetic: the kernel's gradient over chunks of pairs, in Triton.

Letters: V voxels (rows), K cells of a kernel, P pairs, I input channels, O output channels.

Sums are taken in float32, chunk by chunk and then over the chunks, in a fixed order. In the kernels IN and
OUT are I and O; BI, BO and BP are blocks of input channels, output channels and pairs, REST a second block of
output channels.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native.gpu.blocks import pair_blocks
from also_selfsup.sparseconv.native.gpu.tiles import CHUNK, Chunks
from also_selfsup.transforms.launch import Launcher


@triton.jit
def _chunk_kernel(
    feats, grads, partial, inputs, outputs, starts, first,
    IN: tl.constexpr, OUT: tl.constexpr, K: tl.constexpr, CHUNK: tl.constexpr,
    BP: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    if chunk < tl.load(first + K):
        channels = tl.program_id(1) * BI + tl.arange(0, BI)
        begin = tl.program_id(2) * (BO + REST)
        columns = begin + tl.arange(0, BO)
        cell = tl.arange(0, 32)  # the cell of this chunk: the last one whose first chunk is not behind it
        before = tl.load(first + cell + 1, mask=cell < K, other=2147483647) <= chunk
        cell = tl.sum(before.to(tl.int32), 0)
        head = tl.load(starts + cell) + (chunk - tl.load(first + cell)) * CHUNK
        last = tl.minimum(head + CHUNK, tl.load(starts + cell + 1))
        total = tl.zeros((BI, BO), dtype=tl.float32)
        if REST > 0:
            others = begin + BO + tl.arange(0, REST)
            rest = tl.zeros((BI, REST), dtype=tl.float32)
        for start in range(head, last, BP):
            pair = start + tl.arange(0, BP)
            known = pair < last
            there = tl.load(inputs + pair, mask=known, other=0).to(tl.int64)
            here = tl.load(outputs + pair, mask=known, other=0).to(tl.int64)[:, None] * OUT
            a = tl.load(
                feats + there[:, None] * IN + channels[None, :],
                mask=known[:, None] & (channels < IN)[None, :],
                other=0.0,
            )
            b = tl.load(grads + here + columns[None, :], mask=known[:, None], other=0.0)
            total = tl.dot(tl.trans(a), b, total)
            if REST > 0:
                b = tl.load(grads + here + others[None, :], mask=known[:, None], other=0.0)
                rest = tl.dot(tl.trans(a), b, rest)
        into = partial + chunk.to(tl.int64) * IN * OUT + channels[:, None] * OUT
        tl.store(into + columns[None, :], total, mask=(channels < IN)[:, None])
        if REST > 0:
            tl.store(into + others[None, :], rest, mask=(channels < IN)[:, None])


@triton.jit
def _sum_kernel(partial, first, out, N: tl.constexpr, B: tl.constexpr, R: tl.constexpr):
    # R chunks at a time: one by one, each would wait for the memory's answer to the one before.
    cell = tl.program_id(0)
    places = tl.program_id(1) * B + tl.arange(0, B)
    last = tl.load(first + cell + 1)
    total = tl.zeros((R, B), dtype=tl.float32)
    for start in range(tl.load(first + cell), last, R):
        chunk = start + tl.arange(0, R)
        inside = (chunk < last)[:, None] & (places < N)[None, :]
        total += tl.load(partial + chunk.to(tl.int64)[:, None] * N + places[None, :], mask=inside, other=0.0)
    tl.store(out + cell.to(tl.int64) * N + places, tl.sum(total, 0), mask=places < N)


_launch_chunks, _launch_sum = Launcher(_chunk_kernel), Launcher(_sum_kernel)


def weight_gradient(feats: Tensor, grads: Tensor, *, chunks: Chunks, cell_count: int) -> Tensor:
    """(V_in, I) and (V_out, O), contiguous and 16-bit, to the kernel's gradient (K, I, O) in float32."""
    in_channels, out_channels = feats.shape[1], grads.shape[1]
    count = chunks.total()
    partial = feats.new_empty(count, in_channels, out_channels, dtype=torch.float32)
    out = feats.new_empty(cell_count, in_channels, out_channels, dtype=torch.float32)
    blocks = pair_blocks(in_channels, out_channels)
    if count:
        _launch_chunks(
            (count, triton.cdiv(in_channels, blocks.inputs), out_channels // (blocks.outputs + blocks.rest)),
            (feats, grads, partial, chunks.inputs, chunks.outputs, chunks.starts, chunks.first),
            constants={
                "IN": in_channels, "OUT": out_channels, "K": cell_count, "CHUNK": CHUNK,
                "BP": blocks.depth, "BI": blocks.inputs, "BO": blocks.outputs, "REST": blocks.rest,
            },
            warps=blocks.warps,
            stages=blocks.stages,
        )  # fmt: skip
    numbers = in_channels * out_channels
    _launch_sum(
        (cell_count, triton.cdiv(numbers, 256), 1),
        (partial, chunks.first, out),
        constants={"N": numbers, "B": 256, "R": 16},
    )
    return out

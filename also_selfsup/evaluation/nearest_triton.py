"""Beside the scores on a GPU: the nearest kept point of every original one, by all distances, in Triton.

Letters: N points kept, N_original points of the original scans, B scans, Q queries of a program, S points at
a time.

A scan of 35,000 points and 15,000 kept ones are half a billion distances, which a GPU computes in a fraction
of a millisecond; a k-d tree takes a core tens of them.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.transforms.launch import Launcher

QUERIES, POINTS = 128, 32


@triton.jit
def _axis(pos, row, inside, axis: tl.constexpr):
    return tl.load(pos + row.to(tl.int64) * 3 + axis, mask=inside, other=0.0)


@triton.jit(do_not_specialize=["count"])
def _nearest_kernel(original_pos, scan, kept_pos, starts, found, count, Q: tl.constexpr, S: tl.constexpr):
    row = tl.program_id(0) * Q + tl.arange(0, Q)
    known = row < count
    x, y, z = (
        _axis(original_pos, row, known, 0),
        _axis(original_pos, row, known, 1),
        _axis(original_pos, row, known, 2),
    )
    own = tl.load(scan + row, mask=known, other=0)
    begin, end = tl.load(starts + own), tl.load(starts + own + 1)
    # All scans that these queries belong to; each query takes those of its own alone.
    low = tl.min(tl.where(known, begin, 2147483647), 0)
    high = tl.max(tl.where(known, end, 0), 0)
    best = tl.full((Q, S), float("inf"), dtype=tl.float32)
    where = tl.zeros((Q, S), dtype=tl.int32)
    for first in range(low, high, S):
        kept = first + tl.arange(0, S)
        inside = kept < high
        dx = x[:, None] - _axis(kept_pos, kept, inside, 0)[None, :]
        dy = y[:, None] - _axis(kept_pos, kept, inside, 1)[None, :]
        dz = z[:, None] - _axis(kept_pos, kept, inside, 2)[None, :]
        square = dx * dx + dy * dy + dz * dz
        nearer = (square < best) & (kept[None, :] >= begin[:, None]) & (kept[None, :] < end[:, None])
        best = tl.where(nearer, square, best)
        where = tl.where(nearer, kept[None, :], where)
    least = tl.min(best, 1)
    tl.store(found + row, tl.min(tl.where(best == least[:, None], where, 2147483647), 1), mask=known)


_launch_nearest = Launcher(_nearest_kernel)


def nearest(original_pos: Tensor, kept_pos: Tensor, *, original_batch: Tensor, starts: Tensor) -> Tensor:
    """Row of the nearest kept point of the same scan, the first of those equally near.

    Args:
        original_pos: (N_original, 3) metres, finite.
        kept_pos: (N, 3) metres, finite, scan by scan; at least one in each scan that has original points.
        original_batch: (N_original,) int64 scan of each original point; quickest in order.
        starts: (B + 1,) int64, where each scan's kept points begin.

    Returns:
        (N_original,) int32. Distances are compared in float32: among two that differ by less than its
        rounding either may be found.
    """
    found = torch.empty(len(original_pos), dtype=torch.int32, device=original_pos.device)
    _launch_nearest(
        (max(triton.cdiv(len(original_pos), QUERIES), 1), 1, 1),
        (
            original_pos.float().contiguous(),
            original_batch.int(),
            kept_pos.float().contiguous(),
            starts.int(),
            found,
            len(original_pos),
        ),
        constants={"Q": QUERIES, "S": POINTS},
        warps=8,
    )
    return found

"""Native backend on a GPU: from voxels back to points, and the gradient the other way, in Triton.

Letters: N points, V voxels (rows), L latents.

In the kernel B is the voxels of a program, BL a block of latents.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from also_selfsup.transforms.launch import Launcher


@triton.jit(do_not_specialize=["capacity"])
def _sum_kernel(grad, order, starts, out, capacity, L: tl.constexpr, B: tl.constexpr, BL: tl.constexpr):
    column = tl.program_id(1) * BL + tl.arange(0, BL)
    known = column < L
    for number in tl.static_range(B):
        row = tl.program_id(0).to(tl.int64) * B + number
        inside = row < capacity
        begin, end = (
            tl.load(starts + row, mask=inside, other=0),
            tl.load(starts + row + 1, mask=inside, other=0),
        )
        total = tl.zeros((BL,), dtype=tl.float32)
        for place in range(begin, end):
            total += tl.load(grad + tl.load(order + place) * L + column, mask=known, other=0.0).to(tl.float32)
        tl.store(out + row * L + column, total.to(out.dtype.element_ty), mask=known & inside)


_launch_sum = Launcher(_sum_kernel)
# Of a program: most have one point.
VOXELS = 4


def points_by_voxel(voxel_id: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """Points in the order of their voxels, and where each voxel's begin.

    Args:
        voxel_id: (N,) int64 voxel of each point.
        count: V or more; those beyond have no point.

    Returns:
        (N,) int64 points, (count + 1,) int64.
    """
    ordered, order = torch.sort(voxel_id, stable=True)
    ends = torch.arange(count + 1, device=voxel_id.device)
    return order, torch.searchsorted(ordered, ends)


def to_points(latents: Tensor, voxel_id: Tensor, points: tuple[Tensor, Tensor]) -> Tensor:
    """Latents (V, L) of each point's voxel, (N, L); the gradient is summed in order, in float32."""
    result: Tensor = _ToPoints.apply(latents, voxel_id, *points)
    return result


class _ToPoints(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latents: Tensor, voxel_id: Tensor, order: Tensor, starts: Tensor) -> Tensor:
        ctx.save_for_backward(order, starts)
        ctx.count = len(latents)
        return latents.index_select(0, voxel_id)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        order, starts = ctx.saved_tensors
        grad = grad.contiguous()
        channels = grad.shape[1]
        out = grad.new_empty(ctx.count, channels)
        block = min(triton.next_power_of_2(channels), 128)
        _launch_sum(
            (triton.cdiv(ctx.count, VOXELS), triton.cdiv(channels, block), 1),
            (grad, order, starts, out, ctx.count),
            constants={"L": channels, "B": VOXELS, "BL": block},
            warps=1,
        )
        return out, None, None, None

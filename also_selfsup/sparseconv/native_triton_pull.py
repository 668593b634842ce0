"""Native backend on a GPU, the gradient of batch-norm with ReLU and residual sum: two passes, in Triton.

Letters: V voxels (rows), C channels, G groups of rows, T rows of a group.

With n rows, g the gradient where the result is above 0, y the normalised input and a = weight / deviation:
the input's gradient is a (g - sum(g) / n - y sum(g y) / n), linear in g and in the input. In the kernels B is
a block of elements, BC of channels.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native_launch import Launcher
from also_selfsup.sparseconv.native_triton_norm import CHANNELS, ELEMENTS, ROWS, Statistics


@triton.jit(do_not_specialize=["rows"])
def _pull_sums_kernel(
    grad, out, x, mean, rstd, partial, rows,
    C: tl.constexpr, RELU: tl.constexpr, T: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    group, channel = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC)
    known = channel < C
    row = group * T + tl.arange(0, T)
    inside = (row < rows)[:, None] & known[None, :]
    place = row.to(tl.int64)[:, None] * C + channel[None, :]
    pull = tl.load(grad + place, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        pull = tl.where(tl.load(out + place, mask=inside, other=0.0) > 0, pull, 0.0)
    centre, spread = (
        tl.load(mean + channel, mask=known, other=0.0),
        tl.load(rstd + channel, mask=known, other=0.0),
    )
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(partial + group * 2 * C + channel, tl.sum(pull, 0), mask=known)
    normalised = (value - centre[None, :]) * spread[None, :]
    tl.store(partial + group * 2 * C + C + channel, tl.sum(pull * normalised, 0), mask=known)


@triton.jit(do_not_specialize=["rows", "groups"])
def _join_pulls_kernel(
    partial, mean, rstd, scale, found, rows, groups, C: tl.constexpr, BG: tl.constexpr, BC: tl.constexpr
):
    channel = tl.program_id(0) * BC + tl.arange(0, BC)
    known = channel < C
    first, second = tl.zeros((BC,), dtype=tl.float32), tl.zeros((BC,), dtype=tl.float32)
    for start in range(0, groups, BG):
        group = start + tl.arange(0, BG)
        inside = (group < groups)[:, None] & known[None, :]
        place = partial + group[:, None] * 2 * C + channel[None, :]
        first += tl.sum(tl.load(place, mask=inside, other=0.0), 0)
        second += tl.sum(tl.load(place + C, mask=inside, other=0.0), 0)
    centre, spread = (
        tl.load(mean + channel, mask=known, other=0.0),
        tl.load(rstd + channel, mask=known, other=0.0),
    )
    factor = tl.load(scale + channel, mask=known, other=0.0)
    slope = -factor * spread * second / rows
    tl.store(found + channel, first, mask=known)  # gradient of the bias
    tl.store(found + C + channel, second, mask=known)  # and of the weight
    tl.store(found + 2 * C + channel, slope, mask=known)
    tl.store(found + 3 * C + channel, -factor * first / rows - slope * centre, mask=known)


@triton.jit(do_not_specialize=["rows"])
def _pull_kernel(
    grad, out, x, scale, slope, offset, grad_x, grad_residual, rows,
    C: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    inside = place < rows.to(tl.int64) * C
    channel = (place % C).to(tl.int32)
    pull = tl.load(grad + place, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        pull = tl.where(tl.load(out + place, mask=inside, other=0.0) > 0, pull, 0.0)
    if RESIDUAL:
        tl.store(grad_residual + place, pull.to(grad_residual.dtype.element_ty), mask=inside)
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    pull = pull * tl.load(scale + channel) + value * tl.load(slope + channel) + tl.load(offset + channel)
    tl.store(grad_x + place, pull.to(grad_x.dtype.element_ty), mask=inside)


_launch_sums, _launch_join = Launcher(_pull_sums_kernel), Launcher(_join_pulls_kernel)
_launch_pull = Launcher(_pull_kernel)


def pull_back(
    grad: Tensor, out: Tensor, x: Tensor, *, statistics: Statistics, residual: bool, relu: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """The gradients of `normalise`.

    Args:
        grad: (V, C) gradient of the result, contiguous.
        out: (V, C) the result.
        x: (V, C) the input.
        statistics: Of the input.
        residual: Whether there was one.
        relu: Whether negative values were cut.

    Returns:
        Gradients of input and residual (V, C), of weight and bias (C,) float32.
    """
    rows, channels = x.shape
    groups, blocks = triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS)
    partial = torch.empty(groups, 2, channels, device=x.device)
    _launch_sums(
        (groups, blocks, 1),
        (grad, out, x, statistics.mean, statistics.rstd, partial, rows),
        constants={"C": channels, "RELU": relu, "T": ROWS, "BC": CHANNELS},
    )
    found = torch.empty(4, channels, device=x.device)
    _launch_join(
        (blocks, 1, 1),
        (partial, statistics.mean, statistics.rstd, statistics.scale, found, rows, groups),
        constants={"C": channels, "BG": 64, "BC": CHANNELS},
    )
    grad_bias, grad_weight, slope, offset = found.unbind(0)
    grad_x = torch.empty_like(x)
    grad_residual = torch.empty_like(x) if residual and relu else None
    into = grad_x if grad_residual is None else grad_residual
    _launch_pull(
        (triton.cdiv(x.numel(), ELEMENTS), 1, 1),
        (grad, out, x, statistics.scale, slope, offset, grad_x, into, rows),
        constants={"C": channels, "RESIDUAL": grad_residual is not None, "RELU": relu, "B": ELEMENTS},
        warps=8,
    )
    if residual and not relu:  # the sum hands its gradient on as it is
        grad_residual = grad
    return grad_x, grad_residual, grad_weight, grad_bias

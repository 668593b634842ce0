"""Native backend on a GPU, batch-norm with ReLU and residual sum: in Triton.

Letters: V voxels (rows), C channels, G groups of rows, T rows of a group.

Ioffe and Szegedy, ICML 2015, over the rows. Statistics are taken group by group as mean and sum of squared
differences from it and then joined (Chan et al., 1979): no difference of large squares. All sums are in
float32 and in a fixed order. In the kernels B is a block of elements, BC of channels.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from also_selfsup.sparseconv.native_launch import Launcher

ROWS, CHANNELS, ELEMENTS = 256, 32, 2048


@dataclass(frozen=True)
class Statistics:
    """What a batch-norm in training knows of its input: (C,) float32 each.

    Attributes:
        mean: Mean over the rows.
        rstd: 1 / sqrt(variance + eps).
        scale, shift: The affine map that it amounts to.
    """

    mean: Tensor
    rstd: Tensor
    scale: Tensor
    shift: Tensor


@triton.jit(do_not_specialize=["rows"])
def _moments_kernel(x, partial, rows, C: tl.constexpr, T: tl.constexpr, BC: tl.constexpr):
    group, channel = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC)
    row = group * T + tl.arange(0, T)
    inside = (row < rows)[:, None] & (channel < C)[None, :]
    value = tl.load(x + row.to(tl.int64)[:, None] * C + channel[None, :], mask=inside, other=0.0).to(
        tl.float32
    )
    count = tl.minimum(rows - group * T, T).to(tl.float32)
    mean = tl.sum(value, 0) / count
    apart = tl.where(inside, value - mean[None, :], 0.0)
    into = partial + group * 2 * C + channel
    tl.store(into, mean, mask=channel < C)
    tl.store(into + C, tl.sum(apart * apart, 0), mask=channel < C)


@triton.jit(do_not_specialize=["rows", "groups"])
def _join_kernel(
    partial, weight, bias, running_mean, running_var, found, rows, groups, eps, momentum,
    C: tl.constexpr, T: tl.constexpr, BG: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0) * BC + tl.arange(0, BC)
    known = channel < C
    total = tl.zeros((BC,), dtype=tl.float32)
    for start in range(0, groups, BG):
        group = start + tl.arange(0, BG)
        inside = (group < groups)[:, None] & known[None, :]
        count = tl.minimum(tl.maximum(rows - group * T, 0), T).to(tl.float32)
        mean = tl.load(partial + group[:, None] * 2 * C + channel[None, :], mask=inside, other=0.0)
        total += tl.sum(mean * count[:, None], 0)
    centre = total / rows
    squares = tl.zeros((BC,), dtype=tl.float32)
    for start in range(0, groups, BG):
        group = start + tl.arange(0, BG)
        inside = (group < groups)[:, None] & known[None, :]
        count = tl.minimum(tl.maximum(rows - group * T, 0), T).to(tl.float32)
        place = partial + group[:, None] * 2 * C + channel[None, :]
        apart = tl.load(place, mask=inside, other=0.0) - centre[None, :]
        own = tl.load(place + C, mask=inside, other=0.0)
        squares += tl.sum(tl.where(inside, own + apart * apart * count[:, None], 0.0), 0)
    variance = squares / rows
    rstd = 1.0 / tl.sqrt(variance + eps)
    scale = tl.load(weight + channel, mask=known, other=0.0) * rstd
    tl.store(found + channel, centre, mask=known)
    tl.store(found + C + channel, rstd, mask=known)
    tl.store(found + 2 * C + channel, scale, mask=known)
    tl.store(
        found + 3 * C + channel, tl.load(bias + channel, mask=known, other=0.0) - centre * scale, mask=known
    )
    before = tl.load(running_mean + channel, mask=known, other=0.0)
    tl.store(running_mean + channel, before + momentum * (centre - before), mask=known)
    before = tl.load(running_var + channel, mask=known, other=0.0)
    unbiased = squares / (rows - 1)
    tl.store(running_var + channel, before + momentum * (unbiased - before), mask=known)


@triton.jit(do_not_specialize=["rows"])
def _apply_kernel(
    x, residual, scale, shift, out, rows,
    C: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    inside = place < rows.to(tl.int64) * C
    channel = (place % C).to(tl.int32)
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value = value * tl.load(scale + channel) + tl.load(shift + channel)
    if RESIDUAL:
        value += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        value = tl.maximum(value, 0.0)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


_launch_moments, _launch_join = Launcher(_moments_kernel), Launcher(_join_kernel)
_launch_apply = Launcher(_apply_kernel)


def normalise(
    x: Tensor, norm: nn.BatchNorm1d, *, residual: Tensor | None, relu: bool
) -> tuple[Tensor, Statistics]:
    """relu(batch-norm(x) + residual) in training; moves the running statistics along.

    Args:
        x: (V, C) 16-bit, contiguous, at least two rows.
        norm: With weight, bias and running statistics.
        residual: (V, C) of the same type, contiguous, or None.
        relu: Cut negative values.

    Returns:
        (V, C) of the same type, and what backward needs.
    """
    rows, channels = x.shape
    groups, blocks = triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS)
    partial = torch.empty(groups, 2, channels, device=x.device)
    sizes = {"C": channels, "T": ROWS}
    _launch_moments((groups, blocks, 1), (x, partial, rows), constants={**sizes, "BC": CHANNELS})
    found = torch.empty(4, channels, device=x.device)
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    _launch_join(
        (blocks, 1, 1),
        (
            partial, norm.weight, norm.bias, norm.running_mean, norm.running_var, found, rows, groups,
            norm.eps, norm.momentum,
        ),
        constants={**sizes, "BG": 64, "BC": CHANNELS},
    )  # fmt: skip
    statistics = Statistics(*found.unbind(0))
    return affine(x, statistics.scale, statistics.shift, residual=residual, relu=relu), statistics


def affine(x: Tensor, scale: Tensor, shift: Tensor, *, residual: Tensor | None, relu: bool) -> Tensor:
    """relu(x * scale + shift + residual): (V, C) contiguous 16-bit, (C,) float32; residual optional."""
    out = torch.empty_like(x)
    _launch_apply(
        (triton.cdiv(x.numel(), ELEMENTS), 1, 1),
        (x, x if residual is None else residual, scale, shift, out, len(x)),
        constants={"C": x.shape[1], "RESIDUAL": residual is not None, "RELU": relu, "B": ELEMENTS},
        warps=8,
    )
    return out

"""Native backend on a GPU, batch-norm with ReLU and residual sum: in Triton.

Letters: V voxels (rows), C channels, G groups of rows, T rows of a group.

Ioffe and Szegedy, ICML 2015, over the rows. Statistics are taken group by group as mean and sum of squared
differences from it and then joined (Chan et al., 1979): no difference of large squares. All sums are in
float32 and in a fixed order. How many rows there are, the device knows: those behind are filling, which
counts nowhere and becomes 0. In the kernels B is a block of elements, BC of channels, BG of groups.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from also_selfsup.transforms.launch import Launcher

ROWS, CHANNELS, ELEMENTS = 256, 32, 2048
# Channels of a program that joins groups: few, for it goes through all groups, and many programs share that.
JOINED = 4


@dataclass(frozen=True)
class Moments:
    """Of each group of rows, (G, 2, C) float32: its mean, and the squares of the distances from it.

    Attributes:
        numbers: The moments.
        rows: T; the last group may have fewer.
    """

    numbers: Tensor
    rows: int


@dataclass(frozen=True)
class Statistics:
    """What a batch-norm in training knows of its input.

    Attributes:
        numbers: (4, C) float32: mean, 1 / sqrt(variance + eps), and scale and shift of the affine map that it
            amounts to.
        count: (1,) int32 rows, on the device.
    """

    numbers: Tensor
    count: Tensor


@triton.jit
def _moments_kernel(x, partial, live, C: tl.constexpr, T: tl.constexpr, BC: tl.constexpr):
    group, channel = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC)
    rows = tl.load(live)
    row = group * T + tl.arange(0, T)
    inside = (row < rows)[:, None] & (channel < C)[None, :]
    value = tl.load(x + row.to(tl.int64)[:, None] * C + channel[None, :], mask=inside, other=0.0).to(
        tl.float32
    )
    count = tl.maximum(tl.minimum(rows - group * T, T), 1).to(tl.float32)
    mean = tl.sum(value, 0) / count
    apart = tl.where(inside, value - mean[None, :], 0.0)
    into = partial + group * 2 * C + channel
    tl.store(into, mean, mask=channel < C)
    tl.store(into + C, tl.sum(apart * apart, 0), mask=channel < C)


@triton.jit
def _join_kernel(
    partial, weight, bias, running_mean, running_var, batches, found, live, eps, momentum,
    C: tl.constexpr, T: tl.constexpr, BG: tl.constexpr, BC: tl.constexpr, COUNTED: tl.constexpr,
):  # fmt: skip
    if COUNTED:
        if tl.program_id(0) == 0:
            tl.store(batches, tl.load(batches) + 1)
    channel = tl.program_id(0) * BC + tl.arange(0, BC)
    known = channel < C
    rows = tl.load(live)
    groups = (rows + T - 1) // T
    total = tl.zeros((BG, BC), dtype=tl.float32)
    for start in range(0, groups, BG):
        group = start + tl.arange(0, BG)
        inside = (group < groups)[:, None] & known[None, :]
        count = tl.minimum(tl.maximum(rows - group * T, 0), T).to(tl.float32)
        mean = tl.load(partial + group[:, None] * 2 * C + channel[None, :], mask=inside, other=0.0)
        total += mean * count[:, None]
    centre = tl.sum(total, 0) / rows
    squares = tl.zeros((BG, BC), dtype=tl.float32)
    for start in range(0, groups, BG):
        group = start + tl.arange(0, BG)
        inside = (group < groups)[:, None] & known[None, :]
        count = tl.minimum(tl.maximum(rows - group * T, 0), T).to(tl.float32)
        place = partial + group[:, None] * 2 * C + channel[None, :]
        apart = tl.load(place, mask=inside, other=0.0) - centre[None, :]
        own = tl.load(place + C, mask=inside, other=0.0)
        squares += tl.where(inside, own + apart * apart * count[:, None], 0.0)
    distances = tl.sum(squares, 0)
    rstd = 1.0 / tl.sqrt(distances / rows + eps)
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
    unbiased = distances / tl.maximum(rows - 1, 1)
    tl.store(running_var + channel, before + momentum * (unbiased - before), mask=known)


@triton.jit(do_not_specialize=["capacity"])
def _apply_kernel(
    x, residual, numbers, out, live, capacity,
    C: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    inside = place < tl.load(live).to(tl.int64) * C
    channel = (place % C).to(tl.int32)
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value = value * tl.load(numbers + 2 * C + channel) + tl.load(numbers + 3 * C + channel)
    if RESIDUAL:
        value += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        value = tl.maximum(value, 0.0)
    value = tl.where(inside, value, 0.0)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=place < capacity.to(tl.int64) * C)


_launch_moments, _launch_join = Launcher(_moments_kernel), Launcher(_join_kernel)
_launch_apply = Launcher(_apply_kernel)


def moments_of(x: Tensor, count: Tensor) -> Moments:
    """The moments of (V, C) 16-bit contiguous rows, of which the first `count` (1,) int32 are there."""
    rows, channels = x.shape
    groups = triton.cdiv(rows, ROWS)
    partial = torch.empty(groups, 2, channels, device=x.device)
    _launch_moments(
        (groups, triton.cdiv(channels, CHANNELS), 1),
        (x, partial, count),
        constants={"C": channels, "T": ROWS, "BC": CHANNELS},
    )
    return Moments(partial, ROWS)


def join(moments: Moments, norm: nn.BatchNorm1d, *, count: Tensor) -> Statistics:
    """Statistics of all rows from those of the groups; moves running statistics and count of batches along.

    Args:
        moments: Of the groups.
        norm: In training, with weight, bias and running statistics.
        count: (1,) int32 rows, at least two.
    """
    channels = moments.numbers.shape[2]
    found, counted = torch.empty(4, channels, device=moments.numbers.device), norm.num_batches_tracked
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    _launch_join(
        (triton.cdiv(channels, JOINED), 1, 1),
        (
            moments.numbers, norm.weight, norm.bias, norm.running_mean, norm.running_var,
            found if counted is None else counted, found, count, float(norm.eps), float(norm.momentum),
        ),
        constants={
            "C": channels, "T": moments.rows, "BG": 512, "BC": JOINED, "COUNTED": counted is not None,
        },
        warps=8,
    )  # fmt: skip
    return Statistics(found, count)


def affine(x: Tensor, statistics: Statistics, *, residual: Tensor | None, relu: bool) -> Tensor:
    """relu(x * scale + shift + residual): (V, C) contiguous 16-bit; residual optional; filling becomes 0."""
    out = torch.empty_like(x)
    _launch_apply(
        (triton.cdiv(x.numel(), ELEMENTS), 1, 1),
        (x, x if residual is None else residual, statistics.numbers, out, statistics.count, len(x)),
        constants={"C": x.shape[1], "RESIDUAL": residual is not None, "RELU": relu, "B": ELEMENTS},
        warps=8,
    )
    return out

"""Native backend on a GPU, the gradient of batch-norm with ReLU and residual sum: two passes, in Triton.

Letters: V voxels (rows), C channels, G groups of rows.

With n rows, g the gradient where the result is above 0, y the normalised input and a = weight / deviation:
the input's gradient is a (g - sum(g) / n - y sum(g y) / n), linear in g and in the input. In the kernels B is
a block of elements, BC of channels, BG of groups, R of rows.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native.gpu.norm import ELEMENTS, JOINED, Statistics
from also_selfsup.transforms.launch import Launcher

# Programs that share the rows: two for each processor of a large card. Elements that one holds at a time, and
# how many loads of so many are under way.
GROUPS, HELD, WIDEST, STAGES = 264, 4096, 256, 3
# Where the sign of the result stands: nowhere, in what the affine map makes of the input, in the result.
NOWHERE, MAPPED, RESULT = 0, 1, 2


@triton.jit
def _cut(pull, out, value, place, inside, scale, shift, RELU: tl.constexpr):
    # The gradient where ReLU let the value pass: told from the result, or from the input where no residual
    # was added, which saves reading the result.
    if RELU == 1:
        pull = tl.where(value * scale + shift > 0, pull, 0.0)
    if RELU == 2:
        pull = tl.where(tl.load(out + place, mask=inside, other=0.0) > 0, pull, 0.0)
    return pull


@triton.jit
def _pull_sums_kernel(
    grad,
    out,
    x,
    numbers,
    partial,
    live,
    C: tl.constexpr,
    RELU: tl.constexpr,
    R: tl.constexpr,
    BC: tl.constexpr,
    STAGES: tl.constexpr,
):
    group, channel = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC)
    known = channel < C
    rows = tl.load(live)
    share = ((rows + tl.num_programs(0) - 1) // tl.num_programs(0) + R - 1) // R * R
    centre = tl.load(numbers + channel, mask=known, other=0.0)[None, :]
    spread = tl.load(numbers + C + channel, mask=known, other=0.0)[None, :]
    scale = tl.load(numbers + 2 * C + channel, mask=known, other=0.0)[None, :]
    shift = tl.load(numbers + 3 * C + channel, mask=known, other=0.0)[None, :]
    first, second = tl.zeros((R, BC), dtype=tl.float32), tl.zeros((R, BC), dtype=tl.float32)
    last = tl.minimum(group * share + share, rows)
    for start in tl.range(group * share, last, R, num_stages=STAGES):
        row = start + tl.arange(0, R)
        inside = (row < rows)[:, None] & known[None, :]
        place = row.to(tl.int64)[:, None] * C + channel[None, :]
        pull = tl.load(grad + place, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
        pull = _cut(pull, out, value, place, inside, scale, shift, RELU)
        first += pull
        second += pull * (value - centre) * spread
    into = partial + group * 2 * C + channel
    tl.store(into, tl.sum(first, 0), mask=known)
    tl.store(into + C, tl.sum(second, 0), mask=known)


@triton.jit
def _join_pulls_kernel(
    partial, numbers, found, live, C: tl.constexpr, G: tl.constexpr, BG: tl.constexpr, BC: tl.constexpr
):
    channel = tl.program_id(0) * BC + tl.arange(0, BC)
    known = channel < C
    rows = tl.load(live)
    first, second = tl.zeros((BG, BC), dtype=tl.float32), tl.zeros((BG, BC), dtype=tl.float32)
    for start in range(0, G, BG):
        group = start + tl.arange(0, BG)
        inside = (group < G)[:, None] & known[None, :]
        place = partial + group[:, None] * 2 * C + channel[None, :]
        first += tl.load(place, mask=inside, other=0.0)
        second += tl.load(place + C, mask=inside, other=0.0)
    bias, weight = tl.sum(first, 0), tl.sum(second, 0)
    centre = tl.load(numbers + channel, mask=known, other=0.0)
    spread = tl.load(numbers + C + channel, mask=known, other=0.0)
    factor = tl.load(numbers + 2 * C + channel, mask=known, other=0.0)
    slope = -factor * spread * weight / rows
    tl.store(found + channel, bias, mask=known)
    tl.store(found + C + channel, weight, mask=known)
    tl.store(found + 2 * C + channel, slope, mask=known)
    tl.store(found + 3 * C + channel, -factor * bias / rows - slope * centre, mask=known)


@triton.jit(do_not_specialize=["capacity"])
def _pull_kernel(
    grad, out, x, numbers, found, grad_x, grad_residual, live, capacity,
    C: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    inside = place < tl.load(live).to(tl.int64) * C
    whole = place < capacity.to(tl.int64) * C
    channel = (place % C).to(tl.int32)
    pull = tl.load(grad + place, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(numbers + 2 * C + channel)
    pull = _cut(pull, out, value, place, inside, scale, tl.load(numbers + 3 * C + channel), RELU)
    if RESIDUAL:
        tl.store(grad_residual + place, pull.to(grad_residual.dtype.element_ty), mask=whole)
    pull = pull * scale + value * tl.load(found + 2 * C + channel) + tl.load(found + 3 * C + channel)
    pull = tl.where(inside, pull, 0.0)
    tl.store(grad_x + place, pull.to(grad_x.dtype.element_ty), mask=whole)


_launch_sums, _launch_join = Launcher(_pull_sums_kernel), Launcher(_join_pulls_kernel)
_launch_pull = Launcher(_pull_kernel)


def pull_back(
    grad: Tensor, out: Tensor | None, x: Tensor, *, statistics: Statistics, residual: bool, relu: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """The gradients of batch-norm, residual sum and ReLU.

    Args:
        grad: (V, C) gradient of the result, contiguous.
        out: (V, C) the result; needed where a residual was added before ReLU.
        x: (V, C) the input.
        statistics: Of the input.
        residual: Whether there was one.
        relu: Whether negative values were cut.

    Returns:
        Gradients of input and residual (V, C), of weight and bias (C,) float32.
    """
    channels = x.shape[1]
    sign = NOWHERE if not relu else RESULT if residual else MAPPED
    signs, numbers, live = x if out is None else out, statistics.numbers, statistics.count
    partial = torch.empty(GROUPS, 2, channels, device=x.device)
    block = min(triton.next_power_of_2(channels), WIDEST)
    _launch_sums(
        (GROUPS, triton.cdiv(channels, block), 1),
        (grad, signs, x, numbers, partial, live),
        constants={"C": channels, "RELU": sign, "R": HELD // block, "BC": block, "STAGES": STAGES},
    )
    found = torch.empty(4, channels, device=x.device)
    _launch_join(
        (triton.cdiv(channels, JOINED), 1, 1),
        (partial, numbers, found, live),
        constants={"C": channels, "G": GROUPS, "BG": triton.next_power_of_2(GROUPS), "BC": JOINED},
        warps=8,
    )
    grad_x = torch.empty_like(x)
    grad_residual = torch.empty_like(x) if residual and relu else None
    _launch_pull(
        (triton.cdiv(x.numel(), ELEMENTS), 1, 1),
        (
            grad, signs, x, numbers, found, grad_x, grad_x if grad_residual is None else grad_residual, live,
            len(x),
        ),
        constants={"C": channels, "RESIDUAL": grad_residual is not None, "RELU": sign, "B": ELEMENTS},
        warps=8,
    )  # fmt: skip
    if residual and not relu:  # the sum hands its gradient on as it is
        grad_residual = grad
    return grad_x, grad_residual, found[1], found[0]

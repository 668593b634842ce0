"""After the decoder on a GPU: the pretext losses, each with two launches forward and one back.

Letters: Q queries, P query-support pairs, B pairs of a block, G programs.

Rows whose query is negative are no pairs. Sums are taken in float32, in a fixed order.
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

PROGRAMS, ROWS = 256, 1024


@triton.jit(do_not_specialize=["rows"])
def _sum_kernel(values, pair_query, targets, partial, rows, ENTROPY: tl.constexpr, B: tl.constexpr):
    # Binary cross-entropy of logits, or absolute differences to the targets that are not negative.
    total, terms = tl.zeros((B,), dtype=tl.float32), tl.zeros((B,), dtype=tl.int32)
    for block in range(tl.program_id(0), tl.cdiv(rows, B), tl.num_programs(0)):
        row = block * B + tl.arange(0, B)
        query = tl.load(pair_query + row, mask=row < rows, other=-1)
        value = tl.load(values + row, mask=query >= 0, other=0.0)
        target = tl.load(targets + query, mask=query >= 0, other=-1).to(tl.float32)
        counts = target >= 0
        if ENTROPY:
            loss = _positive(value) - value * target + tl.log(1.0 + tl.exp(-tl.abs(value)))
        else:
            loss = tl.abs(value - target)
        total += tl.where(counts, loss, 0.0)
        terms += counts.to(tl.int32)
    tl.store(partial + tl.program_id(0), tl.sum(total, 0))
    tl.store(partial + tl.num_programs(0) + tl.program_id(0), tl.sum(terms, 0).to(tl.float32))


@triton.jit
def _positive(value):
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _mean_kernel(partial, results, G: tl.constexpr):
    # The mean, and the number of terms (1 where there is none), exact up to 2**24 a program.
    program = tl.arange(0, G)
    terms = tl.sum(tl.load(partial + G + program).to(tl.int32), 0)
    terms = tl.maximum(terms, 1).to(tl.float32)
    tl.store(results, tl.sum(tl.load(partial + program), 0) / terms)
    tl.store(results + 1, terms)


@triton.jit(do_not_specialize=["rows"])
def _pull_kernel(
    values, pair_query, targets, results, grad, pulls, rows, ENTROPY: tl.constexpr, B: tl.constexpr
):
    row = tl.program_id(0) * B + tl.arange(0, B)
    query = tl.load(pair_query + row, mask=row < rows, other=-1)
    value = tl.load(values + row, mask=query >= 0, other=0.0)
    target = tl.load(targets + query, mask=query >= 0, other=-1).to(tl.float32)
    if ENTROPY:
        slope = 1.0 / (1.0 + tl.exp(-value)) - target
    else:
        slope = tl.where(value > target, 1.0, tl.where(value < target, -1.0, value - target))
    slope = slope * (tl.load(grad) / tl.load(results + 1))
    tl.store(pulls + row, tl.where(target >= 0, slope, 0.0), mask=row < rows)


_launch_sum, _launch_mean, _launch_pull = (
    Launcher(_sum_kernel),
    Launcher(_mean_kernel),
    Launcher(_pull_kernel),
)


def mean_loss(values: Tensor, pair_query: Tensor, *, targets: Tensor, entropy: bool) -> Tensor:
    """The mean loss over the pairs that have a target.

    Args:
        values: (P,) float32, logits or predictions.
        pair_query: (P,) int64 query of each pair.
        targets: (Q,) of any type; negative = none.
        entropy: Binary cross-entropy of logits; else absolute differences.

    Returns:
        Scalar; 0 with a zero gradient when there is no term.
    """
    found: Tensor = _MeanLoss.apply(
        values.contiguous(), pair_query.contiguous(), targets.contiguous(), entropy
    )
    return found


class _MeanLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, pair_query: Tensor, targets: Tensor, entropy: bool) -> Tensor:
        rows = len(values)
        partial, results = values.new_empty(2, PROGRAMS), values.new_empty(2)
        constants = {"ENTROPY": entropy, "B": ROWS}
        _launch_sum((PROGRAMS, 1, 1), (values, pair_query, targets, partial, rows), constants=constants)
        _launch_mean((1, 1, 1), (partial, results), constants={"G": PROGRAMS})
        ctx.save_for_backward(values, pair_query, targets, results)
        ctx.constants = constants
        return results[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        values, pair_query, targets, results = ctx.saved_tensors
        pulls = torch.empty_like(values)
        _launch_pull(
            (max(1, triton.cdiv(len(values), ROWS)), 1, 1),
            (values, pair_query, targets, results, grad.contiguous(), pulls, len(values)),
            constants=ctx.constants,
        )
        return pulls, None, None, None

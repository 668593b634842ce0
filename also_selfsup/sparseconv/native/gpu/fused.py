"""Native backend on a GPU: convolution, batch-norm, residual sum and ReLU as one step with few launches.

Letters: V voxels (rows), K cells of a kernel, I input channels, O output channels.

Between launches a GPU waits for the host; one differentiable step with nine launches in place of five with
two dozen is what makes a network of sixty of them wait less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from also_selfsup.sparseconv.native.gpu.aside import aside
from also_selfsup.sparseconv.native.gpu.plans import Plan
from also_selfsup.sparseconv.native.gpu.tiled import BLOCK, suits


def fusible(feats: Tensor, kernel: Tensor, norm: nn.BatchNorm1d) -> bool:
    """Whether convolution and batch-norm, here and now, are of the kind that the fused steps compute.

    Args:
        feats: (V, I) in the type of the arithmetic.
        kernel: (K, I, O) or (I, O), of any type.
        norm: With float32 weight, bias and running statistics.
    """
    cells = kernel[None] if kernel.dim() == 2 else kernel
    return (
        suits(feats, cells)
        and cells.shape[1] % BLOCK == 0
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and len(feats) > 1
        and (norm.training or not torch.is_grad_enabled())
    )


@dataclass(frozen=True)
class Source:
    """How the input of a step was made, if it can be made again: relu(batch-norm(x)).

    Attributes:
        x: (V, I), before batch-norm.
        statistics: Of a batch-norm in training.
    """

    x: Tensor
    statistics: Any

    def features(self) -> Tensor:
        """(V, I), what the step was given."""
        from also_selfsup.sparseconv.native.gpu.norm import affine

        return affine(self.x, self.statistics, residual=None, relu=True)


@dataclass
class Step:
    """One convolution with batch-norm, residual sum and ReLU, but for its tensors that learn.

    Attributes:
        cells: The kernel in the features' type (`Shadows`).
        plan: The pairs; None for a kernel (I, O), which joins each row with itself.
        norm: Of the kind that `fusible` says.
        count: (1,) int32 rows of the result that are there, on the device; those behind are filling.
        relu: Cut negative values.
        source: How the features were made: kept for backward in their place.
        made: After the step: how its own result can be made again, if it can.
    """

    cells: Tensor
    plan: Plan | None
    norm: nn.BatchNorm1d
    count: Tensor
    relu: bool
    source: Source | None = None
    made: Source | None = None


def train_unit(
    feats: Tensor, kernel: Tensor, *, step: Step, residual: Tensor | None
) -> tuple[Tensor, Tensor]:
    """relu(batch-norm(convolution(feats)) + residual), differentiable, in training.

    Args:
        feats: (V_in, I) bfloat16 or float16.
        kernel: (K, I, O) or (I, O), the parameter; its gradient comes in its own type.
        step: All else.
        residual: (V_out, O) of the features' type, or None.

    Returns:
        (V_out, O) of the features' type; and the features once more, for all who read them after this step:
        their gradients are then added where its own is written, which saves a sum in memory.
    """
    norm = step.norm
    result, passed = _Unit.apply(  # type: ignore[no-untyped-call]
        feats, kernel, norm.weight, norm.bias, residual, step
    )
    return result, feats if passed is None else passed


def evaluate_unit(
    feats: Tensor, *, step: Step, affine: tuple[Tensor, Tensor], residual: Tensor | None
) -> Tensor:
    """The same in evaluation, not differentiable; `affine` is what the batch-norm amounts to."""
    from also_selfsup.sparseconv.native.gpu import tile_products

    feats = feats.contiguous()
    if step.plan is None:
        scale, shift = affine
        x = torch.addcmul(shift, feats @ step.cells, scale)
        x = x.to(feats.dtype) if residual is None else (x + residual).to(feats.dtype)
        return x.relu_() if step.relu else x
    residual = None if residual is None else residual.contiguous()
    finish = tile_products.Finish(affine=affine, residual=residual, relu=step.relu)
    return tile_products.multiply(
        feats, step.cells, tiles=step.plan.tiles(), out_count=step.plan.counts[1], finish=finish
    )


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        feats: Tensor,
        kernel: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None,
        step: Step,
    ) -> tuple[Tensor, Tensor | None]:
        from also_selfsup.sparseconv.native.gpu import norm  # needs Triton

        ctx.set_materialize_grads(False)
        passed, feats = feats if ctx.needs_input_grad[0] else None, feats.contiguous()
        x, moments = _convolve(feats, step)
        residual = None if residual is None else residual.contiguous()
        statistics = norm.join(moments, step.norm, count=step.count)
        out = norm.affine(x, statistics, residual=residual, relu=step.relu)
        again = step.relu and residual is None
        step.made = Source(x, statistics) if again else None
        ctx.save_for_backward(feats if step.source is None else None, kernel, x, None if again else out)
        ctx.step, ctx.statistics, ctx.residual = step, statistics, residual is not None
        return out, passed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, added: Tensor | None) -> tuple[Tensor | None, ...]:
        from also_selfsup.sparseconv.native.gpu import pull

        if grad is None:  # the result was not used
            return added, None, None, None, None, None
        feats, kernel, x, out = ctx.saved_tensors
        grad_x, grad_residual, grad_weight, grad_bias = pull.pull_back(
            grad.to(x.dtype).contiguous(),
            out,
            x,
            statistics=ctx.statistics,
            residual=ctx.residual,
            relu=ctx.step.relu,
        )
        grad_feats, grad_kernel = _pull_convolution(ctx, grad_x, feats, kernel, added=added)
        return grad_feats, grad_kernel, grad_weight, grad_bias, grad_residual, None


def _convolve(feats: Tensor, step: Step) -> tuple[Tensor, Any]:
    """The convolution (V_out, O), and moments of its rows."""
    from also_selfsup.sparseconv.native.gpu import norm, tile_products

    if step.plan is None:
        x = feats @ step.cells
        return x, norm.moments_of(x, step.count)
    tiles, out_channels = step.plan.tiles(), step.cells.shape[2]
    moments = torch.empty(len(tiles.counts), 2, out_channels, device=feats.device)
    finish = tile_products.Finish(moments=moments)
    x = tile_products.multiply(feats, step.cells, tiles=tiles, out_count=step.plan.counts[1], finish=finish)
    return x, norm.Moments(moments, tiles.size)


def _pull_convolution(
    ctx: Any, grad: Tensor, feats: Tensor | None, kernel: Tensor, *, added: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the features, with what is added to it, and of the kernel, as far as they are needed."""
    from also_selfsup.sparseconv.native.gpu import chunks, tile_products

    step: Step = ctx.step
    plan, cells = step.plan, step.cells
    grad_feats = grad_kernel = None

    def kernel_gradient() -> Tensor:
        assert feats is not None or step.source is not None
        found = step.source.features() if feats is None and step.source else feats
        assert found is not None
        if plan is None:
            return (found.t() @ grad).to(kernel.dtype)
        total = chunks.weight_gradient(found, grad, chunks=plan.chunks(), cell_count=len(cells))
        return total.to(kernel.dtype)

    # Nobody reads its gradient before the pass ends: no kernel here belongs to two layers.
    if ctx.needs_input_grad[1] and kernel.is_leaf:
        grad_kernel = aside.run(kernel_gradient, reads=(feats, grad, step.source))
    elif ctx.needs_input_grad[1]:
        grad_kernel = kernel_gradient()
    if ctx.needs_input_grad[0] and plan is None:
        grad_feats = grad @ cells.t() if added is None else torch.addmm(added, grad, cells.t())
    elif ctx.needs_input_grad[0] and plan is not None:
        grad_feats = tile_products.multiply_back(
            grad,
            cells,
            tiles=plan.input_tiles(),
            out_count=plan.counts[0],
            mirrored=plan.mirrored,
            added=added if added is None or _in_rows(added) else added.contiguous(),
        )
    return grad_feats, grad_kernel


def _in_rows(x: Tensor) -> bool:
    """Whether (V, C) lies row by row, perhaps with something in between; an expanded row does not."""
    return x.stride(1) == 1 and x.stride(0) >= x.shape[1]

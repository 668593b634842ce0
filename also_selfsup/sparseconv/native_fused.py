"""Native backend on a GPU: convolution, batch-norm, residual sum and ReLU as one step with few launches.

Letters: V voxels (rows), K cells of a kernel, I input channels, O output channels.

Between launches a GPU waits for the host; one differentiable step with nine launches in place of five with
two dozen is what makes a network of sixty of them wait less.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakTensorKeyDictionary

from also_selfsup.sparseconv.native_plans import Plan
from also_selfsup.sparseconv.native_tiled import BLOCK, suits


class Shadows:
    """Copies of the kernels in 16 bits, refreshed together once a forward pass."""

    def __init__(self) -> None:
        self._copies: dict[torch.dtype, Any] = {}
        self._fresh = False

    def __reduce__(self) -> tuple[type[Shadows], tuple[()]]:
        """A copy of a network makes its own."""
        return Shadows, ()

    def begin(self) -> None:
        """A new pass: weights may have changed in any way since the last one."""
        self._fresh = False

    def of(self, kernel: Tensor, dtype: torch.dtype) -> Tensor:
        """The kernel in that type, contiguous; not differentiable."""
        if not isinstance(kernel, nn.Parameter):  # made for this pass only
            return kernel.detach().to(dtype).contiguous()
        if not self._fresh:
            self._refresh()
        copies = self._copies.setdefault(dtype, WeakTensorKeyDictionary())
        found: Tensor | None = copies.get(kernel)
        if found is None or found.device != kernel.device or found.shape != kernel.shape:
            found = kernel.detach().to(dtype, copy=True).contiguous()
            copies[kernel] = found
        return found

    @torch.no_grad()
    def _refresh(self) -> None:
        for copies in self._copies.values():
            pairs = [
                (k, copy) for k, copy in copies.items() if k.device == copy.device and k.shape == copy.shape
            ]
            if pairs:
                torch._foreach_copy_([copy for _, copy in pairs], [kernel for kernel, _ in pairs])
        self._fresh = True


def fusible(feats: Tensor, kernel: Tensor, norm: nn.BatchNorm1d) -> bool:
    """Whether convolution and batch-norm, here and now, are of the kind that the fused step computes.

    Args:
        feats: (V, I) in the type of the arithmetic.
        kernel: (K, I, O) or (I, O), of any type.
        norm: In training, with float32 weight, bias and running statistics.
    """
    cells = kernel[None] if kernel.dim() == 2 else kernel
    return (
        suits(feats, cells)
        and cells.shape[1] % BLOCK == 0
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and len(feats) > 1
    )


def unit(
    feats: Tensor,
    kernel: Tensor,
    *,
    cells: Tensor,
    plan: Plan | None,
    norm: nn.BatchNorm1d,
    residual: Tensor | None,
    relu: bool,
) -> Tensor:
    """relu(batch-norm(convolution(feats)) + residual), differentiable, in training.

    Args:
        feats: (V_in, I) bfloat16 or float16.
        kernel: (K, I, O) or (I, O), the parameter; its gradient comes in its own type.
        cells: The kernel in the features' type (`Shadows`).
        plan: The pairs; None for a kernel (I, O), which joins each row with itself.
        norm: Of the kind that `fusible` says.
        residual: (V_out, O) of the features' type, or None.
        relu: Cut negative values.

    Returns:
        (V_out, O) of the features' type.
    """
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    result: Tensor = _Unit.apply(  # type: ignore[no-untyped-call]
        feats, kernel, norm.weight, norm.bias, residual, cells, plan, norm, relu
    )
    return result


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        feats: Tensor,
        kernel: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None,
        cells: Tensor,
        plan: Plan | None,
        norm: nn.BatchNorm1d,
        relu: bool,
    ) -> Tensor:
        from also_selfsup.sparseconv import native_triton, native_triton_norm  # need Triton

        feats = feats.contiguous()
        if plan is None:
            x = feats @ cells
        else:
            x = native_triton.multiply(feats, cells, tiles=plan.tiles(), out_count=plan.counts[1])
        residual = None if residual is None else residual.contiguous()
        out, statistics = native_triton_norm.normalise(x, norm, residual=residual, relu=relu)
        ctx.save_for_backward(feats, kernel, x, out)
        ctx.cells, ctx.plan, ctx.statistics = cells, plan, statistics
        ctx.relu, ctx.residual = relu, residual is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from also_selfsup.sparseconv import native_triton_pull

        feats, kernel, x, out = ctx.saved_tensors
        grad_x, grad_residual, grad_weight, grad_bias = native_triton_pull.pull_back(
            grad.to(x.dtype).contiguous(),
            out,
            x,
            statistics=ctx.statistics,
            residual=ctx.residual,
            relu=ctx.relu,
        )
        grad_feats, grad_kernel = _pull_convolution(ctx, grad_x, feats, kernel)
        return grad_feats, grad_kernel, grad_weight, grad_bias, grad_residual, None, None, None, None


def _pull_convolution(
    ctx: Any, grad: Tensor, feats: Tensor, kernel: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the features and of the kernel, as far as they are needed."""
    from also_selfsup.sparseconv import native_triton

    plan, cells = ctx.plan, ctx.cells
    grad_feats = grad_kernel = None
    if plan is None:
        grad_feats = grad @ cells.t() if ctx.needs_input_grad[0] else None
        grad_kernel = (feats.t() @ grad).to(kernel.dtype) if ctx.needs_input_grad[1] else None
        return grad_feats, grad_kernel
    if ctx.needs_input_grad[0]:
        grad_feats = native_triton.multiply_back(
            grad, cells, tiles=plan.input_tiles(), out_count=plan.counts[0], mirrored=plan.mirrored
        )
    if ctx.needs_input_grad[1]:
        total = native_triton.weight_gradient(feats, grad, chunks=plan.chunks(), cell_count=len(cells))
        grad_kernel = total.to(kernel.dtype)
    return grad_feats, grad_kernel

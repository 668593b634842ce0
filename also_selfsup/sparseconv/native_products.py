"""Native backend, the arithmetic: gather rows, multiply by the kernel cell's matrix, sum by output row.

Letters: V voxels (rows), K cells of a kernel, P pairs, I input channels, O output channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from also_selfsup.sparseconv.native_levels import KernelMap


def convolve(feats: Tensor, cells: Tensor, pairs: KernelMap) -> Tensor:
    """Differentiable sparse convolution.

    Args:
        feats: (V_in, I).
        cells: (K, I, O), of the same dtype.
        pairs: Rows joined by each cell.

    Returns:
        (V_out, O), summed in float32 at least.
    """
    result: Tensor = _Convolution.apply(feats, cells, pairs)
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, cells: Tensor, pairs: KernelMap) -> Tensor:
        ctx.save_for_backward(feats, cells)
        ctx.pairs = pairs
        return _forward(feats, cells, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, cells = ctx.saved_tensors
        pairs: KernelMap = ctx.pairs
        grad_feats = grad_cells = None
        if ctx.needs_input_grad[0]:
            grad_feats = _forward(grad, cells.transpose(1, 2), pairs.swapped())
        if ctx.needs_input_grad[1]:
            grad_cells = _kernel_gradient(feats, grad, pairs).to(cells.dtype)
        return grad_feats, grad_cells, None


def _wide(x: Tensor) -> Tensor:
    """16-bit numbers as float32: products and sums are taken there."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _forward(feats: Tensor, cells: Tensor, pairs: KernelMap) -> Tensor:
    """Σ over pairs of feats[input] @ cells[k], by output row."""
    wide, matrices = _wide(feats), _wide(cells)
    products = wide.new_empty(len(pairs.inputs), cells.shape[2])
    start = 0
    for cell, count in enumerate(pairs.counts):
        stop = start + count
        rows = wide if cell == pairs.identity else wide[pairs.inputs[start:stop]]
        torch.mm(rows, matrices[cell], out=products[start:stop])
        start = stop
    return _sum_by_output(products, pairs).to(feats.dtype)


def _sum_by_output(products: Tensor, pairs: KernelMap) -> Tensor:
    """(P, O) products to (V_out, O) sums."""
    if not len(products):
        return products.new_zeros(pairs.out_count, products.shape[1])
    order, starts = pairs.bags()
    return functional.embedding_bag(order, products, starts, mode="sum", include_last_offset=True)


def _kernel_gradient(feats: Tensor, grad: Tensor, pairs: KernelMap) -> Tensor:
    """(K, I, O): for each cell, Σ over its pairs of feats[input]ᵀ grad[output]."""
    wide, wide_grad = _wide(feats), _wide(grad)
    result = wide.new_empty(len(pairs.counts), feats.shape[1], grad.shape[1])
    start = 0
    for cell, count in enumerate(pairs.counts):
        stop = start + count
        torch.mm(wide[pairs.inputs[start:stop]].T, wide_grad[pairs.outputs[start:stop]], out=result[cell])
        start = stop
    return result

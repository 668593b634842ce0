"""Native backend, the arithmetic: gather rows, multiply by the kernel cell's matrix, sum by output row.

Letters: V voxels (rows), K cells of a kernel, P pairs, I input channels, O output channels.

A product is small enough for the cache, and opposite cells of a submanifold kernel, which join equally many
rows, are multiplied as one batch. One segmented sum over output rows adds the products up; the centre, which
joins each row with itself, needs no gathering and is added by its own matrix product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from also_selfsup.sparseconv.native.levels import Workspace
from also_selfsup.sparseconv.native.pairs import KernelMap


def convolve(feats: Tensor, cells: Tensor, *, pairs: KernelMap, workspace: Workspace) -> Tensor:
    """Differentiable sparse convolution.

    Args:
        feats: (V_in, I).
        cells: (K, I, O), of the same dtype.
        pairs: Rows joined by each cell.
        workspace: Buffers of this batch.

    Returns:
        (V_out, O) of the same dtype; sums of 16-bit numbers are taken in float32.
    """
    result: Tensor = _Convolution.apply(feats, cells, pairs, workspace)  # type: ignore[no-untyped-call]
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, cells: Tensor, pairs: KernelMap, workspace: Workspace) -> Tensor:
        ctx.save_for_backward(feats, cells)
        ctx.pairs, ctx.workspace = pairs, workspace
        return _outputs(_wide(feats), _wide(cells), pairs=pairs, workspace=workspace).to(feats.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        feats, cells = ctx.saved_tensors
        grad_feats, grad_cells = _gradients(
            _wide(feats),
            _wide(cells),
            grad=_wide(grad.contiguous()),
            needed=(ctx.needs_input_grad[0], ctx.needs_input_grad[1]),
            pairs=ctx.pairs,
            workspace=ctx.workspace,
        )
        return (
            None if grad_feats is None else grad_feats.to(feats.dtype),
            None if grad_cells is None else grad_cells.to(cells.dtype),
            None,
            None,
        )


def _wide(x: Tensor) -> Tensor:
    """16-bit numbers as float32 on the CPU; a GPU multiplies them as they are and accumulates in float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) and not x.is_cuda else x


def _outputs(feats: Tensor, cells: Tensor, *, pairs: KernelMap, workspace: Workspace) -> Tensor:
    """(V_in, I) and (K, I, O) to (V_out, O)."""
    products = workspace.rows("products", len(pairs), like=feats, channels=cells.shape[2])
    for block in pairs.blocks:
        rows, out = workspace.gather("rows", feats, block.rows[pairs.side]), products[block.places]
        for group in block.groups:
            torch.bmm(group.of(rows), cells[group.cells], out=group.of(out))
    return _sum(products, pairs, centre=feats, cells=cells)


def _sum(products: Tensor, pairs: KernelMap, *, centre: Tensor, cells: Tensor) -> Tensor:
    """Sums of the products (P, O) by output row, plus the centre's own: (V_out, O)."""
    if not len(products):
        if pairs.identity is not None:
            return centre @ cells[pairs.identity]
        return products.new_zeros(pairs.counts[1 - pairs.side], products.shape[1])
    order, starts = pairs.bags()
    sums = functional.embedding_bag(order, products, starts, mode="sum", include_last_offset=True)
    return sums if pairs.identity is None else sums.addmm_(centre, cells[pairs.identity])


def _gradients(
    feats: Tensor,
    cells: Tensor,
    *,
    grad: Tensor,
    needed: tuple[bool, bool],
    pairs: KernelMap,
    workspace: Workspace,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the features (V_in, I) and of the kernel (K, I, O), as far as they are needed.

    The rows of the output's gradient are gathered once for both.
    """
    transposed, in_channels = cells.transpose(1, 2), cells.shape[1]
    products = workspace.rows("products", len(pairs) * needed[0], like=feats, channels=in_channels)
    slots = _new_slots(cells, pairs=pairs, workspace=workspace) if needed[1] else None
    for block in pairs.blocks:
        grads = workspace.gather("grads", grad, block.rows[1 - pairs.side])
        if needed[0]:
            out = products[block.places]
            for group in block.groups:
                torch.bmm(group.of(grads), transposed[group.cells], out=group.of(out))
        if slots is not None:
            rows = workspace.gather("rows", feats, block.rows[pairs.side])
            for group in block.groups:
                slot, left = slots[group.slots], group.of(rows).transpose(1, 2)
                torch.baddbmm(slot, left, group.of(grads), beta=0 if group.first else 1, out=slot)
    return (
        _sum(products, pairs.swapped(), centre=grad, cells=transposed) if needed[0] else None,
        None if slots is None else _in_cell_order(slots, feats, grad, pairs=pairs),
    )


def _new_slots(cells: Tensor, *, pairs: KernelMap, workspace: Workspace) -> Tensor:
    """Room for the kernel's gradient: a buffer where slots are brought into the order of cells in the end."""
    if pairs.slots is None:
        return torch.empty_like(cells, memory_format=torch.contiguous_format)
    count, in_channels, out_channels = cells.shape
    return workspace.rows("kernel", count * in_channels, like=cells, channels=out_channels).view(cells.shape)


def _in_cell_order(slots: Tensor, feats: Tensor, grad: Tensor, *, pairs: KernelMap) -> Tensor:
    """The kernel's gradient, completed by the centre and by cells without pairs, from slots to cells."""
    for slot in pairs.empty_slots:
        slots[slot].zero_()
    if pairs.identity is not None:
        torch.mm(feats.T, grad, out=slots[-1])
    return slots if pairs.slots is None else slots.index_select(0, pairs.slots)

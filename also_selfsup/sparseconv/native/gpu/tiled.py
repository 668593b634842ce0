"""Native backend on a GPU: the differentiable convolution over tiles, in bfloat16 or float16.

Letters: V voxels (rows), K cells of a kernel, I input channels, O output channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from also_selfsup.sparseconv.native.gpu.plans import Plan
from also_selfsup.sparseconv.native.gpu.tiles import Chunks, Tiles, Work, make_chunks, make_tiles
from also_selfsup.sparseconv.native.pairs import KernelMap
from also_selfsup.transforms.launch import has_matrix_units

# Channels of a block, and cells that fit into the bits of a key.
BLOCK, MOST_CELLS = 16, 30


def suits(feats: Tensor, kernel: Tensor) -> bool:
    """Whether tiles can do this convolution: 16-bit, whole blocks of channels, a GPU with matrix units."""
    return (
        feats.is_cuda
        and feats.dtype in (torch.bfloat16, torch.float16)
        and kernel.shape[2] % BLOCK == 0
        and kernel.shape[0] <= MOST_CELLS
        and len(feats) > 0
        and has_matrix_units(feats.device)
    )


def tiling(device: torch.device) -> bool:
    """Whether the features of a pass, here and now, will suit: autocast is on, on a GPU with matrix units."""
    return (
        device.type == "cuda"
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") in (torch.bfloat16, torch.float16)
        and has_matrix_units(device)
    )


def convolve_tiled(feats: Tensor, kernel: Tensor, *, plan: Plan) -> Tensor:
    """Differentiable sparse convolution.

    Args:
        feats: (V_in, I) bfloat16 or float16.
        kernel: (K, I, O), of that type or wider; its gradient comes in its own type, summed in float32.
        plan: Rows joined by each cell.

    Returns:
        (V_out, O) of the features' type.
    """
    if missing := -kernel.shape[1] % BLOCK:  # the few channels of a network's input: zeros fill up a block
        feats = functional.pad(feats, (0, missing))
        kernel = functional.pad(kernel, (0, 0, 0, missing))
    result: Tensor = _TiledConvolution.apply(feats, kernel, plan)  # type: ignore[no-untyped-call]
    return result


class PairsPlan:
    """What the layers of one kernel map share, each made when first needed and kept with the map.

    The map with swapped sides shares it too: the tiles of its output rows are those of this one's input rows.
    """

    def __init__(self, pairs: KernelMap, *, cell_count: int) -> None:
        self.pairs, self.cell_count = pairs, cell_count
        # Submanifold maps of odd size: the pairs of the opposite cell are these with sides swapped.
        self.mirrored = pairs.identity is not None

    @property
    def counts(self) -> tuple[int, int]:
        """V_in, V_out."""
        here = self.pairs.side
        return self.pairs.counts[here], self.pairs.counts[1 - here]

    def tiles(self) -> Tiles:
        """Tiles of the output rows."""
        return self._tiles(self.pairs.side)

    def input_tiles(self) -> Tiles:
        """Tiles of the input rows; those of the output rows where the map mirrors itself."""
        return self._tiles(self.pairs.side if self.mirrored else 1 - self.pairs.side)

    def chunks(self) -> Chunks:
        """Chunks of the pairs."""
        chunks: Chunks = self._made("chunks", lambda: make_chunks(self._work(0)))
        return chunks.swapped() if self.pairs.side else chunks

    def _tiles(self, side: int) -> Tiles:
        out_count = self.pairs.counts[1 - side]
        tiles: Tiles = self._made(f"tiles {side}", lambda: make_tiles(self._work(side), out_count=out_count))
        return tiles

    def _work(self, side: int) -> Work:
        work: Work = self._made("work", lambda: Work.of(self.pairs, cell_count=self.cell_count))
        return work.swapped() if side else work

    def _made(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.pairs.derived:
            self.pairs.derived[name] = make()
        return self.pairs.derived[name]


class _TiledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, kernel: Tensor, plan: Plan) -> Tensor:
        from also_selfsup.sparseconv.native.gpu import tile_products  # needs Triton

        feats = feats.contiguous()
        ctx.save_for_backward(feats, kernel)
        ctx.plan = plan
        cells = kernel.to(feats.dtype).contiguous()
        return tile_products.multiply(feats, cells, tiles=plan.tiles(), out_count=plan.counts[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        from also_selfsup.sparseconv.native.gpu import chunks, tile_products

        feats, kernel = ctx.saved_tensors
        plan, grad = ctx.plan, grad.to(feats.dtype).contiguous()
        grad_feats = grad_kernel = None
        if ctx.needs_input_grad[0]:
            grad_feats = tile_products.multiply_back(
                grad,
                kernel.to(feats.dtype).contiguous(),
                tiles=plan.input_tiles(),
                out_count=plan.counts[0],
                mirrored=plan.mirrored,
            )
        if ctx.needs_input_grad[1]:
            total = chunks.weight_gradient(feats, grad, chunks=plan.chunks(), cell_count=len(kernel))
            grad_kernel = total.to(kernel.dtype)
        return grad_feats, grad_kernel, None

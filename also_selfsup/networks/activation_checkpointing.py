"""Inside a backbone: blocks that keep only their input and compute the rest again in the backward pass.

Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016. Letters: V voxels (rows), C channels.

`torch.utils.checkpoint` would not do: it frees what autograd saved, but the fused steps of a GPU keep more
beside it; it would move the statistics of batch-norm twice; and in a recorded pass
(`sparseconv.native.gpu.recording`) it would find other parameters in the backward pass than in the forward
pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from also_selfsup.sparseconv import Voxels


class CheckpointedBlock(nn.Module, ABC):
    """A block whose result has the cells of its input, and which draws no random numbers.

    Attributes:
        checkpointed: In training keep only the input for the backward pass, which runs `compute` once more;
            results, gradients and statistics stay the same. In evaluation it says nothing.
    """

    checkpointed = False

    @abstractmethod
    def compute(self, x: Voxels) -> Voxels:
        """The block's result on the cells of `x`."""

    def forward(self, x: Voxels) -> Voxels:
        """`compute(x)`, by one of two ways of going back."""
        if not (self.checkpointed and self.training and torch.is_grad_enabled()):
            return self.compute(x)
        cells: list[Voxels] = []
        feats: Tensor = _Checkpoint.apply(  # type: ignore[no-untyped-call]
            self, x, cells, x.feats, *self.parameters()
        )
        return cells[0].with_feats(feats)


def checkpoint_blocks(network: nn.Module) -> None:
    """Let all blocks of a network keep only their input in training.

    Raises:
        ValueError: It has no such block.
    """
    blocks = [module for module in network.modules() if isinstance(module, CheckpointedBlock)]
    if not blocks:
        raise ValueError(f"{type(network).__name__} has no residual blocks whose activations could be freed.")
    for block in blocks:
        block.checkpointed = True


class _Checkpoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        block: CheckpointedBlock,
        x: Voxels,
        cells: list[Voxels],
        feats: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        device = feats.device.type
        # A cache of casts would outlive the second pass: it is for weights that are used again.
        ctx.autocast = partial(
            torch.autocast,
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
            cache_enabled=False,
        )
        # With gradients, though they are let go with `y`: backends choose their way by it, and both passes
        # have to go the same one.
        with torch.enable_grad():
            y = block.compute(x.with_feats(feats))  # of its own: this graph is let go
        # The cells of the result, not those of `x`: libraries add to them what they found (pairs of rows).
        cells.append(y.with_feats(feats.new_empty(len(feats), 0)))
        ctx.block, ctx.cells = block, cells[0]
        ctx.save_for_backward(feats, *parameters)
        return y.feats.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[3:]
        # The parameters of the forward pass, as leaves of a graph of this pass alone: hooks on the network's
        # own, such as those of DDP, see one gradient.
        feats, *parameters = (
            tensor.detach().requires_grad_(wanted)
            for tensor, wanted in zip(ctx.saved_tensors, needed, strict=True)
        )
        with torch.enable_grad(), ctx.autocast():
            y = _compute_again(ctx.block, ctx.cells.with_feats(feats), parameters)
        wanted = [tensor for tensor in (feats, *parameters) if tensor.requires_grad]
        found = iter(torch.autograd.grad(y.feats, wanted, grad, allow_unused=True))
        return None, None, None, *(next(found) if one else None for one in needed)


def _compute_again(block: CheckpointedBlock, x: Voxels, parameters: list[Tensor]) -> Voxels:
    """The result of a block with these parameters; statistics and counts of its batch-norms do not move."""
    names = [name for name, _ in block.named_parameters()]
    tensors = dict(zip(names, parameters, strict=True))
    tensors |= {name: buffer.clone() for name, buffer in block.named_buffers()}
    own = {f"block.{name}": tensor for name, tensor in tensors.items()}
    y: Voxels = torch.func.functional_call(_Compute(block), own, (x,))
    return y


class _Compute(nn.Module):
    """`compute` of a block as a module, which is what `torch.func.functional_call` can call."""

    def __init__(self, block: CheckpointedBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Voxels) -> Voxels:
        """The block's result."""
        return self.block.compute(x)

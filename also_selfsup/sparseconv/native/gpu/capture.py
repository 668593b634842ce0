"""Native backend on a GPU: a network's forward and backward pass written down as CUDA graphs.

Letters: V voxels (rows), C channels, L latents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from also_selfsup.sparseconv.native.gpu.aside import aside
from also_selfsup.sparseconv.native.gpu.layout import Tables
from also_selfsup.sparseconv.native.gpu.shadows import Shadows
from also_selfsup.transforms.compiling import compile_log, noting

Pass = Callable[[Tensor, Tables], Tensor]


class Token:
    """Stands for one forward pass; `done` once its backward pass has run."""

    done = False


@dataclass
class Recording:
    """One forward and backward pass, with the memory they read and write.

    Attributes:
        feats: (V, C) of the input, V as much as there is room for.
        tables: Of the batch.
        out: (V, L) result.
        grad: (V, L) gradient of the result.
        parameters: That learn.
        gradients: Of the parameters; None for one that the result does not depend on.
        forward, backward: The graphs.
        key: What the recording holds for.
        anchor: What the result depends on for autograd, where gradients are stored and not handed on.
        latest: The last forward pass.
    """

    feats: Tensor
    tables: Tables
    out: Tensor
    grad: Tensor
    parameters: list[nn.Parameter]
    gradients: Sequence[Tensor | None]
    forward: torch.cuda.CUDAGraph
    backward: torch.cuda.CUDAGraph
    key: Any
    anchor: Tensor
    latest: Callable[[], Token | None] = field(default=lambda: None)

    def busy(self) -> bool:
        """Whether a forward pass still waits for its backward pass, whose memory must not be written over."""
        token = self.latest()
        return token is not None and not token.done


class _Bound(nn.Module):
    """A pass over a network whose parameters can be exchanged for others (`torch.func.functional_call`)."""

    def __init__(self, network: nn.Module, step: Pass) -> None:
        super().__init__()
        self.network, self.step = network, step

    def forward(self, feats: Tensor, tables: Tables) -> Tensor:
        """(V, L)."""
        return self.step(feats, tables)


def compile_pass(network: nn.Module, step: Pass, feats: Tensor, *, tables: Tables) -> None:
    """Compile the kernels of both passes; nothing comes of them, and nothing is changed.

    A pass without kernels computes with what it finds in memory, but what it launches is the same.
    """
    own = {f"network.{name}": p.detach().requires_grad_() for name, p in network.named_parameters()}
    buffers = {f"network.{name}": buffer.clone() for name, buffer in network.named_buffers()}
    dtype = torch.get_autocast_dtype("cuda")
    with noting() as noted, torch.autocast("cuda", dtype, cache_enabled=False):
        out = torch.func.functional_call(_Bound(network, step), own | buffers, (feats, tables))
        torch.autograd.grad(out, list(own.values()), torch.zeros_like(out), allow_unused=True)
    noted.compile_all()


def record(
    network: nn.Module, step: Pass, feats: Tensor, *, tables: Tables, key: Any, shadows: Shadows
) -> Recording:
    """Record both passes; nothing of them runs now.

    Args:
        network: Whose parameters learn.
        step: The pass.
        feats: (V, C).
        tables: Of a batch.
        key: What the recording shall hold for.
        shadows: Where the pass looks for its kernels in 16 bits.
    """
    compile_log.tell()  # all kernels have run by now
    torch.cuda.empty_cache()  # a recording keeps its memory for itself: let it have what earlier passes left
    still, moved = feats.clone(), tables.moved(torch.empty_like(tables.buffer))
    parameters = list(network.parameters())
    # The same memory under names of their own: what is left of earlier passes holds on to the parameters, and
    # to the stream on which it ran.
    own = {f"network.{name}": p.detach().requires_grad_() for name, p in network.named_parameters()}
    forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    # Other threads may do as they like meanwhile: loaders pin memory.
    mode: Any = "thread_local"
    dtype = torch.get_autocast_dtype("cuda")
    with (
        torch.autocast("cuda", dtype, cache_enabled=False),
        torch.cuda.graph(forward, capture_error_mode=mode),
        shadows.lending(list(own.values()), dtype),
    ):
        out = torch.func.functional_call(_Bound(network, step), own, (still, moved))
    grad = torch.zeros_like(out)
    apart = [torch.empty_like(parameter) for parameter in parameters]
    with torch.cuda.graph(backward, pool=forward.pool(), capture_error_mode=mode):
        with aside:
            found = torch.autograd.grad(out, list(own.values()), grad, allow_unused=True)
        gradients = _out_of_reach(found, apart)
    del apart
    anchor = torch.zeros((), device=out.device, requires_grad=True)
    return Recording(still, moved, out.detach(), grad, parameters, gradients, forward, backward, key, anchor)


def _out_of_reach(gradients: Sequence[Tensor | None], apart: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients, in memory that the next forward pass does not write to.

    Both passes share a pool: where the forward pass has freed what it needed for a while, the backward one
    may have put a gradient, and gradients that add up over several batches outlive the next forward pass.

    Args:
        gradients: As recorded.
        apart: Memory for each, not of the pool.
    """
    moved = [
        (there, gradient)
        for there, gradient in zip(apart, gradients, strict=True)
        if gradient is not None and not aside.made(gradient)
    ]
    if moved:
        torch._foreach_copy_([there for there, _ in moved], [gradient for _, gradient in moved])
    places = {id(gradient): there for there, gradient in moved}
    return [gradient if gradient is None else places.get(id(gradient), gradient) for gradient in gradients]

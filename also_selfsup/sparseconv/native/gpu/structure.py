"""Native backend on a GPU: what a recorded pass asks of its network in every step, quickly.

Walking through the modules of a deep network takes the host milliseconds.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import ref

import torch
from torch import nn


class Structure:
    """Modules and parameters of a network, looked up once; tells whether they are still those."""

    def __init__(self, network: nn.Module) -> None:
        # Weakly: whoever holds this belongs to the network, and a ring would keep its GPU memory.
        self._modules = [ref(module) for module in network.modules()]
        self.parameters = list(network.parameters())
        self._members = _ids([module() for module in self._modules])

    def trained_whole(self) -> bool | None:
        """Whether all of it trains, in the way that the fused steps compute; None if it has changed."""
        modules = [module() for module in self._modules]
        if _ids(modules) != self._members:
            return None
        return all(
            module is not None and module.training and not isinstance(module, nn.SyncBatchNorm)
            for module in modules
        ) and all(p.requires_grad and p.dtype == torch.float32 for p in self.parameters)


def _ids(modules: Sequence[nn.Module | None]) -> list[int]:
    """Of the modules' own members."""
    return [
        id(member)
        for module in modules
        if module is not None
        for members in (module._modules, module._parameters)
        for member in members.values()
    ]


def gradients_are_awaited() -> bool:
    """Whether hooks of the parameters may wait for gradients: DDP has them, with one process too.

    Otherwise they are stored as they are: handing on two hundred of them takes the host a millisecond.
    """
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@contextmanager
def without_collector() -> Iterator[None]:
    """Collect garbage now and not within: a former recording that is freed during another one spoils it."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

"""Native backend on a GPU: what a recorded pass asks of its network in every step, quickly.

Walking through the modules of a deep network takes the host milliseconds.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from operator import attrgetter
from weakref import ref

import torch
from torch import nn

_MODULES, _TRAINS = attrgetter("_modules"), attrgetter("training")
_LEARNS, _DTYPE = attrgetter("requires_grad"), attrgetter("dtype")


class Structure:
    """Modules and parameters of a network, looked up once; tells whether they are still those.

    That is asked in every step: `map` goes through hundreds of members in half the time of a loop.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = list(network.modules())
        # Weakly: whoever holds this belongs to the network, and a ring would keep its GPU memory.
        self._modules = [ref(module) for module in modules]
        self.parameters = list(network.parameters())
        # A module keeps its class and its dictionary of parameters, but not what that holds.
        self._synchronised = any(isinstance(module, nn.SyncBatchNorm) for module in modules)
        self._own = [module._parameters for module in modules]
        self._members = self._found_members(modules)

    def trained_whole(self) -> bool | None:
        """Whether all of it trains, in the way that the fused steps compute; None if it has changed."""
        modules = [module for one in self._modules if (module := one()) is not None]
        if self._found_members(modules) != self._members:
            return None
        return (
            not self._synchronised
            and all(map(_TRAINS, modules))
            and all(map(_LEARNS, self.parameters))
            and set(map(_DTYPE, self.parameters)) <= {torch.float32}
        )

    def _found_members(self, modules: list[nn.Module]) -> list[int]:
        """Of the modules themselves: identities of their modules and parameters."""
        parts = chain.from_iterable(map(dict.values, map(_MODULES, modules)))
        return list(map(id, chain(parts, chain.from_iterable(map(dict.values, self._own)))))


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

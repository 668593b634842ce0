"""Native backend on a GPU: what a recorded pass asks of its network in every step, quickly.

Walking through the modules of a deep network takes the host milliseconds.
"""

from __future__ import annotations

import torch
from torch import nn


class Structure:
    """Modules and parameters of a network, looked up once; tells whether they are still those."""

    def __init__(self, network: nn.Module) -> None:
        self.modules, self.parameters = list(network.modules()), list(network.parameters())
        self._members = self._ids()

    def trained_whole(self) -> bool | None:
        """Whether all of it trains, in the way that the fused steps compute; None if it has changed."""
        if self._ids() != self._members:
            return None
        return all(
            module.training and not isinstance(module, nn.SyncBatchNorm) for module in self.modules
        ) and all(p.requires_grad and p.dtype == torch.float32 for p in self.parameters)

    def _ids(self) -> list[int]:
        return [
            id(member)
            for module in self.modules
            for members in (module._modules, module._parameters)
            for member in members.values()
        ]


def gradients_are_awaited() -> bool:
    """Whether hooks of the parameters exchange gradients between processes.

    Otherwise they are stored as they are: handing on two hundred of them takes the host a millisecond.
    """
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1

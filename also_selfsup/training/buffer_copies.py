"""Beside the training step: the buffers of a module, such as batch-norm's statistics, as they were before."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


class BufferCopies:
    """The last few states of some tensors, in two calls a state however many tensors there are.

    Args:
        buffers: Tensors, of any types.
        copies: States to keep.
    """

    def __init__(self, buffers: Iterable[Tensor], *, copies: int) -> None:
        # Copies in one call want one type and device.
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = defaultdict(list)
        for buffer in buffers:
            groups[buffer.dtype, buffer.device].append(buffer)
        self._groups = list(groups.values())
        self._copies = [
            [[torch.clone(one) for one in group] for group in self._groups] for _ in range(copies)
        ]
        self.newest = copies - 1  # the place of the state kept last

    @torch.no_grad()
    def keep(self) -> None:
        """Keep the present state in the place of the oldest."""
        self.newest = (self.newest + 1) % len(self._copies)
        for kept, group in zip(self._copies[self.newest], self._groups, strict=True):
            torch._foreach_copy_(kept, group)

    @torch.no_grad()
    def restore(self, place: int) -> None:
        """Go back to the state of a place, also in the copies made since: they grew from what came after."""
        for number in range(len(self._copies)):
            target = self._groups if number == place else self._copies[number]
            for group, kept in zip(target, self._copies[place], strict=True):
                torch._foreach_copy_(group, kept)

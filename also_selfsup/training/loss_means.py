"""Beside the training step: mean losses of the epoch so far, which a checkpoint within it can carry."""

import torch
from torch import Tensor
from torchmetrics import Metric

from also_selfsup.losses.weighting import at_least_single


class LossMeans(Metric):
    """Means of named losses over the scans since the last reset, in all processes.

    A step whose total is NaN or infinite is not counted: its update of the weights is left out too.
    """

    full_state_update = False
    scans: Tensor

    def __init__(self) -> None:
        """Start without a loss; names come with the first update."""
        super().__init__()
        self.add_state("scans", torch.zeros(()), dist_reduce_fx="sum")

    def expect(self, names: list[str]) -> None:
        """Make room for losses of these names, as states `sum/<name>`."""
        for name in names:
            if (state := f"sum/{name}") not in self._defaults:
                self.add_state(state, torch.zeros((), device=self.scans.device), dist_reduce_fx="sum")

    def update(self, losses: dict[str, Tensor], *, scans: int) -> None:
        """Add a step.

        Args:
            losses: Scalars by name, among them `total`.
            scans: How many scans they are of.
        """
        self.expect(list(losses))
        counted = torch.isfinite(losses["total"].detach())
        # All in one tensor: a launch for each number holds up the host.
        values = torch.stack([at_least_single(value.detach()) for value in losses.values()])
        before = torch.stack([getattr(self, f"sum/{name}") for name in losses])
        sums = before + torch.where(counted, values * scans, 0.0)
        for name, value in zip(losses, sums.unbind(), strict=True):
            setattr(self, f"sum/{name}", value)
        self.scans = self.scans + counted * scans

    def compute(self) -> dict[str, Tensor]:
        """Give the mean of each loss; NaN where no step was counted."""
        names = [state.removeprefix("sum/") for state in self._defaults if state != "scans"]
        return {name: getattr(self, f"sum/{name}") / self.scans for name in names}

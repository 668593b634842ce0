"""While a run is drawn: what is drawn of a task's network, besides what every run's page has."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from pytorch_lightning import LightningModule, Trainer

from also_selfsup.reporting.attempts import Attempts
from also_selfsup.reporting.report import Picture, Section
from also_selfsup.reporting.run_curves import Wanted


@dataclass(frozen=True)
class Drawn:
    """Parts of the page, and pictures for the loggers.

    Attributes:
        sections: In order.
        pictures: By the name that TensorBoard shows.
    """

    sections: Sequence[Section] = ()
    pictures: dict[str, Picture] = field(default_factory=dict)


class Artist(Protocol):
    """Draws what a task's network does."""

    @property
    def title(self) -> str:
        """Of the page."""

    @property
    def curves(self) -> Sequence[Wanted]:
        """Of the logs."""

    @property
    def score(self) -> tuple[str, str]:
        """Column of the logs that says how good the network is, and its name in words."""

    def draw(self, trainer: Trainer, module: LightningModule, *, folder: Path, attempts: Attempts) -> Drawn:
        """Draw the state after a validation; pictures go to `folder`."""


def as_in_validation(trainer: Trainer, module: LightningModule) -> "torch.autocast | nullcontext[None]":
    """The precision in which the network was validated: mixed precision is a context around it."""
    whole = next(module.parameters()).dtype == torch.float64
    return nullcontext() if whole else trainer.precision_plugin.forward_context()  # type: ignore[return-value]

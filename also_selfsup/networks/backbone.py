"""Between voxels and decoder: what backbones have in common, and those with a per-point classifier.

Letters: N points, V voxels, C channels, L latents (or classes) per point.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from also_selfsup.sparseconv import Voxels, get_backend
from also_selfsup.transforms.pending import Steps, in_turn


class Encoder(nn.Module, ABC):
    """Voxels in, latents out, of whatever places; `birds_eye` if those are cells of a bird's-eye view."""

    birds_eye = False

    def __init__(self, framework: str = "native") -> None:
        """Choose the library.

        Args:
            framework: name in `sparseconv.BACKENDS`, or "auto".
        """
        super().__init__()
        self.backend = get_backend(framework)

    @abstractmethod
    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Compute `latents`, and what `supports` says; the batch is left as it is."""

    def prepare(self, batch: dict[str, Any]) -> Steps[dict[str, Any]]:
        """What can be known of a batch before the pass, as a field `prepared` that saves it the work."""
        yield from ()
        return {"prepared": None}

    def supports(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Say where the latents lie, before they are computed; nothing if they are those of the points."""
        return {}


class Backbone(Encoder):
    """Voxels in, latents of the points out; a subclass says what happens between.

    `classifier` is the last layer: the latents of pre-training, or the class scores of a downstream task.
    """

    classifier: nn.Sequential
    # 2x2x2 strided convolutions one after the other, if all else acts on those levels alone.
    halvings: int | None = None

    def __init__(self, framework: str = "native") -> None:
        """Choose the library.

        Args:
            framework: name in `sparseconv.BACKENDS`, or "auto".
        """
        super().__init__(framework)
        self.only_classifier_learns = False

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Compute latents; the batch is left as it is.

        Args:
            batch: `voxel_coords` (V, 3) and `voxel_coords_batch` (V,) integer cells, no two alike; `voxel_x`
                (V, C); `voxel_to_pc_id` (N,) voxel of each point.

        Returns:
            `latents` (N, L).
        """
        voxel_id = batch["voxel_to_pc_id"]
        prepared = batch["prepared"] if "prepared" in batch else in_turn(self.prepare(batch))["prepared"]
        voxel_x = batch["voxel_x"].to(self.classifier[0].weight.dtype)
        latents = self.backend.run(
            self, self._latents, voxel_x, coords=partial(_cells, batch), prepared=prepared
        )
        return {"latents": self.backend.spread(latents, voxel_id, prepared=prepared)}

    def prepare(self, batch: dict[str, Any]) -> Steps[dict[str, Any]]:
        """What the backend can know of a batch before the pass: `prepared`, a field that saves it the work.

        It may be made while the pass of another batch runs, under the same autocast as the pass.
        """
        if self.halvings is None:
            return {"prepared": None}
        found = yield from self.backend.prepare(
            self, _cells(batch), voxel_id=batch["voxel_to_pc_id"], halvings=self.halvings
        )
        return {"prepared": found}

    def _latents(self, x: Voxels) -> Tensor:
        latents: Tensor = self.classifier(self.backend.features(self.features(x)))
        return latents

    def encode(self, batch: dict[str, Any]) -> Tensor:
        """Compute what the classifier sees: (V, C), a row a voxel; nothing is prepared or recorded."""
        voxel_x = batch["voxel_x"].to(self.classifier[0].weight.dtype)
        return self.backend.features(self.features(self.backend.voxels(voxel_x, _cells(batch))))

    @abstractmethod
    def features(self, x: Voxels) -> Voxels:
        """Compute what the classifier sees: level-0 voxels in, level-0 voxels out."""

    def train(self, mode: bool = True) -> "Backbone":
        """Switch between training and evaluation; frozen parts stay in evaluation."""
        super().train(mode)
        if self.only_classifier_learns:
            _set_mode_but_classifier(self, training=False)
        return self


def _cells(batch: dict[str, Any]) -> Tensor:
    """(V, 4) `[batch, x, y, z]`."""
    coords = batch["voxel_coords"]
    return torch.cat([batch["voxel_coords_batch"].to(coords.dtype)[:, None], coords], dim=1)


def freeze_but_classifier(net: Backbone) -> Backbone:
    """Prepare linear probing: only the classifier gets gradients, and no batch-norm moves its statistics.

    Frozen parts stay in evaluation mode (statistics, dropout) whatever `train()` is called later.

    Returns:
        The same network.
    """
    net.requires_grad_(False)
    net.classifier.requires_grad_(True)
    net.only_classifier_learns = True
    _set_mode_but_classifier(net, training=False)
    return net


def replace_classifier(net: Backbone, out_channels: int) -> Backbone:
    """Give the network a new last layer, freshly initialised, with the old one's device and precision.

    Returns:
        The same network.
    """
    old = cast(nn.Linear, net.classifier[0])
    new = nn.Linear(old.in_features, out_channels, device=old.weight.device, dtype=old.weight.dtype)
    net.classifier[0] = new
    return net


def deepen_classifier(net: Backbone) -> Backbone:
    """Put a hidden layer of the features' width before the last one: the head of non-linear probing.

    Returns:
        The same network; `classifier.0` and `classifier.2` are its layers.
    """
    last = cast(nn.Linear, net.classifier[0])
    width = last.in_features
    hidden = nn.Linear(width, width, device=last.weight.device, dtype=last.weight.dtype)
    net.classifier = nn.Sequential(hidden, nn.ReLU(), last)
    return net


def _set_mode_but_classifier(net: Backbone, *, training: bool) -> None:
    for child in net.children():
        if child is not net.classifier:
            child.train(training)

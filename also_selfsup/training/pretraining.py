"""The pretext task as a Lightning module: from scans to occupancy and intensity losses (CVPR 2023, 3).

N points, Q queries, P query-support pairs, L latent size.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from also_selfsup.data.scan import Batch
from also_selfsup.evaluation.iou import OccupancyMetrics, query_bands
from also_selfsup.losses.occupancy import weighted_losses
from also_selfsup.losses.weighting import Share
from also_selfsup.networks import build_decoder
from also_selfsup.settings.schema import Settings
from also_selfsup.training.building import network_of, pretraining_transforms
from also_selfsup.training.optimisation import adamw
from also_selfsup.training.task import TaskModule
from also_selfsup.transforms.pending import Steps, in_turn


class PretrainingModule(TaskModule):
    """Backbone and decoder, trained on occupancy queries; no label is read.

    Args:
        settings: Of the run.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, metrics=OccupancyMetrics, bar=("iou",))
        self.val_metrics = OccupancyMetrics(by_range=True)  # in training it would cost every step launches
        network = settings.network
        self.transforms = pretraining_transforms(settings)
        self.backbone = network_of(settings, out_channels=network.latent_size)
        self.decoder = build_decoder(
            network.decoder,
            latent_size=network.latent_size,
            radius=network.radius,
            column_search=network.column_search,
        )

    def predict(self, batch: Batch, generator: torch.Generator, *, training: bool) -> dict[str, Any]:
        """The method: queries and voxels of the batch, latents, predictions of query-latent pairs."""
        fields = self.transformed(batch, generator, training=training)
        if "prepared" not in fields:
            fields = in_turn(self.prepare(fields, generator))
        fields |= self.backbone(fields)
        fields |= self.decoder(fields, generator)
        return fields

    def prepare(self, batch: Batch, generator: torch.Generator) -> Steps[Batch]:
        """What is known before the latents are: where they will lie, near which queries, and the cells."""
        fields = batch | self.backbone.supports(batch)
        fields |= self.decoder.search(fields, generator)
        return fields | (yield from self.backbone.prepare(fields))

    def losses(self, fields: dict[str, Any], *, share: Share | None = None) -> dict[str, Tensor]:
        """Binary cross-entropy of occupancy and mean error of intensity, over the pairs."""
        loss = self.settings.loss
        weights = {"recons": loss.recons_lambda, "intensity": loss.intensity_lambda}
        return weighted_losses(fields, weights, share=share)

    def count(self, fields: dict[str, Any], metric: Metric) -> None:
        """Intersection over union of free and occupied space; in validation by range too."""
        metric.update(
            fields["occupancy_logits"],
            fields["pair_query"],
            occupancies=fields["occupancies"],
            bands=query_bands(fields) if metric is self.val_metrics else None,
        )

    def configure_optimizers(self) -> Any:
        """AdamW with a constant rate."""
        training = self.settings.training
        return adamw(self.parameters(), lr=training.lr, weight_decay=training.weight_decay)

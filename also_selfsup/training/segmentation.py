"""Fine-tuning as a Lightning module: semantic segmentation of the input points (CVPR 2023, section 4).

N points, C classes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from also_selfsup.data.scan import Batch
from also_selfsup.evaluation.iou import SegmentationMetrics, predicted_classes
from also_selfsup.losses.segmentation import weighted_losses
from also_selfsup.losses.weighting import Share
from also_selfsup.networks import freeze_but_classifier
from also_selfsup.settings.schema import Settings
from also_selfsup.training.building import segmentation_network, segmentation_transforms
from also_selfsup.training.optimisation import adamw, with_cosine
from also_selfsup.training.task import TaskModule
from also_selfsup.transforms.pending import Steps, in_turn


class SegmentationModule(TaskModule):
    """The backbone with a classifier of C outputs; class 0 is ignored.

    Args:
        settings: Of the run.
        class_names: C names of the data set, index 0 = "ignore".
    """

    def __init__(self, settings: Settings, class_names: Sequence[str]) -> None:
        super().__init__(settings, metrics=partial(SegmentationMetrics, tuple(class_names)), bar=("miou",))
        self.transforms = segmentation_transforms(settings)
        self.net = segmentation_network(settings, class_count=len(class_names))
        if settings.downstream.linear_probe:
            freeze_but_classifier(self.net)

    def predict(self, batch: Batch, generator: torch.Generator, *, training: bool) -> dict[str, Any]:
        """The batch's fields after its transforms, with `logits` (N, C) of its input points."""
        fields = self.transformed(batch, generator, training=training)
        if "prepared" not in fields:
            fields = in_turn(self.prepare(fields, generator))
        return {**fields, "logits": self.net(fields)["latents"]}

    def prepare(self, batch: Batch, generator: torch.Generator) -> Steps[Batch]:
        """What is known of a batch's cells before the network runs."""
        return batch | (yield from self.net.prepare(batch))

    def losses(self, fields: dict[str, Any], *, share: Share | None = None) -> dict[str, Tensor]:
        """Cross-entropy over the labelled points; Lovasz-softmax when asked for."""
        weights = {"cross_entropy": 1.0, "lovasz": float(self.settings.downstream.lovasz)}
        return weighted_losses(fields, weights, share=share)

    def count(self, fields: dict[str, Any], metric: Metric) -> None:
        """Scores of the input points."""
        metric.update(predicted_classes(fields["logits"].detach()), fields["y"])

    def configure_optimizers(self) -> Any:
        """AdamW along a cosine to 0 over the whole run."""
        stage = self.settings.downstream
        optimizer = adamw(self.parameters(), lr=stage.lr, weight_decay=stage.weight_decay)
        return with_cosine(optimizer, steps=int(self.trainer.estimated_stepping_batches))

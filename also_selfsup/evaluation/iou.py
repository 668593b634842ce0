"""Beside the losses: intersection over union, counted on the device, one value for a whole split.

`torchmetrics.segmentation.MeanIoU` averages over batches, which is another number: here only counts are added
up.
Letters: N points, C classes, P query-support pairs, Q queries.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from also_selfsup.evaluation.confusion import frequency_weighted_iou, iou_per_class, labelled, mean_iou
from also_selfsup.sparseconv.native_launch import has_matrix_units


def predicted_classes(logits: Tensor) -> Tensor:
    """Choose the best class of each point among 1..C-1: class 0 means "no label" and is no answer.

    Args:
        logits: (N, C) raw.

    Returns:
        (N,) int64.
    """
    return logits[:, 1:].argmax(dim=1) + 1


def count_pairs(labels: Tensor, predictions: Tensor, *, class_count: int) -> Tensor:
    """Count how often each label meets each prediction, without waiting for the host.

    Args:
        labels: (N,) int64 in [0, C).
        predictions: (N,) int64 in [0, C).
        class_count: C.

    Returns:
        (C, C) int64; rows labels, columns predictions.
    """
    counts = torch.zeros(class_count * class_count, dtype=torch.int64, device=labels.device)
    ones = torch.ones_like(labels, dtype=torch.int64)
    return counts.index_add_(0, labels * class_count + predictions, ones).view(class_count, class_count)


def countable(logits: Tensor) -> bool:
    """Whether pairs are counted by one Triton kernel: on a GPU that it compiles for."""
    return logits.is_cuda and has_matrix_units(logits.device)


class SegmentationMetrics(Metric):
    """Scores of semantic segmentation from one confusion matrix over everything since the last reset.

    `update(predictions, y)` with classes (N,) each; `compute()` gives `miou` (classes that occur in the
    labels), `fwiou` (frequency-weighted) and `iou/<class name>` (NaN for a class that does not occur),
    float64 scalars in [0, 1]. Points labelled 0 are ignored. Row 0 of `matrix` still tells what was predicted
    for them.

    Attributes:
        matrix: (C, C) counts of this process since the last reset.
        scored: (C, C) counts that `compute` last saw, of all processes; a reset leaves them. None before.
    """

    full_state_update = False
    higher_is_better = True
    matrix: Tensor
    scored: Tensor | None

    def __init__(self, class_names: Sequence[str]) -> None:
        """Start at zero.

        Args:
            class_names: C names, index 0 = "ignore".
        """
        super().__init__()
        self.class_names = tuple(class_names)
        self.scored = None
        count = len(self.class_names)
        self.add_state("matrix", torch.zeros(count, count, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, y: Tensor) -> None:
        """Add the points of a batch: predictions (N,) and labels (N,), int64 classes."""
        self.matrix = self.matrix + count_pairs(y, predictions, class_count=len(self.class_names))

    def compute(self) -> dict[str, Tensor]:
        """Give the scores."""
        self.scored = self.matrix
        matrix = labelled(self.matrix)
        iou = iou_per_class(matrix)
        named = {f"iou/{name}": iou[index] for index, name in enumerate(self.class_names) if index > 0}
        return {"miou": mean_iou(matrix), "fwiou": frequency_weighted_iou(matrix), **named}


class OccupancyMetrics(Metric):
    """Scores of the pretext task from two confusion matrices (free, occupied) since the last reset.

    `compute()` gives, over pairs as published, `iou/free`, `iou/occupied` and their mean `iou`; and
    `query_iou`, the mean for queries answered once, by the mean logit of their pairs (queries without a
    support are left out).
    """

    full_state_update = False
    higher_is_better = True
    pair_matrix: Tensor
    query_matrix: Tensor

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        for name in ("pair_matrix", "query_matrix"):
            self.add_state(name, torch.zeros(2, 2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, occupancy_logits: Tensor, pair_query: Tensor, *, occupancies: Tensor) -> None:
        """Add the pairs of a batch.

        Args:
            occupancy_logits: (P,) raw.
            pair_query: (P,) query of each pair, ascending.
            occupancies: (Q,) int64, 1 occupied, 0 free.
        """
        logits = occupancy_logits.detach().float()
        if countable(logits):
            from also_selfsup.evaluation.occupancy_triton import count_occupancy  # needs Triton

            pairs, queries = count_occupancy(logits, pair_query, occupancies=occupancies).unbind()
            self.pair_matrix, self.query_matrix = self.pair_matrix + pairs, self.query_matrix + queries
            return
        self.pair_matrix = self.pair_matrix + count_pairs(
            occupancies[pair_query], (logits > 0).long(), class_count=2
        )
        logit_sum = torch.zeros(occupancies.shape[0], device=logits.device).index_add_(0, pair_query, logits)
        answered = torch.zeros_like(occupancies).index_fill_(0, pair_query, 1)
        # A third class takes the queries without a support, so that no row has to be picked out.
        labels = torch.where(answered > 0, occupancies, 2)
        self.query_matrix = (
            self.query_matrix + count_pairs(labels, (logit_sum > 0).long(), class_count=3)[:2, :2]
        )

    def compute(self) -> dict[str, Tensor]:
        """Give the scores; NaN where nothing was counted."""
        free, occupied = iou_per_class(self.pair_matrix)
        return {
            "iou": mean_iou(self.pair_matrix),
            "iou/free": free,
            "iou/occupied": occupied,
            "query_iou": mean_iou(self.query_matrix),
        }

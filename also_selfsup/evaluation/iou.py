"""Beside the losses: intersection over union, counted on the device, one value for a whole split.

`torchmetrics.segmentation.MeanIoU` averages over batches, which is another number: here only counts are added
up.
Letters: N points, C classes, P query-support pairs, Q queries.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from also_selfsup.evaluation.confusion import frequency_weighted_iou, iou_per_class, labelled, mean_iou
from also_selfsup.transforms.launch import has_matrix_units


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


# Ends of the bands of range in which occupancy is scored, metres from the sensor; the last one is open.
BANDS = (10.0, 20.0, 40.0)
BAND_NAMES = ("0-10m", "10-20m", "20-40m", "40m-")


def query_bands(fields: Mapping[str, Any]) -> Tensor:
    """Tell in which of `BAND_NAMES` each query lies, by its distance to the sensor of its scan.

    Args:
        fields: `pos_non_manifold` (Q, 3) and its `_batch` (Q,), `sensor` (B, 3); metres, in one frame.

    Returns:
        (Q,) int64; a query at an end belongs to the band that begins there.
    """
    origins = fields["sensor"].index_select(0, fields["pos_non_manifold_batch"])
    ranges = torch.linalg.vector_norm(fields["pos_non_manifold"] - origins, dim=1)
    return torch.bucketize(ranges, torch.tensor(BANDS, device=ranges.device), right=True)


class OccupancyMetrics(Metric):
    """Scores of the pretext task from confusion matrices (free, occupied) since the last reset.

    `compute()` gives, over pairs as published, `iou/free`, `iou/occupied` and their mean `iou`; and
    `query_iou`, the mean for queries answered once, by the mean logit of their pairs (queries without a
    support are left out). With `by_range` also `iou/<band>`, the mean over the pairs whose query lies in a
    band of range; the bands' counts add up to those of `iou`.
    """

    full_state_update = False
    higher_is_better = True
    pair_matrix: Tensor
    query_matrix: Tensor
    band_matrix: Tensor

    def __init__(self, *, by_range: bool = False) -> None:
        """Start at zero.

        Args:
            by_range: Count by band of range too; `update` then needs `bands`.
        """
        super().__init__()
        self.by_range = by_range
        for name in ("pair_matrix", "query_matrix"):
            self.add_state(name, torch.zeros(2, 2, dtype=torch.int64), dist_reduce_fx="sum")
        if by_range:
            size = 2 * len(BAND_NAMES)
            self.add_state("band_matrix", torch.zeros(size, size, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        occupancy_logits: Tensor,
        pair_query: Tensor,
        *,
        occupancies: Tensor,
        bands: Tensor | None = None,
    ) -> None:
        """Add the pairs of a batch.

        Args:
            occupancy_logits: (P,) raw.
            pair_query: (P,) query of each pair, ascending.
            occupancies: (Q,) int64, 1 occupied, 0 free.
            bands: (Q,) int64, see `query_bands`.

        Raises:
            ValueError: Bands are missing where they are counted.
        """
        logits = occupancy_logits.detach().float()
        if self.by_range:
            if bands is None:
                raise ValueError("Scores by range need the bands of the queries (query_bands).")
            counts = _count_bands(logits, pair_query, occupancies=occupancies, bands=bands)
            self.band_matrix = self.band_matrix + counts
        if countable(logits):
            from also_selfsup.evaluation.occupancy_triton import count_occupancy  # needs Triton

            pairs, queries = count_occupancy(logits, pair_query, occupancies=occupancies).unbind()
        else:
            labels = occupancies[pair_query]
            pairs = count_pairs(labels, (logits > 0).long(), class_count=2)
            queries = _count_queries(logits, pair_query, occupancies=occupancies)
        self.pair_matrix, self.query_matrix = self.pair_matrix + pairs, self.query_matrix + queries

    def compute(self) -> dict[str, Tensor]:
        """Give the scores; NaN where nothing was counted."""
        free, occupied = iou_per_class(self.pair_matrix)
        scores = {
            "iou": mean_iou(self.pair_matrix),
            "iou/free": free,
            "iou/occupied": occupied,
            "query_iou": mean_iou(self.query_matrix),
        }
        if self.by_range:
            for band, name in enumerate(BAND_NAMES):
                rows = slice(2 * band, 2 * band + 2)
                scores[f"iou/{name}"] = mean_iou(self.band_matrix[rows, rows])
        return scores


def _count_queries(logits: Tensor, pair_query: Tensor, *, occupancies: Tensor) -> Tensor:
    """Count (2, 2) the queries, each answered by the sum of its pairs' logits (P,)."""
    logit_sum = torch.zeros(occupancies.shape[0], device=logits.device).index_add_(0, pair_query, logits)
    answered = torch.zeros_like(occupancies).index_fill_(0, pair_query, 1)
    # A third class takes the queries without a support, so that no row has to be picked out.
    labels = torch.where(answered > 0, occupancies, 2)
    return count_pairs(labels, (logit_sum > 0).long(), class_count=3)[:2, :2]


def _count_bands(logits: Tensor, pair_query: Tensor, *, occupancies: Tensor, bands: Tensor) -> Tensor:
    """Count the pairs, two classes for each band in one matrix; rows of a negative query are no pairs."""
    size = 2 * len(BAND_NAMES)
    query = pair_query.clamp(min=0)
    first = 2 * bands[query]
    # One more class takes what is no pair, so that no row has to be picked out.
    labels = torch.where(pair_query >= 0, first + occupancies[query], size)
    return count_pairs(labels, first + (logits > 0), class_count=size + 1)[:size, :size]

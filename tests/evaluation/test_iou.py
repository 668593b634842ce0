"""Scores against sets of points counted in plain Python, and against torchmetrics' confusion matrix."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from also_selfsup.evaluation import iou
from also_selfsup.evaluation.iou import (
    BAND_NAMES,
    OccupancyMetrics,
    SegmentationMetrics,
    predicted_classes,
    query_bands,
)

NAMES = ("ignore", "car", "person", "road", "never")


def batches() -> list[tuple[Tensor, Tensor]]:
    """Class 4 is predicted but never labelled; the batches have different mixtures."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randint(1, 5, (n,), generator=generator), torch.randint(top, (n,), generator=generator))
        for n, top in ((50, 4), (9, 2), (0, 1))
    ]


def expected_iou(predictions: list[int], labels: list[int], c: int) -> float:
    pairs = [(p, label) for p, label in zip(predictions, labels, strict=True) if label != 0]
    both = sum(p == label == c for p, label in pairs)
    either = sum(c in pair for pair in pairs)
    return both / either


def test_scores_of_a_whole_split() -> None:
    metrics = SegmentationMetrics(NAMES)
    for predictions, y in batches():
        metrics.update(predictions, y)
    predictions, labels = (torch.cat(column).tolist() for column in zip(*batches(), strict=True))
    iou = {c: expected_iou(predictions, labels, c) for c in (1, 2, 3)}
    scores = metrics.compute()
    for c, value in iou.items():
        assert scores[f"iou/{NAMES[c]}"].item() == pytest.approx(value)
    assert math.isnan(scores["iou/never"]) and "iou/ignore" not in scores
    assert scores["miou"].item() == pytest.approx(sum(iou.values()) / 3)
    share = {c: labels.count(c) / sum(label != 0 for label in labels) for c in iou}
    assert scores["fwiou"].item() == pytest.approx(sum(share[c] * iou[c] for c in iou))


def test_counts_are_those_of_torchmetrics_and_reset() -> None:
    metrics, oracle = SegmentationMetrics(NAMES), MulticlassConfusionMatrix(len(NAMES), ignore_index=0)
    for predictions, y in batches()[:2]:
        metrics.update(predictions, y)
        oracle.update(predictions, y)
    assert metrics.matrix[1:].equal(oracle.compute()[1:])
    metrics.reset()
    assert not metrics.matrix.any()


def test_nothing_labelled_is_nan_not_zero() -> None:
    metrics = SegmentationMetrics(NAMES)
    metrics.update(torch.ones(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
    assert metrics.compute()["miou"].isnan()


def test_counting_in_inference_mode_then_outside() -> None:
    metrics = SegmentationMetrics(NAMES)
    ones = torch.ones(3, dtype=torch.int64)
    with torch.inference_mode():
        metrics.update(ones, ones)
    metrics.update(ones, ones)
    assert metrics.matrix[1, 1] == 6


def test_class_zero_is_never_predicted() -> None:
    logits = torch.tensor([[9.0, 1.0, 2.0], [9.0, 5.0, 2.0]])
    assert predicted_classes(logits).tolist() == [2, 1]


def test_occupancy_over_pairs_and_over_queries() -> None:
    metrics = OccupancyMetrics()
    # Query 0 free, 1 occupied, 2 occupied without a pair; two updates with the same query numbers.
    occupancies = torch.tensor([0, 1, 1])
    metrics.update(torch.tensor([-2.0, 1.0, 3.0]), torch.tensor([0, 0, 1]), occupancies=occupancies)
    metrics.update(torch.tensor([-1.0, 4.0]), torch.tensor([1, 1]), occupancies=occupancies)
    scores = metrics.compute()
    # Pairs, label: 0 0 1 1 1, said: 0 1 1 0 1. Queries, label: 0 1 1, mean logit: -0.5, 3, 1.5.
    assert scores["iou/free"].item() == pytest.approx(1 / 3)
    assert scores["iou/occupied"].item() == pytest.approx(2 / 4)
    assert scores["iou"].item() == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert scores["query_iou"].item() == 1
    assert metrics.query_matrix.tolist() == [[1, 0], [0, 2]]


def test_occupancy_without_a_pair() -> None:
    metrics = OccupancyMetrics()
    metrics.update(torch.zeros(0), torch.zeros(0, dtype=torch.int64), occupancies=torch.tensor([0, 1]))
    assert metrics.compute()["iou"].isnan()


def test_bands_of_range_by_brute_force() -> None:
    generator = torch.Generator().manual_seed(1)
    scans, queries, pairs = 3, 400, 5000
    fields = {
        "sensor": torch.randn(scans, 3, generator=generator),
        "pos_non_manifold": 20 * torch.randn(queries, 3, generator=generator),
        "pos_non_manifold_batch": torch.randint(scans, (queries,), generator=generator).sort().values,
    }
    occupancies = torch.randint(2, (queries,), generator=generator)
    pair_query = torch.randint(queries, (pairs,), generator=generator)
    logits = torch.randn(pairs, generator=generator)
    metrics = OccupancyMetrics(by_range=True)
    bands = query_bands(fields)
    for part in (slice(0, 1800), slice(1800, None)):
        metrics.update(logits[part], pair_query[part], occupancies=occupancies, bands=bands)
    scores = metrics.compute()
    counts = {name: [[0, 0], [0, 0]] for name in BAND_NAMES}
    for logit, query in zip(logits.tolist(), pair_query.tolist(), strict=True):
        sensor = fields["sensor"][fields["pos_non_manifold_batch"][query]]
        distance = math.dist(fields["pos_non_manifold"][query].tolist(), sensor.tolist())
        name = BAND_NAMES[(distance >= 10) + (distance >= 20) + (distance >= 40)]
        counts[name][int(occupancies[query])][logit > 0] += 1
    for name, ((a, b), (c, d)) in counts.items():
        assert scores[f"iou/{name}"].item() == pytest.approx((a / (a + b + c) + d / (b + c + d)) / 2), name
    assert metrics.band_matrix.view(4, 2, 4, 2).diagonal(dim1=0, dim2=2).sum(2).equal(metrics.pair_matrix)


def test_a_query_at_an_end_belongs_to_the_band_behind_it() -> None:
    fields = {
        "sensor": torch.tensor([[1.0, 0.0, 0.0]]),
        "pos_non_manifold": torch.tensor([[1.0, 0, 9.99], [11.0, 0, 0], [1.0, 40, 0], [1.0, -39.9, 0]]),
        "pos_non_manifold_batch": torch.zeros(4, dtype=torch.int64),
    }
    assert query_bands(fields).tolist() == [0, 1, 3, 2]


def test_bands_are_asked_for_where_they_are_counted() -> None:
    assert not any(name in key for key in OccupancyMetrics().compute() for name in BAND_NAMES)
    with pytest.raises(ValueError, match="need the bands"):
        OccupancyMetrics(by_range=True).update(
            torch.zeros(1), torch.zeros(1, dtype=torch.int64), occupancies=torch.tensor([1])
        )


def test_rows_of_no_query_are_no_pairs() -> None:
    known = {"occupancies": torch.tensor([0, 1, 1]), "bands": torch.tensor([3, 0, 1])}
    query, logits = torch.tensor([0, 1, 2, -1, -1]), torch.tensor([1.0, 2.0, -1.0, 5.0, -5.0])
    counts = iou._count_bands(logits, query, **known)
    assert counts.equal(iou._count_bands(logits[:3], query[:3], **known)) and counts.sum() == 3
    assert counts[6, 7] == counts[1, 1] == counts[3, 2] == 1

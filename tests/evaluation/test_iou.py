"""Scores against sets of points counted in plain Python, and against torchmetrics' confusion matrix."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from also_selfsup.evaluation.iou import OccupancyMetrics, SegmentationMetrics, predicted_classes

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

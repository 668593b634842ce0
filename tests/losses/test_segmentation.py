"""The segmentation losses against sums in plain Python and the Lovász extension as an integral."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from also_selfsup.losses.segmentation import cross_entropy, lovasz_softmax, weighted_losses
from also_selfsup.losses.weighting import Loss


def sample(count: int = 12, classes: int = 5, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64) * 2
    y = torch.randint(classes - 1, (count,), generator=generator)
    y[::4] = 0
    return logits.requires_grad_(), y


def jaccard_loss(wrong: set[int], members: set[int]) -> float:
    """1 - IoU of the prediction that is wrong exactly on `wrong`."""
    if not members | wrong:
        return 0.0
    return 1 - len(members - wrong) / len(members | wrong)


def lovasz_extension(errors: list[float], members: set[int]) -> float:
    """The integral over t in [0, 1] of the loss of the points whose error exceeds t: the definition."""
    steps = sorted({0.0, *errors, 1.0})
    return sum(
        (upper - lower) * jaccard_loss({i for i, error in enumerate(errors) if error >= upper}, members)
        for lower, upper in pairwise(steps)
    )


def expected_lovasz(logits: Tensor, y: Tensor) -> float:
    labelled = y != 0
    probabilities, labels = logits.detach().softmax(dim=1)[labelled].tolist(), y[labelled].tolist()
    losses = []
    for c in sorted(set(labels)):
        errors = [1 - p[c] if label == c else p[c] for p, label in zip(probabilities, labels, strict=True)]
        losses.append(lovasz_extension(errors, {i for i, label in enumerate(labels) if label == c}))
    return sum(losses) / len(losses)


def test_cross_entropy_is_the_mean_over_labelled_points() -> None:
    logits, y = sample()
    terms = [
        math.log(sum(math.exp(v) for v in row)) - row[label]
        for row, label in zip(logits.tolist(), y.tolist(), strict=True)
        if label != 0
    ]
    assert 0 < len(terms) < len(y)
    assert cross_entropy(logits, y).item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_lovasz_is_the_extension_of_the_jaccard_loss(seed: int) -> None:
    logits, y = sample(3 + 4 * seed, seed=seed)
    assert lovasz_softmax(logits, y).item() == pytest.approx(expected_lovasz(logits, y), rel=1e-12)


def test_lovasz_of_a_hard_prediction_is_one_minus_mean_iou() -> None:
    predicted, y = torch.tensor([1, 1, 2, 2, 2, 1]), torch.tensor([1, 1, 1, 2, 2, 0])
    logits = 200.0 * torch.nn.functional.one_hot(predicted, 4).double()
    assert lovasz_softmax(logits, y).item() == pytest.approx(1 - (2 / 3 + 2 / 3) / 2)


@pytest.mark.parametrize("loss", [cross_entropy, lovasz_softmax])
def test_gradients(loss: Loss) -> None:
    logits, y = sample(8)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, y), logits)


@pytest.mark.parametrize("loss", [cross_entropy, lovasz_softmax])
@pytest.mark.parametrize("count", [0, 4])
def test_nothing_labelled_costs_nothing(loss: Loss, count: int) -> None:
    logits = torch.randn(count, 5, requires_grad=True)
    value = loss(logits, torch.zeros(count, dtype=torch.int64))
    value.backward()
    assert value.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("loss", [cross_entropy, lovasz_softmax])
def test_ignored_points_change_nothing(loss: Loss) -> None:
    logits, y = sample(30)
    without = loss(logits[y != 0], y[y != 0])
    assert loss(logits, y).item() == pytest.approx(without.item(), rel=1e-12)
    loss(logits, y).backward()
    assert not logits.grad[y == 0].any() and logits.grad[y != 0].any()


def test_weighted_by_name_in_half_precision() -> None:
    logits, y = sample(40)
    losses = weighted_losses({"logits": logits.bfloat16(), "y": y}, {"cross_entropy": 1.0, "lovasz": 2.0})
    assert losses["total"].dtype == torch.float32
    expected = cross_entropy(logits, y) + 2 * lovasz_softmax(logits, y)
    assert losses["total"].item() == pytest.approx(expected.item(), rel=0.02)

"""Probes of features against their formulas in numpy, and on toys whose answer is known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from also_selfsup.evaluation import probing
from also_selfsup.evaluation.probing import linear_classes, nearest_classes

SCALE = torch.tensor([1.0, 100.0, 0.01, 1.0])


def blobs(count: int, *, seed: int, spread: float) -> tuple[Tensor, Tensor]:
    """Points of classes 1 to 3 around three corners of a space of four channels of unlike scale."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(1, 4, (count,), generator=generator)
    corners = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 2], [0, 1, 0, 2], [0, 0, 1, 2]])
    return (corners[y] + spread * torch.randn(count, 4, generator=generator)) * SCALE, y


def votes_by_brute_force(features: Tensor, known: Tensor, y: Tensor, *, neighbours: int) -> list[int]:
    a, b, labels = features.double().numpy(), known.double().numpy(), y.numpy()
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    found = []
    for point in a:
        cosines = np.array([float(np.dot(point, other)) for other in b])
        nearest = sorted(range(len(b)), key=lambda row: -cosines[row])[:neighbours]
        votes = np.zeros(4)
        for row in nearest:
            votes[labels[row]] += np.exp(cosines[row] / 0.07)
        found.append(int(votes.argmax()))
    return found


@pytest.mark.parametrize("neighbours", [1, 7, 500])
def test_nearest_classes_by_brute_force(neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "SIMILARITIES", 90 * 16)  # several parts, the last one smaller
    known, y = blobs(90, seed=0, spread=0.6)
    features, _ = blobs(50, seed=1, spread=0.6)
    features, known = features / SCALE, known / SCALE  # or one channel would decide alone
    found = nearest_classes(features, known, known_classes=y, class_count=4, neighbours=neighbours)
    expected = votes_by_brute_force(features, known, y, neighbours=neighbours)
    assert found.tolist() == expected and len(set(expected)) > 1


def test_linear_probe_recovers_what_is_separable() -> None:
    known, y = blobs(300, seed=0, spread=0.1)
    features, truth = blobs(500, seed=1, spread=0.1)
    assert linear_classes(features, known, known_classes=y, class_count=4).equal(truth)
    shuffled = y[torch.randperm(300, generator=torch.Generator().manual_seed(2))]
    guessed = linear_classes(features, known, known_classes=shuffled, class_count=4)
    assert (guessed == truth).float().mean() < 0.6


def test_linear_probe_is_at_the_optimum_of_its_formula() -> None:
    """Newton's method in float64 on the same regularised likelihood answers the same for every point."""
    known, y = blobs(120, seed=3, spread=0.8)
    features, _ = blobs(400, seed=4, spread=0.8)
    mean, spread = known.double().mean(0), known.double().std(0, correction=0)
    design = torch.cat([(known.double() - mean) / spread, torch.ones(120, 1, dtype=torch.float64)], dim=1)
    pull = 2e-3 * torch.tensor([1.0, 1, 1, 1, 0], dtype=torch.float64).repeat(4)
    weights = torch.zeros(20, dtype=torch.float64)
    for _ in range(60):
        p = (design @ weights.view(4, 5).t()).softmax(1)
        gradient = ((p - torch.nn.functional.one_hot(y, 4)).t() @ design).flatten() / 120 + pull * weights
        curvature = torch.einsum("nk,kl,ni,nj->kilj", p, torch.eye(4, dtype=torch.float64), design, design)
        curvature -= torch.einsum("nk,nl,ni,nj->kilj", p, p, design, design)
        hessian = curvature.reshape(20, 20) / 120 + torch.diag(pull + 1e-6)
        weights = weights - torch.linalg.solve(hessian, gradient)
    assert gradient.abs().max() < 1e-6
    inputs = torch.cat([(features.double() - mean) / spread, torch.ones(400, 1, dtype=torch.float64)], dim=1)
    expected = (inputs @ weights.view(4, 5).t()).argmax(1)
    found = linear_classes(features, known, known_classes=y, class_count=4)
    assert (found == expected).float().mean() >= 0.995 and len(expected.unique()) == 3


def test_a_channel_that_never_changes_does_no_harm() -> None:
    known, y = blobs(200, seed=0, spread=0.1)
    features, truth = blobs(100, seed=1, spread=0.1)
    known[:, 3] = features[:, 3] = 5.0
    assert (linear_classes(features, known, known_classes=y, class_count=4) == truth).float().mean() > 0.9

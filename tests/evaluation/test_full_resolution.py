"""Nearest neighbours against all distances, scan by scan."""

import pytest
import torch
from torch import Tensor

from also_selfsup.evaluation.full_resolution import carry_over


def scans(counts: list[int], *, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(sum(counts), 3, generator=generator) * torch.tensor([40.0, 40.0, 2.0])
    return pos, torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def test_each_point_gets_the_prediction_of_its_nearest_kept_one() -> None:
    pos, batch = scans([30, 1, 0, 200], seed=0)
    original_pos, original_batch = scans([100, 20, 0, 300], seed=1)
    predictions = torch.arange(len(pos)) + 7
    found = carry_over(
        predictions, pos, batch=batch, original_pos=original_pos, original_batch=original_batch
    )
    pair = original_pos.double(), pos.double()
    distance = torch.cdist(*pair, compute_mode="donot_use_mm_for_euclid_dist")
    distance[original_batch[:, None] != batch] = torch.inf
    assert found.equal(predictions[distance.argmin(dim=1)]) and found.dtype == torch.int64


def test_scans_never_mix_even_on_the_same_spot() -> None:
    pos = torch.tensor([[0.0, 0, 0], [90.0, 0, 0]])
    two = torch.tensor([0, 1])
    found = carry_over(torch.tensor([1, 2]), pos, batch=two, original_pos=pos.flip(0), original_batch=two)
    assert found.tolist() == [1, 2]


def test_rows_of_several_values_and_nothing_at_all() -> None:
    pos, batch = scans([5], seed=0)
    scores = torch.rand(5, 3)
    assert carry_over(scores, pos, batch=batch, original_pos=pos, original_batch=batch).equal(scores)
    none = carry_over(scores, pos, batch=batch, original_pos=pos[:0], original_batch=batch[:0])
    assert none.shape == (0, 3)


def test_a_scan_with_nothing_kept_is_an_error() -> None:
    pos, batch = scans([5, 0, 5], seed=0)
    original_pos, original_batch = scans([5, 5, 5], seed=1)
    with pytest.raises(ValueError, match=r"scans \[1\]"):
        carry_over(batch, pos, batch=batch, original_pos=original_pos, original_batch=original_batch)

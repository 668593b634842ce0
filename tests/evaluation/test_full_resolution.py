"""Nearest neighbours against all distances, scan by scan."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def test_all_distances_equal_float64_in_the_interpreter(answers_of: Callable[..., Any]) -> None:
    found = answers_of(Path(__file__).with_name("nearest_on_the_cpu.py"))
    assert found.pop("first") == [1, 1]  # of two that are equally near
    assert len(found) == 2 and all(0.0 <= excess < 1e-5 for excess in found.values()), found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_finds_what_the_tree_finds() -> None:
    pos, batch = scans([3000, 1, 0, 20000], seed=0)
    original_pos, original_batch = scans([10000, 20, 0, 30000], seed=1)
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(2))
    fields = {"batch": batch[order], "original_pos": original_pos, "original_batch": original_batch}
    truth = carry_over(pos[order], pos[order], **fields)
    on_gpu = {name: value.cuda() for name, value in fields.items()}
    found = carry_over(pos[order].cuda(), pos[order].cuda(), **on_gpu).cpu()
    near, far = ((original_pos - there).norm(dim=1) for there in (truth, found))
    assert (far - near).abs().max() < 1e-5

"""Run by test_full_resolution.py: nearest kept points in the interpreter beside float64; prints JSON."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import json
import sys

import torch

from also_selfsup.evaluation.nearest_triton import nearest


def excess(original_counts: list[int], kept_counts: list[int]) -> float:
    """By how much the nearest points that were found are farther than the nearest, at most, in metres."""
    draw = torch.Generator().manual_seed(sum(original_counts))
    extent = torch.tensor([40.0, 40.0, 2.0])
    original, kept = (
        torch.randn(sum(counts), 3, generator=draw) * extent for counts in (original_counts, kept_counts)
    )
    original_batch, batch = (
        torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        for counts in (original_counts, kept_counts)
    )
    mixed = torch.randperm(len(original), generator=draw)
    original, original_batch = original[mixed], original_batch[mixed]
    starts = torch.tensor([0, *kept_counts]).cumsum(0)
    rows = nearest(original, kept, original_batch=original_batch, starts=starts).long()
    assert (batch[rows] == original_batch).all()
    distance = torch.cdist(
        original.double(), kept.double(), compute_mode="donot_use_mm_for_euclid_dist"
    ).where(original_batch[:, None] == batch, torch.inf)
    return float((distance.gather(1, rows[:, None])[:, 0] - distance.min(dim=1).values).max())


first = nearest(
    torch.zeros(2, 3),
    torch.tensor([[3.0, 0, 0], [0, 1, 0], [0, 0, 1]]),
    original_batch=torch.zeros(2, dtype=torch.int64),
    starts=torch.tensor([0, 3]),
)
cases = {"one scan": ([300], [70]), "four scans": ([100, 20, 0, 180], [30, 1, 5, 120])}
sys.stdout.write(
    json.dumps({"first": first.tolist(), **{name: excess(*counts) for name, counts in cases.items()}})
)

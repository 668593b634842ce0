"""Beside the losses on a GPU: the confusion matrices of the pretext task in one launch.

Letters: P query-support pairs, Q queries, S queries of a block, B pairs at a time.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.transforms.launch import Launcher

QUERIES, ROWS = 64, 64


@triton.jit
def _first_row(pair_query, query, rows):
    # The first row of a query or of a later one; rows that are no pairs stand last.
    low, high = query * 0, query * 0 + rows
    while low < high:
        middle = (low + high) // 2
        there = tl.load(pair_query + middle)
        before = (there >= 0) & (there < query)
        low = tl.where(before, middle + 1, low)
        high = tl.where(before, high, middle)
    return low


@triton.jit
def _tally(place, hits):
    tl.store(place, tl.sum(hits.to(tl.int32), 0))


@triton.jit(do_not_specialize=["rows", "queries"])
def _count_kernel(logits, pair_query, occupancies, counts, rows, queries, S: tl.constexpr, B: tl.constexpr):
    query = tl.program_id(0) * S + tl.arange(0, S)
    first = _first_row(pair_query, tl.program_id(0) * S, rows)
    last = _first_row(pair_query, tl.program_id(0) * S + S, rows)
    label = tl.load(occupancies + query, mask=query < queries, other=-1)
    total, answers = tl.zeros((S,), dtype=tl.float32), tl.zeros((S,), dtype=tl.int32)
    occupied = tl.zeros((S,), dtype=tl.int32)
    for start in range(first, last, B):
        row = start + tl.arange(0, B)
        logit = tl.load(logits + row, mask=row < last, other=0.0)
        own = query[:, None] == tl.load(pair_query + row, mask=row < last, other=-1)[None, :]
        total += tl.sum(tl.where(own, logit[None, :], 0.0), 1)
        answers += tl.sum(own.to(tl.int32), 1)
        occupied += tl.sum((own & (logit > 0)[None, :]).to(tl.int32), 1)
    counts += tl.program_id(0) * 8
    tl.store(counts, tl.sum(tl.where(label == 0, answers - occupied, 0), 0))
    tl.store(counts + 1, tl.sum(tl.where(label == 0, occupied, 0), 0))
    tl.store(counts + 2, tl.sum(tl.where(label == 1, answers - occupied, 0), 0))
    tl.store(counts + 3, tl.sum(tl.where(label == 1, occupied, 0), 0))
    # As torch says it: what is not above 0, not-a-number among it, is free.
    said = total > 0
    _tally(counts + 4, (label == 0) & (answers > 0) & ~said)
    _tally(counts + 5, (label == 0) & (answers > 0) & said)
    _tally(counts + 6, (label == 1) & (answers > 0) & ~said)
    _tally(counts + 7, (label == 1) & (answers > 0) & said)


_launch_count = Launcher(_count_kernel)


def count_occupancy(logits: Tensor, pair_query: Tensor, *, occupancies: Tensor) -> Tensor:
    """Count labels (free, occupied) against predictions, over pairs and over queries.

    Args:
        logits: (P,) float32.
        pair_query: (P,) int64 query of each pair, ascending; rows where it is negative stand last and are no
            pairs.
        occupancies: (Q,) int64, 1 occupied, 0 free.

    Returns:
        (2, 2, 2) int64: of pairs, then of queries by the sum of their pairs' logits; rows labels, columns
        predictions.
    """
    blocks = max(1, triton.cdiv(len(occupancies), QUERIES))
    counts = torch.empty(blocks, 8, dtype=torch.int32, device=logits.device)
    _launch_count(
        (blocks, 1, 1),
        (logits.contiguous(), pair_query.contiguous(), occupancies, counts, len(logits), len(occupancies)),
        constants={"S": QUERIES, "B": ROWS},
    )
    return counts.sum(dim=0).view(2, 2, 2)

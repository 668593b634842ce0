"""The radius search against brute force over all pairs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from also_selfsup.networks.neighbours import radius_pairs


def brute_force(
    query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor, radius: float
) -> set:
    distance = torch.cdist(query.double(), support.double(), compute_mode="donot_use_mm_for_euclid_dist")
    near = (distance < radius) & (query_batch[:, None] == support_batch)
    return {(int(q), int(s)) for q, s in near.nonzero()}


def cloud(count: int, dims: int, *, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dims, generator=generator, dtype=dtype) * torch.tensor([3.0, 5.0, 0.7])[:dims]


def as_set(pairs: tuple[Tensor, Tensor]) -> set:
    return set(zip(*(column.tolist() for column in pairs), strict=True))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [0.3, 1.0, 40.0])
def test_equals_brute_force_on_a_ragged_batch(dims: int, dtype: torch.dtype, radius: float) -> None:
    query, support = cloud(150, dims, seed=1, dtype=dtype), cloud(200, dims, seed=2, dtype=dtype)
    # Scan 1 has no support, scan 3 no query, scan 4 nothing at all; rows of a scan need not be contiguous.
    query_batch = torch.tensor([0, 1, 2, 5])[torch.arange(150) * 7 % 4]
    support_batch = torch.tensor([0, 2, 3, 5])[torch.arange(200) * 5 % 4]
    pairs = radius_pairs(
        query, support, query_batch=query_batch, support_batch=support_batch, radius=radius, limit=200
    )
    expected = brute_force(query, support, query_batch, support_batch, radius)
    assert as_set(pairs) == expected and len(pairs[0]) == len(expected) > 0
    assert (pairs[0].diff() >= 0).all()


half_metres = st.lists(st.tuples(*[st.integers(-5, 5)] * 3, st.integers(0, 2)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(queries=half_metres, supports=half_metres, radius=st.sampled_from([0.5, 1.0, 1.5, 3.0]))
def test_distances_equal_to_the_radius_are_outside(queries: list, supports: list, radius: float) -> None:
    query, support = torch.tensor(queries), torch.tensor(supports)
    found = radius_pairs(
        query[:, :3] * 0.5,
        support[:, :3] * 0.5,
        query_batch=query[:, 3],
        support_batch=support[:, 3],
        radius=radius,
    )
    # Whole numbers: no rounding can decide.
    squared = (query[:, None, :3] - support[None, :, :3]).square().sum(dim=2)
    near = (squared < round(2 * radius) ** 2) & (query[:, None, 3] == support[:, 3])
    assert as_set(found) == {(int(q), int(s)) for q, s in near.nonzero()}


def test_float64_decides_where_float32_cannot() -> None:
    support = torch.tensor([[50.0 + 1.0 - 1e-12, 0, 0], [50.0 + 1.0 + 1e-12, 0, 0]], dtype=torch.float64)
    query = torch.tensor([[50.0, 0, 0]], dtype=torch.float64)
    zeros = torch.zeros(2, dtype=torch.int64)
    found = radius_pairs(query, support, query_batch=zeros[:1], support_batch=zeros, radius=1.0)
    assert as_set(found) == {(0, 0)}


def test_equals_brute_force_on_a_real_scan(shared_data: Path) -> None:
    path = min((shared_data / "nuscenes" / "samples" / "LIDAR_TOP").glob("*.pcd.bin"))
    scan = torch.from_numpy(np.fromfile(path, dtype="<f4").reshape(-1, 5)[:, :3].copy())
    # Whole scan, thousands of points on the car itself among them: balls far above the usual cap.
    query = scan[:: len(scan) // 50] + 0.05
    batches = {"query_batch": torch.zeros(len(query)).long(), "support_batch": torch.zeros(len(scan)).long()}
    pair_query, pair_support = radius_pairs(
        query, scan, **batches, radius=1.0, limit=len(scan), most_candidates=100_000
    )
    near = (query[:, None].double() - scan.double()).square().sum(dim=2) < 1
    assert (pair_query * len(scan) + pair_support).sort().values.equal(near.flatten().nonzero()[:, 0])
    assert near.sum() > 32 * len(query)


def test_a_tiny_radius_in_a_huge_cloud() -> None:
    support = torch.tensor([[0.0, 0, 0], [1e7, 1e7, 1e7], [1e7, 1e7, 1e7 + 1]], dtype=torch.float64)
    batch = torch.tensor([0, 900, 900])
    found = radius_pairs(support, support, query_batch=batch, support_batch=batch, radius=1e-6)
    assert as_set(found) == {(0, 0), (1, 1), (2, 2)}


def test_cap_keeps_the_limit_of_those_in_the_ball() -> None:
    query, support = cloud(60, 3, seed=5), cloud(900, 3, seed=6)
    zeros = torch.zeros(900, dtype=torch.int64)
    batches = {"query_batch": zeros[:60], "support_batch": zeros}
    everything = brute_force(query, support, zeros[:60], zeros, 2.0)
    pair_query, pair_support = radius_pairs(query, support, **batches, radius=2.0, limit=7)
    in_ball = torch.tensor([q for q, _ in everything]).bincount(minlength=60)
    assert (in_ball > 7).any() and (in_ball < 7).any()
    assert pair_query.bincount(minlength=60).equal(in_ball.clamp(max=7))
    kept = as_set((pair_query, pair_support))
    assert kept <= everything and len(kept) == len(pair_query)


def test_cap_draws_uniformly_and_independently_of_place() -> None:
    # 100 supports from left to right, two cells each way: a storage order would favour small x.
    support = torch.stack([torch.linspace(-0.9, 0.9, 100), torch.zeros(100), torch.zeros(100)], dim=1)
    zeros = torch.zeros(100, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    draws, kept = 400, 10
    chosen = torch.cat(
        [
            radius_pairs(
                support.new_zeros(1, 3),
                support,
                query_batch=zeros[:1],
                support_batch=zeros,
                radius=1.0,
                limit=kept,
                generator=generator,
            )[1]
            for _ in range(draws)
        ]
    )
    expected = draws * kept / 100
    chi_squared = ((chosen.bincount(minlength=100) - expected) ** 2 / (expected * (1 - kept / 100))).sum()
    assert chi_squared < 160  # chi-squared with 99 degrees of freedom: exceeded with probability 1e-4


def test_same_generator_seed_same_pairs_and_parts_change_nothing() -> None:
    query, support = cloud(80, 3, seed=7), cloud(700, 3, seed=8)
    batches = {"query_batch": torch.arange(80) % 3, "support_batch": torch.arange(700) % 3}

    def search(seed: int, most_candidates: int) -> tuple[Tensor, Tensor]:
        return radius_pairs(
            query,
            support,
            **batches,
            radius=2.0,
            limit=5,
            generator=torch.Generator().manual_seed(seed),
            most_candidates=most_candidates,
        )

    whole, parts, other = search(1, 2**24), search(1, 300), search(2, 2**24)
    assert whole[0].equal(parts[0]) and whole[1].equal(parts[1])
    assert whole[0].equal(other[0]) and not whole[1].equal(other[1])


@pytest.mark.parametrize(("queries", "supports"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_search(queries: int, supports: int) -> None:
    pair_query, pair_support = radius_pairs(
        torch.zeros(queries, 3),
        torch.zeros(supports, 3),
        query_batch=torch.zeros(queries, dtype=torch.int64),
        support_batch=torch.zeros(supports, dtype=torch.int64),
        radius=1.0,
    )
    assert pair_query.shape == pair_support.shape == (0,) and pair_query.dtype == torch.int64


@pytest.mark.parametrize(
    ("value", "radius", "limit", "message"),
    [
        (0.0, 0.0, 32, "radius=0.0"),
        (0.0, 1.0, 0, "limit=0"),
        (torch.nan, 1.0, 32, "finite"),
        (torch.inf, 1.0, 32, "finite"),
    ],
)
def test_what_cannot_be_searched_is_refused(value: float, radius: float, limit: int, message: str) -> None:
    zeros = torch.zeros(2, dtype=torch.int64)
    support = torch.tensor([[0.0, 0, 0], [value, value, 0]])
    with pytest.raises(ValueError, match=message):
        radius_pairs(
            torch.zeros(1, 3), support, query_batch=zeros[:1], support_batch=zeros, radius=radius, limit=limit
        )

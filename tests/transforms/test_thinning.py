"""Decimation and thinning, against per-scan references in numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.thinning import decimate, select, thin


def decimated_one_by_one(batch: Batch, size: float) -> tuple[list[int], list[int]]:
    """The first row of each cell, scan after scan, cells in the order of their numbers."""
    kept: list[int] = []
    sizes = []
    index = batch["batch"].numpy()
    for scan in range(len(batch["sensor"])):
        ids = np.flatnonzero(index == scan)
        cells = np.trunc(batch["pos"].numpy()[ids] / np.float32(size)).astype(np.int64)
        _, first = np.unique(cells, axis=0, return_index=True)
        kept += ids[first].tolist()
        sizes.append(len(first))
    return kept, sizes


@pytest.mark.parametrize("size", [0.05, 0.1, 2.0])
def test_decimation_keeps_the_first_point_of_each_cell(uneven: Batch, path: str, size: float) -> None:
    ids, sizes = decimate(uneven["pos"], uneven["batch"], size=size, scan_count=8)
    assert (ids.tolist(), sizes) == decimated_one_by_one(uneven, size)


def test_decimation_of_a_kilometre_at_a_centimetre(make_batch: Callable[..., Batch], path: str) -> None:
    rng = np.random.default_rng(2)
    far = rng.uniform(-1000, 1000, (500, 3))
    batch = make_batch([np.repeat(far, 2, axis=0), far])
    ids, sizes = decimate(batch["pos"], batch["batch"], size=0.01, scan_count=2)
    assert (ids.tolist(), sizes) == decimated_one_by_one(batch, 0.01)
    assert sizes == [500, 500]


def test_cells_at_zero_are_twice_as_wide(make_batch: Callable[..., Batch]) -> None:
    line = np.zeros((6, 3))
    line[:, 0] = [-0.15, -0.09, 0.09, 0.15, 0.19, 0.21]
    batch = make_batch([line])
    ids, _ = decimate(batch["pos"], batch["batch"], size=0.1, scan_count=1)
    assert ids.tolist() == [0, 1, 3, 5]


def test_size_zero_keeps_all(uneven: Batch) -> None:
    ids, sizes = decimate(uneven["pos"], uneven["batch"], size=0.0, scan_count=8)
    assert ids.tolist() == list(range(len(uneven["pos"])))
    assert sizes == np.bincount(uneven["batch"].numpy(), minlength=8).tolist()


def test_decimation_of_a_batch_is_that_of_its_scans(street: Batch) -> None:
    together, _ = decimate(street["pos"], street["batch"], size=1.0, scan_count=3)
    alone = []
    for scan in range(3):
        rows = (street["batch"] == scan).nonzero().flatten()
        ids, _ = decimate(street["pos"][rows], torch.zeros_like(rows), size=1.0, scan_count=1)
        alone.append(rows[ids])
    assert torch.equal(together, torch.cat(alone))


def test_decimation_in_double_precision(street: Batch) -> None:
    ids, _ = decimate(street["pos"].double(), street["batch"], size=0.5, scan_count=3)
    cells = np.trunc(street["pos"].double().numpy()[:2000] / 0.5)
    assert int((street["batch"][ids] == 0).sum()) == len(np.unique(cells, axis=0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.1, 1.0, 7.0]),
)
def test_decimation_of_any_batch(sizes: list[int], seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    pos = rng.normal(0, 3, (sum(sizes), 3)).astype(np.float32)
    index = np.repeat(np.arange(len(sizes)), sizes)
    batch = {
        "pos": torch.from_numpy(pos),
        "batch": torch.from_numpy(index),
        "sensor": torch.zeros(len(sizes), 3),
    }
    ids, kept = decimate(batch["pos"], batch["batch"], size=size, scan_count=len(sizes))
    assert (ids.tolist(), kept) == decimated_one_by_one(batch, size)


@pytest.mark.parametrize("count", [1, 100, 10_000, None])
def test_thinning_takes_distinct_points_of_each_scan(
    uneven: Batch, path: str, count: int | None, generator: torch.Generator
) -> None:
    sizes = np.bincount(uneven["batch"].numpy(), minlength=8)
    ids = thin(uneven["batch"], sizes=sizes.tolist(), count=count, generator=generator)
    assert len(set(ids.tolist())) == len(ids)
    expected = sizes if count is None else sizes.clip(max=count)
    assert uneven["batch"][ids].tolist() == np.repeat(np.arange(8), expected).tolist()


def test_every_subset_is_equally_likely(generator: torch.Generator) -> None:
    scans, size = 9000, 5
    index = torch.arange(scans).repeat_interleave(size)
    ids = thin(index, sizes=[size] * scans, count=2, generator=generator).view(scans, 2) % size
    _, counts = np.unique(ids.numpy() @ (10, 1), return_counts=True)
    assert len(counts) == 20, "ordered pairs out of five"
    assert stats.chisquare(counts).pvalue > 1e-3


def test_points_of_a_large_scan_are_equally_likely(generator: torch.Generator) -> None:
    index = torch.zeros(400, dtype=torch.int64)
    counts = np.zeros(400)
    for _ in range(300):
        counts[thin(index, sizes=[400], count=100, generator=generator).numpy()] += 1
    # Drawn without replacement, counts vary by three quarters of what a chi-square test expects.
    statistic = ((counts - 75) ** 2).sum() / 75 / 0.75
    assert 1e-3 < stats.chi2.cdf(statistic, 399) < 1 - 1e-3


def test_same_seed_same_points(uneven: Batch) -> None:
    sizes = np.bincount(uneven["batch"].numpy(), minlength=8).tolist()
    draws = []
    for seed in (1, 1, 2):
        ids = thin(uneven["batch"], sizes=sizes, count=50, generator=torch.Generator().manual_seed(seed))
        draws.append(ids.tolist())
    assert draws[0] == draws[1] != draws[2]


def test_select_takes_all_fields_of_a_point_and_nothing_else(uneven: Batch) -> None:
    before = dict(uneven)
    ids = torch.tensor([0, 5, 6, 4700])
    chosen = select(uneven, ids)
    for name in ("pos", "intensities", "y", "batch"):
        assert np.array_equal(chosen[name].numpy(), uneven[name].numpy()[ids.numpy()])
    assert chosen["sensor"] is uneven["sensor"] and chosen["names"] == uneven["names"]
    assert all(uneven[name] is value for name, value in before.items()), "the batch given is left alone"


def test_select_without_labels(uneven: Batch) -> None:
    unlabelled = {name: value for name, value in uneven.items() if name != "y"}
    assert "y" not in select(unlabelled, torch.tensor([1]))

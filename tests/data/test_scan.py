"""Joining scans: against fields joined by hand."""

import numpy as np
import pytest
import torch

from also_selfsup.data.scan import Scan, collate, empty_scan


def make_scan(name: str, *, count: int, labelled: bool = False) -> Scan:
    numbers = np.random.default_rng(count)
    return Scan(
        pos=numbers.normal(size=(count, 3)).astype(np.float32),
        intensities=numbers.random((count, 1)).astype(np.float32),
        sensor=numbers.normal(size=3).astype(np.float32),
        name=name,
        labels=numbers.integers(0, 17, count) if labelled else None,
    )


def test_fields_are_joined_in_order() -> None:
    scans = [make_scan("a", count=3, labelled=True), make_scan("b", count=0, labelled=True)]
    scans += [make_scan("c", count=1, labelled=True), make_scan("d", count=5, labelled=True)]
    batch = collate(scans)
    assert batch["batch"].tolist() == [0, 0, 0, 2, 3, 3, 3, 3, 3]
    for row, scan in enumerate(scans):
        mine = batch["batch"] == row
        assert np.array_equal(batch["pos"][mine].numpy(), scan.pos)
        assert np.array_equal(batch["intensities"][mine].numpy(), scan.intensities)
        assert np.array_equal(batch["y"][mine].numpy(), scan.labels)
        assert np.array_equal(batch["sensor"][row].numpy(), scan.sensor)
    assert batch["names"] == ["a", "b", "c", "d"]
    assert batch["skipped"] == []


def test_types_and_shapes_are_those_of_the_field_table() -> None:
    batch = collate([make_scan("a", count=4, labelled=True), make_scan("b", count=2, labelled=True)])
    found = {key: (value.dtype, tuple(value.shape)) for key, value in batch.items() if torch.is_tensor(value)}
    assert found == {
        "pos": (torch.float32, (6, 3)),
        "intensities": (torch.float32, (6, 1)),
        "sensor": (torch.float32, (2, 3)),
        "batch": (torch.int64, (6,)),
        "y": (torch.int64, (6,)),
    }


def test_unlabelled_scans_have_no_labels() -> None:
    assert "y" not in collate([make_scan("a", count=2), make_scan("b", count=3)])


def test_a_batch_of_empty_scans_keeps_its_shapes() -> None:
    batch = collate(
        [empty_scan("a", labelled=True, finding="a: cut short"), make_scan("b", count=0, labelled=True)]
    )
    assert batch["pos"].shape == (0, 3)
    assert batch["y"].shape == (0,)
    assert batch["sensor"].shape == (2, 3)
    assert batch["skipped"] == ["a: cut short"]


def test_a_skipped_scan_without_a_finding_goes_by_its_name() -> None:
    scan = make_scan("a", count=0)
    skipped = Scan(scan.pos, scan.intensities, scan.sensor, name="a", skipped=True)
    assert collate([skipped, make_scan("b", count=1)])["skipped"] == ["a"]


def test_the_batch_does_not_share_memory_with_its_scans() -> None:
    scan = make_scan("a", count=3)
    before = scan.pos.copy()
    collate([scan])["pos"].zero_()
    assert np.array_equal(scan.pos, before)


def test_labelled_and_unlabelled_scans_do_not_mix() -> None:
    with pytest.raises(ValueError, match="bare has no labels"):
        collate([make_scan("a", count=2, labelled=True), make_scan("bare", count=2)])


def test_no_scans_make_no_batch() -> None:
    with pytest.raises(ValueError, match="at least one scan"):
        collate([])

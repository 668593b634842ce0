"""Batches in one piece: the same fields as collate gives, through workers too."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from also_selfsup.data.packing import collate_packed
from also_selfsup.data.scan import NO_OTHER_FRAMES, OtherFrames, Scan, collate, empty_scan

CPU = torch.device("cpu")


def scan_of(count: int, *, labelled: bool, others: int | None = None) -> Scan:
    rng = np.random.default_rng(count)
    # As readers give them: columns of a file's records, some with a step between rows.
    points = rng.normal(size=(count, 5)).astype(np.float32)
    frames = None
    if others is not None:
        around = rng.normal(size=(others, 7)).astype(np.float32)
        frames = OtherFrames(around[:, :3], around[:, 3:4], np.broadcast_to(around[:1, 4:], (others, 3)))
    return Scan(
        pos=points[:, :3],
        intensities=points[:, 3:4],
        sensor=rng.normal(size=3).astype(np.float32),
        name=f"scan of {count}",
        labels=rng.integers(0, 17, count) if labelled else None,
        others=frames,
    )


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("others", [None, 9])
def test_unpacked_is_collated(labelled: bool, others: int | None) -> None:
    scans = [scan_of(n, labelled=labelled, others=others) for n in (13, 1, 200)]
    scans.insert(1, empty_scan("bad.bin", labelled=labelled, finding="bad.bin: too short"))
    expected, packed = collate(scans), collate_packed(scans)
    found = packed.unpack(CPU)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if isinstance(values, torch.Tensor):
            assert found[name].dtype == values.dtype and torch.equal(found[name], values), name
            assert found[name].data_ptr() % 16 == 0
        else:
            assert found[name] == values
    # A byte a point says of which scan it is.
    fields = sum(
        v.numel() if "batch" in n else v.nbytes for n, v in expected.items() if isinstance(v, torch.Tensor)
    )
    assert fields <= packed.buffer.nbytes < fields + 400


def test_a_batch_without_points_or_other_frames() -> None:
    scans = [replace(empty_scan("a", labelled=False, finding=""), others=NO_OTHER_FRAMES)] * 2
    expected, found = collate(scans), collate_packed(scans).unpack(CPU)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[n], v) for n, v in expected.items() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("scans", [256, 257])
def test_many_scans(scans: int) -> None:
    found = collate_packed([scan_of(2, labelled=False)] * scans).unpack(CPU)
    assert found["batch"].dtype == torch.int64
    assert torch.equal(found["batch"], torch.arange(scans).repeat_interleave(2))


def test_refusals_are_those_of_collate() -> None:
    with pytest.raises(ValueError, match="at least one scan"):
        collate_packed([])
    with pytest.raises(ValueError, match="scan of 3 has no labels"):
        collate_packed([scan_of(2, labelled=True), scan_of(3, labelled=False)])


class Scans(torch.utils.data.Dataset[Scan]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Scan:
        return scan_of(100 + index, labelled=False)


def test_through_workers() -> None:
    loader: DataLoader[Scan] = DataLoader(Scans(), batch_size=2, num_workers=2, collate_fn=collate_packed)
    packed = list(loader)
    assert all(batch.buffer.is_shared() for batch in packed)
    for number, batch in enumerate(packed):
        expected = collate([Scans()[2 * number], Scans()[2 * number + 1]])
        assert torch.equal(batch.unpack(CPU)["pos"], expected["pos"])

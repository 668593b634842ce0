"""KITTI 3D: its lists, its layout, what happens where frames are missing, and that it has no labels."""

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.kitti3d import KITTI3D, frame_numbers

WriteFrames = Callable[..., dict[int, np.ndarray]]
# Of the lists as text, six digits a line, each line ended.
CHECKSUMS = {
    "train": "e85ce0142be11c7e4196fd7b79a8bc8c2cefdd6fe754ac61fef8d421e37aba5c",
    "val": "6e2394d97c866c3af1ffb049f828abdf3d5b707d9575d16885fd0de87b72b0c8",
}


@pytest.fixture
def write_frames(write_scan: Callable[..., np.ndarray], tmp_path: Path) -> WriteFrames:
    """Function: write frames of these numbers; their points."""

    def write(numbers: list[int], folder: str = "training") -> dict[int, np.ndarray]:
        paths = {number: tmp_path / folder / "velodyne" / f"{number:06d}.bin" for number in numbers}
        return {number: write_scan(path, seed=number) for number, path in paths.items()}

    return write


def numbers_of(data: KITTI3D) -> list[int]:
    return [int(Path(data.name(index)).stem) for index in range(len(data))]


@pytest.mark.parametrize(("split", "count"), [("train", 3712), ("val", 3769)])
def test_lists_are_the_published_ones(split: str, count: int) -> None:
    numbers = frame_numbers()[split]
    assert len(numbers) == count
    text = "".join(f"{number:06d}\n" for number in numbers)
    assert sha256(text.encode()).hexdigest() == CHECKSUMS[split]


@pytest.mark.parametrize("split", ["train", "val"])
def test_lists_are_those_of_the_files(shared_data: Path, split: str) -> None:
    listed = (shared_data / "also_lists" / f"kitti3d_{split}.txt").read_text().split()
    assert [f"{number:06d}" for number in frame_numbers()[split]] == listed


def test_splits_share_no_frame() -> None:
    splits = frame_numbers()
    assert sorted(splits["train"] + splits["val"]) == splits["trainval"] == list(range(7481))
    assert splits["test"] == list(range(7518))


def test_frames_of_a_split_are_read(tmp_path: Path, write_frames: WriteFrames) -> None:
    # By the published lists 0, 3 and 7 are of train, 1, 2 and 4 of val.
    points = write_frames([7, 0, 1, 2, 3, 4])
    train, val = KITTI3D(tmp_path, "train"), KITTI3D(tmp_path, "val")
    assert numbers_of(train) == [0, 3, 7] and numbers_of(val) == [1, 2, 4]
    assert numbers_of(KITTI3D(tmp_path, "trainval")) == [0, 1, 2, 3, 4, 7]
    scan = train[2]
    assert scan.name == "training/velodyne/000007.bin" and scan.labels is None
    assert np.array_equal(scan.pos, points[7][:, :3])
    assert np.array_equal(scan.intensities, points[7][:, 3:])


def test_the_test_split_lies_in_a_folder_of_its_own(tmp_path: Path, write_frames: WriteFrames) -> None:
    write_frames([5], folder="testing")
    assert KITTI3D(tmp_path, "test").name(0) == "testing/velodyne/000005.bin"


def test_skip_ratio_keeps_every_nth_frame(tmp_path: Path, write_frames: WriteFrames) -> None:
    write_frames(list(range(30)))
    everything = numbers_of(KITTI3D(tmp_path, "val"))
    assert numbers_of(KITTI3D(tmp_path, "val", skip_ratio=4)) == everything[::4]


def test_missing_frames_are_counted_and_named(
    tmp_path: Path, write_frames: WriteFrames, caplog: pytest.LogCaptureFixture
) -> None:
    write_frames([0, 7])
    with caplog.at_level(logging.WARNING):
        assert len(KITTI3D(tmp_path, "train")) == 2
    assert "3710 of the 3712 frames of the split train are not there" in caplog.text
    assert "training/velodyne/000003.bin, training/velodyne/000009.bin" in caplog.text


def test_a_split_without_frames_is_an_error(tmp_path: Path, write_frames: WriteFrames) -> None:
    write_frames([0])
    with pytest.raises(
        DatasetError, match=r"none of the 3769 frames of the split val .*000001.bin.*cvlibs.*dataset_root"
    ):
        KITTI3D(tmp_path, "val")


def test_labels_are_refused_before_anything_is_read(tmp_path: Path, write_frames: WriteFrames) -> None:
    write_frames([0])
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match="^KITTI3D has no point labels: it serves pre-training"):
            KITTI3D(root, "train", labels=True)
    data = KITTI3D(tmp_path, "train")
    with pytest.raises(DatasetError, match="KITTI3D has no point labels"):
        data.write_submission(0, np.ones(len(data[0].pos), np.int64), directory=tmp_path)

"""KITTI-360: its windows expand to the published lists, overlaps and all."""

from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.kitti360 import KITTI360, listed_files, windows

DRIVE = "data_3d_raw/2013_05_28_drive_0000_sync/velodyne_points/data"
# Of the published lists: a path a line, each line ended.
CHECKSUMS = {
    "train": "d278f38450482e822e6581c35312c56a0966b6f8d8bfa4ee820e2afd2d61aed6",
    "val": "d89763c520201963e9eec7f343015d97f3b0495e3ace2b257e60cd2a3ac05fed",
}


@pytest.mark.parametrize(("split", "count", "distinct"), [("train", 57628, 54684), ("val", 15205, 14600)])
def test_windows_expand_to_the_published_lists(split: str, count: int, distinct: int) -> None:
    files = listed_files(split)
    assert (len(files), len(set(files))) == (count, distinct)
    assert sha256("".join(f"{name}\n" for name in files).encode()).hexdigest() == CHECKSUMS[split]


def test_training_windows_are_those_of_the_file(shared_data: Path) -> None:
    lines = (shared_data / "also_lists" / "kitti_360_train_windows.txt").read_text().splitlines()
    truth = [line.split() for line in lines if not line.startswith("#")]
    assert [list(map(str, window)) for window in windows("train")] == truth


def test_validation_list_is_that_of_the_file(shared_data: Path) -> None:
    listed = (shared_data / "also_lists" / "kitti_360_val_velodynes.txt").read_text().split()
    assert listed_files("val") == listed


def test_frames_of_two_windows_come_twice(tmp_path: Path, write_scan: Callable[..., np.ndarray]) -> None:
    # The windows 1980-2295 and 2282-2514 of drive 0000 share 2282-2295; no window has 1979.
    points = {
        frame: write_scan(tmp_path / DRIVE / f"{frame:010d}.bin", seed=frame)
        for frame in (1979, 1980, 2282, 2295, 2296)
    }
    data = KITTI360(tmp_path, "train")
    frames = [int(Path(data.name(index)).stem) for index in range(len(data))]
    assert frames == [1980, 2282, 2295, 2282, 2295, 2296]
    assert Counter(frames) == {1980: 1, 2282: 2, 2295: 2, 2296: 1}
    for index, frame in enumerate(frames):
        assert np.array_equal(data[index].pos, points[frame][:, :3])
        assert np.array_equal(data[index].intensities, points[frame][:, 3:])
    assert len(KITTI360(tmp_path, "train", skip_ratio=4)) == 2


def test_no_labels_and_no_frames_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="KITTI360 has no point labels"):
        KITTI360(tmp_path, "train", labels=True)
    with pytest.raises(DatasetError, match="none of the 57628 frames of the split train.*0000000002.bin"):
        KITTI360(tmp_path, "train")

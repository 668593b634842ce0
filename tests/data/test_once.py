"""ONCE: info files, layout, intensities, and info files that are not what they should be."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.formats import ScanError
from also_selfsup.data.once import ONCE

FRAMES = [("000113", "1616536471201"), ("000113", "1616536499200"), ("000076", "1616343528200")]


def row(sequence: Any, frame: Any) -> dict[str, Any]:
    """An annotated frame as OpenPCDet writes it: arrays beside the names."""
    return {
        "sequence_id": sequence,
        "frame_id": frame,
        "timestamp": 1616536471201,
        "pose": np.eye(4),
        "calib": {"cam01": {"cam_to_velo": np.eye(4, dtype=np.float32), "distortion": [0.0]}},
        "annos": {"name": np.array(["Car", "Bus"]), "boxes_3d": np.zeros((2, 7)), "num": np.int64(2)},
    }


@pytest.fixture
def once(tmp_path: Path, write_scan: Callable[..., np.ndarray]) -> Path:
    """Three frames of two sequences, listed in `train` and `raw_small`, the last one also in `val`."""
    for number, (sequence, frame) in enumerate(FRAMES):
        write_scan(tmp_path / "data" / sequence / "lidar_roof" / f"{frame}.bin", seed=number)
    rows = [row(*names) for names in FRAMES]
    for split, listed in (("train", rows), ("raw_small", rows), ("val", rows[2:])):
        (tmp_path / f"once_infos_{split}.pkl").write_bytes(pickle.dumps(listed, protocol=4))
    return tmp_path


def raw_points(root: Path, index: int) -> np.ndarray:
    sequence, frame = FRAMES[index]
    return np.fromfile(root / f"data/{sequence}/lidar_roof/{frame}.bin", "<f4").reshape(-1, 4)


def names(data: ONCE) -> list[str]:
    return [data.name(index) for index in range(len(data))]


def test_frames_come_in_the_order_of_the_info_file(once: Path) -> None:
    data = ONCE(once, "raw_small")
    assert names(data) == [f"data/{sequence}/lidar_roof/{frame}.bin" for sequence, frame in FRAMES]
    assert names(ONCE(once, "val")) == names(data)[2:]
    assert names(ONCE(once, "raw_small", skip_ratio=2)) == names(data)[::2]
    for index in range(3):
        assert np.array_equal(data[index].pos, raw_points(once, index)[:, :3])
        assert np.array_equal(data[index].intensities, raw_points(once, index)[:, 3:])


def test_intensities_are_divided_and_clipped(once: Path) -> None:
    path = once / "data" / "000076" / "lidar_roof" / "1616343528200.bin"
    points = raw_points(once, 2)
    points[:4, 3] = 0.5, 1.0, 51.0, 242.0
    points.tofile(path)
    assert ONCE(once, "val")[0].intensities[:4, 0].tolist() == [0.5, 1.0, 1.0, 1.0]
    scaled = ONCE(once, "val", intensity_scale=255)[0].intensities
    assert np.allclose(scaled[:4, 0], [0.5 / 255, 1 / 255, 0.2, 242 / 255])
    assert np.allclose(scaled[4:, 0] * 255, points[4:, 3], atol=1e-6)


def test_missing_frames_are_counted_and_named(once: Path, caplog: pytest.LogCaptureFixture) -> None:
    (once / "data" / "000113" / "lidar_roof" / "1616536499200.bin").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(ONCE(once, "train")) == 2
    assert "1 of the 3 frames of once_infos_train.pkl are not there" in caplog.text
    assert "lidar_roof/1616536499200.bin" in caplog.text


def test_a_missing_info_file_is_named_with_those_there(once: Path) -> None:
    with pytest.raises(DatasetError, match=r"once_infos_test.pkl: no such file; .*_raw_small.pkl, .*_train"):
        ONCE(once, "test")


def test_frames_that_are_all_missing_are_an_error(once: Path) -> None:
    (once / "data" / "000076" / "lidar_roof" / "1616343528200.bin").unlink()
    with pytest.raises(DatasetError, match="none of the 1 frames of once_infos_val.pkl.*1616343528200.bin"):
        ONCE(once, "val")


def test_labels_are_refused(once: Path) -> None:
    with pytest.raises(DatasetError, match="ONCE has no point labels"):
        ONCE(once, "train", labels=True)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ([], "found an empty list"),
        ({"frame_id": "1"}, "found dict"),
        ([["000113", "1"]], r"without sequence_id and frame_id \(list\)"),
        ([{"frame_id": "1"}], r"without sequence_id and frame_id \(dict\)"),
        ([row("../../etc", "passwd")], "names the frame 'passwd' of sequence '../../etc': do not use it"),
        ([row("000113", "/etc/passwd")], "do not use it"),
        ([row("000113", "a\n")], "do not use it"),
        ([row("000113", 1.5)], "do not use it"),
        ([row("000113", np.eye(2))], "do not use it"),
    ],
)
def test_bad_info_files_are_refused(once: Path, content: Any, finding: str) -> None:
    (once / "once_infos_val.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetError, match=f"once_infos_val.pkl: .*{finding}"):
        ONCE(once, "val")


def test_numpy_texts_and_numbers_name_frames_too(once: Path) -> None:
    sequence, frame = FRAMES[0]
    rows = [row(np.str_(sequence), np.int64(frame)), row(int(sequence), frame)]
    (once / "once_infos_val.pkl").write_bytes(pickle.dumps(rows))
    assert names(ONCE(once, "val")) == [f"data/{sequence}/lidar_roof/{frame}.bin"] * 2


def test_a_damaged_scan_is_named(once: Path) -> None:
    (once / "data" / "000076" / "lidar_roof" / "1616343528200.bin").write_bytes(b"123")
    with pytest.raises(ScanError, match="1616343528200.bin: 3 bytes"):
        ONCE(once, "val")[0]

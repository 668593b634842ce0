"""What every data set does: choosing, cropping, refusing or skipping, writing predictions."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from also_selfsup.data.base import DatasetError
from also_selfsup.data.file_names import refuse_outside
from also_selfsup.data.formats import ScanError
from also_selfsup.data.scan import collate
from also_selfsup.data.semantickitti import SemanticKITTI
from also_selfsup.data.skip_log import SkipLog


def velodyne(root: Path, frame: int) -> Path:
    return root / "dataset" / "sequences" / "08" / "velodyne" / f"{frame:06d}.bin"


def put_near_points(path: Path) -> np.ndarray:
    """Make rows 3 and 5 null returns and row 8 a return 5 mm from the sensor; all points of the file."""
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    points[[3, 5], :3] = 0
    points[8, :3] = 0.003, 0.004, 0
    points.tofile(path)
    return points


def test_points_near_the_sensor_go_with_their_labels(kitti_root: Path) -> None:
    points = put_near_points(velodyne(kitti_root, 0))
    everything = SemanticKITTI(kitti_root, "val", labels=True, min_range=0)[0]
    cropped = SemanticKITTI(kitti_root, "val", labels=True)[0]
    kept = np.setdiff1d(np.arange(len(points)), [3, 5, 8])
    assert np.array_equal(everything.pos, points[:, :3])
    assert np.array_equal(cropped.pos, points[kept, :3])
    assert np.array_equal(cropped.intensities, points[kept, 3:])
    assert np.array_equal(cropped.labels, everything.labels[kept])


def test_min_range_is_a_distance_in_metres(kitti_root: Path) -> None:
    points = np.fromfile(velodyne(kitti_root, 1), "<f4").reshape(-1, 4)
    scan = SemanticKITTI(kitti_root, "val", min_range=30.0)[1]
    assert len(scan.pos) == (np.linalg.norm(points[:, :3].astype(np.float64), axis=1) >= 30).sum() > 0


def test_a_scan_with_nothing_left_is_refused(kitti_root: Path) -> None:
    with pytest.raises(
        ScanError, match=r"000000.bin: none of its \d+ points lies 500.0 m .*cfg.data.min_range"
    ):
        SemanticKITTI(kitti_root, "val", min_range=500.0)[0]


def test_scans_have_their_sensor_and_name(kitti_root: Path) -> None:
    scan = SemanticKITTI(kitti_root, "val")[2]
    assert scan.sensor.tolist() == [0, 0, 0]
    assert scan.name == "dataset/sequences/08/velodyne/000002.bin"
    assert scan.labels is None


def test_names_lead_back_to_frames(kitti_root: Path) -> None:
    data = SemanticKITTI(kitti_root, "train")
    assert [data.index_of(data.name(index)) for index in range(len(data))] == list(range(8))
    with pytest.raises(KeyError, match="no frame of the split train"):
        data.index_of("dataset/sequences/08/velodyne/000002.bin")


def test_indices_count_from_the_end_too_and_end(kitti_root: Path) -> None:
    data = SemanticKITTI(kitti_root, "val")
    assert data[-1].name == data[3].name
    with pytest.raises(IndexError):
        data[4]


def test_bad_scans_are_refused_or_skipped(kitti_root: Path) -> None:
    velodyne(kitti_root, 1).write_bytes(b"no scan")
    with pytest.raises(ScanError, match="000001.bin"):
        SemanticKITTI(kitti_root, "val")[1]
    data = SemanticKITTI(kitti_root, "val", labels=True, on_bad_scan="skip")
    batch = collate([data[index] for index in range(4)])
    assert sorted(set(batch["batch"].tolist())) == [0, 2, 3]
    assert len(batch["sensor"]) == 4
    assert len(batch["skipped"]) == 1
    assert "000001.bin: 7 bytes" in batch["skipped"][0]


def test_files_that_vanish_are_bad_scans(kitti_root: Path) -> None:
    data = SemanticKITTI(kitti_root, "val", labels=True, on_bad_scan="skip")
    velodyne(kitti_root, 0).unlink()
    (kitti_root / data.label_file(1)).unlink()
    assert "velodyne/000000.bin: there is no such file" in data[0].finding
    assert "labels/000001.label: there is no such file" in data[1].finding
    assert not data[2].skipped


def test_unknown_raw_classes_are_a_bad_scan(kitti_root: Path) -> None:
    data = SemanticKITTI(kitti_root, "val", labels=True)
    labels = kitti_root / data.label_file(0)
    raw = np.fromfile(labels, "<u4")
    raw[0] = 42
    raw.tofile(labels)
    with pytest.raises(ScanError, match="000000.label: raw class 42"):
        data[0]


def test_a_workers_error_names_the_file(kitti_root: Path) -> None:
    velodyne(kitti_root, 2).write_bytes(b"")
    loader = DataLoader(SemanticKITTI(kitti_root, "val"), batch_size=2, num_workers=1, collate_fn=collate)
    with pytest.raises(ScanError, match="000002.bin: the file is empty"):
        list(loader)


def test_a_data_set_is_the_same_after_pickling(kitti_root: Path) -> None:
    data = SemanticKITTI(kitti_root, "val", labels=True)
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again[3].pos, data[3].pos)
    assert np.array_equal(again[3].labels, data[3].labels)


def test_mistaken_arguments_are_named_with_the_choices(kitti_root: Path) -> None:
    with pytest.raises(ValueError, match="split of SemanticKITTI 'valid': .*test, train, trainval, val"):
        SemanticKITTI(kitti_root, "valid")
    with pytest.raises(ValueError, match="on_bad_scan 'ignore': .*raise, skip"):
        SemanticKITTI(kitti_root, "val", on_bad_scan="ignore")
    with pytest.raises(ValueError, match="skip_ratio is 0"):
        SemanticKITTI(kitti_root, "val", skip_ratio=0)
    with pytest.raises(ValueError, match="min_range -1"):
        SemanticKITTI(kitti_root, "val", min_range=-1)


def test_a_missing_root_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: no such folder.*semantic-kitti.org.*cfg.dataset_root"):
        SemanticKITTI(tmp_path / "nowhere", "train")


def test_predictions_need_a_label_for_every_point(kitti_root: Path, tmp_path: Path) -> None:
    put_near_points(velodyne(kitti_root, 0))
    data = SemanticKITTI(kitti_root, "val")
    with pytest.raises(ValueError, match="min_range=0"):
        data.write_submission(0, np.ones(len(data[0].pos), np.int64), directory=tmp_path)


@pytest.mark.parametrize("name", ["../a.bin", "/etc/passwd", "samples/../../a", "", "a\0b", "..\\a"])
def test_names_that_lead_out_of_the_root_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="table.json names the file .* not below the root"):
        # A NUL at the end would be lost in an array of bytes; inside it stays.
        refuse_outside(np.array([b"samples/a.bin", name.encode()]), origin="table.json")


def test_names_below_the_root_pass() -> None:
    names = [b"samples/a..b.bin", b"...", b"a/b/c"]
    refuse_outside(np.array(names), origin="table.json")
    with pytest.raises(DatasetError, match=r"names the file .*\.\./x"):
        refuse_outside(np.array([*names, b"../x"]), origin="table.json")


def test_skipped_files_are_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    log = SkipLog()
    with caplog.at_level(logging.WARNING):
        log.update(["a.bin: empty", "b.bin: cut short"])
        log.update([])
        log.update(["a.bin: empty"])
    assert log.count == 2
    assert [record.getMessage() for record in caplog.records] == [
        "skipped a.bin: empty",
        "skipped b.bin: cut short",
    ]

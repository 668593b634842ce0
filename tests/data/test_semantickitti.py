"""SemanticKITTI: splits, label fractions, layout and submissions, on files written in its format."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.formats import read_semantic_labels
from also_selfsup.data.labels import SEMANTICKITTI
from also_selfsup.data.semantickitti import SEQUENCES, SemanticKITTI, published_fractions

# Scans of each sequence with labels, from KITTI odometry's own description.
LENGTHS = [4541, 1101, 4661, 801, 271, 2761, 1101, 1101, 4071, 1591, 1201]


def empty_files(root: Path, lengths: dict[str, int]) -> Path:
    for sequence, length in lengths.items():
        folder = root / "sequences" / sequence / "velodyne"
        folder.mkdir(parents=True)
        for frame in range(length):
            (folder / f"{frame:06d}.bin").touch()
    return root


def frames(data: SemanticKITTI) -> list[tuple[str, int]]:
    paths = [Path(data.name(index)) for index in range(len(data))]
    return [(path.parts[-3], int(path.stem)) for path in paths]


def test_splits_are_the_benchmarks() -> None:
    assert SEQUENCES["train"] == ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
    assert SEQUENCES["val"] == ("08",)
    assert SEQUENCES["trainval"] == tuple(f"{number:02d}" for number in range(11))
    assert SEQUENCES["test"] == tuple(f"{number}" for number in range(11, 22))


@pytest.mark.parametrize(("split", "sequences"), [("train", ["00", "01"]), ("val", ["08"]), ("test", ["11"])])
def test_frames_come_by_sequence_and_number(kitti_root: Path, split: str, sequences: list[str]) -> None:
    assert frames(SemanticKITTI(kitti_root, split)) == [(name, n) for name in sequences for n in range(4)]


def test_the_folder_dataset_may_be_left_out(kitti_root: Path) -> None:
    outer, inner = SemanticKITTI(kitti_root, "val"), SemanticKITTI(kitti_root / "dataset", "val")
    assert frames(outer) == frames(inner)
    assert np.array_equal(outer[1].pos, inner[1].pos)


def test_points_and_labels_are_those_of_the_files(kitti_root: Path) -> None:
    folder = kitti_root / "dataset" / "sequences" / "01"
    points = np.fromfile(folder / "velodyne" / "000003.bin", "<f4").reshape(-1, 4)
    raw = np.fromfile(folder / "labels" / "000003.label", "<u4") & 0xFFFF
    truth = {0: 0, 1: 0, 10: 1, 40: 9, 52: 0, 70: 15, 81: 19, 99: 0, 252: 1, 259: 5}
    scan = SemanticKITTI(kitti_root, "train", labels=True)[7]
    assert np.array_equal(scan.pos, points[:, :3])
    assert np.array_equal(scan.intensities[:, 0], points[:, 3])
    assert scan.labels is not None
    assert scan.labels.tolist() == [truth[value] for value in raw.tolist()]


def test_no_label_file_is_needed_without_labels(kitti_root: Path) -> None:
    for labels in kitti_root.glob("dataset/sequences/*/labels/*"):
        labels.unlink()
    data = SemanticKITTI(kitti_root, "trainval")
    assert all(data[index].labels is None for index in range(len(data)))


def test_missing_sequences_are_told(kitti_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        SemanticKITTI(kitti_root, "train")
    assert "without the sequences 02, 03, 04, 05, 06, 07, 09, 10" in caplog.text


def test_a_split_without_scans_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no scan of the split val, sequences 08.*cvlibs.*dataset_root"):
        SemanticKITTI(tmp_path, "val")


def test_other_files_are_passed_over(kitti_root: Path) -> None:
    folder = kitti_root / "dataset" / "sequences" / "08" / "velodyne"
    for name in ("._000001.bin", "000001.txt", "1.bin", "backup.bin"):
        (folder / name).touch()
    assert frames(SemanticKITTI(kitti_root, "val")) == [("08", number) for number in range(4)]


def test_fractions_have_the_published_sizes() -> None:
    counts = {ratio: sum(map(len, lists.values())) for ratio, lists in published_fractions().items()}
    assert counts == {2: 9560, 10: 1912, 100: 188, 1000: 17}
    for lists in published_fractions().values():
        assert tuple(lists) == SEQUENCES["train"]
        assert all(
            numbers.max() < LENGTHS[int(sequence)] for sequence, numbers in lists.items() if len(numbers)
        )


def test_fractions_are_the_published_lists(shared_data: Path) -> None:
    published = json.loads((shared_data / "also_lists" / "percentiles_split.json").read_text())
    for share, ratio in (("0.5", 2), ("0.1", 10), ("0.01", 100), ("0.001", 1000)):
        for sequence, numbers in published_fractions()[ratio].items():
            listed = published[share].get(sequence, {"points": []})["points"]
            assert numbers.tolist() == sorted(int(Path(name).stem) for name in listed)


def test_fractions_choose_the_listed_scans(tmp_path: Path) -> None:
    root = empty_files(tmp_path, {"04": 271, "08": 30})
    for ratio, lists in published_fractions().items():
        listed = [("04", number) for number in lists["04"].tolist()]
        if listed:
            assert frames(SemanticKITTI(root, "train", skip_ratio=ratio)) == listed
    assert len(SemanticKITTI(root, "train")) == 271


def test_other_ratios_and_splits_take_every_nth_scan(tmp_path: Path) -> None:
    root = empty_files(tmp_path, {"04": 9, "08": 30})
    assert frames(SemanticKITTI(root, "train", skip_ratio=4)) == [("04", 0), ("04", 4), ("04", 8)]
    assert frames(SemanticKITTI(root, "val", skip_ratio=10)) == [("08", 0), ("08", 10), ("08", 20)]


def test_a_fraction_without_scans_is_an_error(kitti_root: Path) -> None:
    with pytest.raises(DatasetError, match="skip_ratio=1000 leaves none of the scans of train"):
        SemanticKITTI(kitti_root, "train", skip_ratio=1000)


def test_submissions_read_back_as_the_labels_predicted(kitti_root: Path, tmp_path: Path) -> None:
    data = SemanticKITTI(kitti_root, "test", min_range=0)
    predicted = np.random.default_rng(0).integers(0, 20, len(data[2].pos))
    path = data.write_submission(2, predicted, directory=tmp_path / "submission")
    assert path == tmp_path / "submission" / "sequences" / "11" / "predictions" / "000002.label"
    assert path.stat().st_size == 4 * len(predicted)
    assert np.array_equal(SEMANTICKITTI.training(read_semantic_labels(path, count=len(predicted))), predicted)
    # As labels of the data set itself they are read the same.
    labels = kitti_root / data.label_file(2)
    labels.parent.mkdir()
    labels.write_bytes(path.read_bytes())
    assert np.array_equal(SemanticKITTI(kitti_root, "test", labels=True, min_range=0)[2].labels, predicted)

"""Which files of a folder are scans, which of them train and which validate, and what is said of them."""

import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.folder import Folder

Put = Callable[[str], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that `put` writes to."""
    return tmp_path / "root"


@pytest.fixture
def put(root: Path) -> Put:
    """Function: write a small scan below the root."""
    numbers = np.random.default_rng(0)

    def write(name: str) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = numbers.normal(0, 1, (90, 4)) * (20, 15, 1.5, 0) + (3, 1, -1.5, 0)
        rows[:, 3] = numbers.uniform(0, 1, 90)
        rows.astype("<f4").tofile(path)

    return write


def test_every_nth_file_validates(put: Put, root: Path) -> None:
    for number in range(25):
        put(f"{number // 10}/{number:02d}.bin")
    val, train = Folder(root, "val"), Folder(root, "train")
    assert val.files.tolist() == [b"0/00.bin", b"1/10.bin", b"2/20.bin"]
    assert sorted([*val.files.tolist(), *train.files.tolist()]) == Folder(root, "all").files.tolist()
    assert Folder(root, "val", val_every=5).files.tolist()[1] == b"0/05.bin"
    assert Folder(root, "train", skip_ratio=11).files.tolist() == [b"0/01.bin", b"1/13.bin"]
    assert train.layouts == val.layouts
    with pytest.raises(DatasetError, match="cfg.data.val_every=1: at least 2"):
        Folder(root, "val", val_every=1)
    with pytest.raises(ValueError, match="split of Folder 'test': choose one of all, train, val"):
        Folder(root, "test")


def test_folders_train_and_val_are_the_splits(put: Put, root: Path) -> None:
    names = [f"{split}/x/{number}.bin" for split in ("extra", "train", "val") for number in range(3)]
    for name in names:
        put(name)
    assert [name.decode() for name in Folder(root, "train").files] == names[3:6]
    assert [name.decode() for name in Folder(root, "val").files] == names[6:]
    assert len(Folder(root, "all")) == 9


def test_one_scan_cannot_train_and_none_is_an_error(put: Put, root: Path, tmp_path: Path) -> None:
    put("a.bin")
    with pytest.raises(DatasetError, match="none of its 1 scans is left for train.*cfg.data.val_every=10"):
        Folder(root, "train")
    with pytest.raises(DatasetError, match="no such folder.*cfg.dataset_root"):
        Folder(tmp_path / "absent", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty: no scan \(.pcd.bin, .bin, .pcd"):
        Folder(tmp_path / "empty", "train")


def test_links_are_followed_but_not_in_circles(put: Put, root: Path, tmp_path: Path) -> None:
    put("a/1.bin")
    put("a/2.bin")
    (root / "a" / "up").symlink_to(root)
    (tmp_path / "else").mkdir()
    shutil.copy(root / "a" / "1.bin", tmp_path / "else" / "3.bin")
    (root / "b").symlink_to(tmp_path / "else")
    assert Folder(root, "all").files.tolist() == [b"a/1.bin", b"a/2.bin", b"b/3.bin"]


def test_labels_are_refused(put: Put, root: Path, tmp_path: Path) -> None:
    put("a.bin")
    with pytest.raises(DatasetError, match="no point labels.*pre-training.*cfg.dataset_name"):
        Folder(root, "all", labels=True)
    data = Folder(root, "all")
    for refused in (data.label_file, data.submission_path):
        with pytest.raises(DatasetError, match="no point labels"):
            refused(0)


def test_what_was_found_is_logged_once(put: Put, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        put(f"{number}.bin")
    with caplog.at_level(logging.INFO):
        train, _ = Folder(root, "train"), Folder(root, "val")
    (record,) = caplog.records
    assert "root: 3 scans" in record.getMessage() and train.summary[0] in record.getMessage()
    assert "columns x y z intensity (detected)" in record.getMessage()


def test_a_folder_is_the_same_after_pickling(put: Put, root: Path) -> None:
    put("a.bin")
    data = Folder(root, "all")
    again = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(again[0].pos, data[0].pos)

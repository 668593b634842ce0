"""Livox simu-dataset: text and binary files, columns by name, and files that are not as named."""

from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.formats import ScanError
from also_selfsup.data.livox import LivoxSimu

NUMBERS = np.random.default_rng(0)


def values(count: int = 12) -> np.ndarray:
    """x, y, z, intensity (0-255), label of some points; (count, 5)."""
    pos = NUMBERS.uniform(-50, 50, (count, 3))
    return np.column_stack([pos, NUMBERS.integers(0, 256, count), NUMBERS.integers(0, 14, count)])


def write_text(path: Path, points: np.ndarray, *, delimiter: str = " ") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, points, fmt="%.4f", delimiter=delimiter)
    return np.round(points, 4)


def test_text_and_binary_files_hold_the_same(tmp_path: Path) -> None:
    points = values()
    for name, delimiter in (("a/000000.txt", " "), ("a/000001.csv", ","), ("a/000002.txt", ", ")):
        write_text(tmp_path / "points" / name, points, delimiter=delimiter)
    points.astype("<f4").tofile(tmp_path / "points" / "a" / "000003.bin")
    data = LivoxSimu(tmp_path, "all")
    assert [data.name(index)[-10:] for index in range(4)] == [
        "000000.txt",
        "000001.csv",
        "000002.txt",
        "000003.bin",
    ]
    for index in range(4):
        scan = data[index]
        assert scan.pos.dtype == scan.intensities.dtype == np.float32
        assert np.allclose(scan.pos, points[:, :3], atol=1e-4)
        assert np.allclose(scan.intensities[:, 0], points[:, 3] / 255)


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    points = write_text(tmp_path / "0.txt", values())
    columns = ["label", "z", "y", "x", "time", "intensity"]
    order = [4, 2, 1, 0, 4, 3]
    write_text(tmp_path / "0.txt", points[:, order])
    scan = LivoxSimu(tmp_path, "all", columns=columns, intensity_scale=510)[0]
    assert np.allclose(scan.pos, points[:, :3]) and np.allclose(scan.intensities[:, 0], points[:, 3] / 510)
    write_text(tmp_path / "0.txt", points[:, :3])
    assert not LivoxSimu(tmp_path, "all", columns=["x", "y", "z"])[0].intensities.any()


def test_the_last_tenth_validates(tmp_path: Path) -> None:
    for number in range(21):
        write_text(tmp_path / "points" / f"{number // 7}" / f"{number:06d}.txt", values(2))
    numbers = {
        split: [int(Path(name.decode()).stem) for name in LivoxSimu(tmp_path, split).files.tolist()]
        for split in ("train", "val", "all")
    }
    assert numbers == {"train": list(range(18)), "val": [18, 19, 20], "all": list(range(21))}
    assert len(LivoxSimu(tmp_path, "train", skip_ratio=5)) == 4


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("1 2 3 4\n", "4 values a line, where 5 are expected.*cfg.data.columns"),
        ("1 2 3 4 5\n1 2 3 4\n", "no table of numbers"),
        ("x y z i l\n1 2 3 4 5\n", "no table of numbers"),
        ("1 2 nan 4 5\n", "1 of 1 points have values that are NaN"),
        ("1 2 3000 4 5\n", "a coordinate of 3000 m"),
        ("1 2 3 256 5\n", r"intensities reach from 256 to 256, they should lie in 0 to 255"),
        (" \n", "the file is empty"),
        ("0 0 0 0 0\n", r"all 1 points are \(0, 0, 0\)"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str, finding: str) -> None:
    (tmp_path / "0.txt").write_text(content)
    with pytest.raises(ScanError, match=f"0.txt: .*{finding}"):
        LivoxSimu(tmp_path, "all")[0]


def test_binary_files_of_another_length_are_refused(tmp_path: Path) -> None:
    values(3).astype("<f4").tofile(tmp_path / "0.bin")
    with pytest.raises(ScanError, match="60 bytes are no whole number of points of 16 bytes"):
        LivoxSimu(tmp_path, "all", columns=["x", "y", "z", "intensity"])[0]


@pytest.mark.parametrize("columns", [["x", "y", "intensity"], ["x", "x", "y", "z"], []])
def test_columns_without_positions_are_refused(tmp_path: Path, columns: list[str]) -> None:
    with pytest.raises(DatasetError, match=r"cfg.data.columns=\[.*\]: x, y and z must be among them"):
        LivoxSimu(tmp_path, "all", columns=columns)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no file of points.*livoxtech.com.*cfg.dataset_root"):
        LivoxSimu(tmp_path, "train")
    write_text(tmp_path / "0.txt", values())
    with pytest.raises(DatasetError, match="one file alone is no split train"):
        LivoxSimu(tmp_path, "train")
    with pytest.raises(DatasetError, match="LivoxSimu has no point labels"):
        LivoxSimu(tmp_path, "all", labels=True)

"""Reading bytes: what was written comes back; what is no scan is refused with file, finding and cure."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from also_selfsup.data.formats import (
    ScanError,
    count_points,
    read_kitti_points,
    read_nuscenes_points,
    read_semantic_labels,
    read_uint8_labels,
)

READERS = {4: read_kitti_points, 5: read_nuscenes_points}


def scan(columns: int, *, count: int = 30) -> np.ndarray:
    return np.random.default_rng(columns).uniform(1, 100, (count, columns)).astype("<f4")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_kitti_points_come_back_as_written(tmp_path: Path) -> None:
    points = scan(4)
    pos, intensities = read_kitti_points(write(tmp_path / "a.bin", points.tobytes()))
    assert np.array_equal(pos, points[:, :3])
    assert np.array_equal(intensities, points[:, 3:])
    assert pos.dtype == intensities.dtype == np.float32


def test_nuscenes_intensity_becomes_a_fraction_of_255(tmp_path: Path) -> None:
    points = scan(5)
    points[:3, 3] = 0, 51, 255
    pos, intensities = read_nuscenes_points(write(tmp_path / "a.pcd.bin", points.tobytes()))
    assert np.array_equal(pos, points[:, :3])
    assert intensities[:3, 0].tolist() == pytest.approx([0, 0.2, 1])
    assert intensities.shape == (30, 1)
    assert intensities.dtype == np.float32


def test_semantic_labels_lose_their_instances(tmp_path: Path) -> None:
    path = write(tmp_path / "a.label", np.array([0x00070028, 0x00FF0103, 0], "<u4").tobytes())
    assert read_semantic_labels(path, count=3).tolist() == [40, 259, 0]


def test_uint8_labels_come_back_as_written(tmp_path: Path) -> None:
    assert read_uint8_labels(write(tmp_path / "a.bin", bytes([0, 31, 24])), count=3).tolist() == [0, 31, 24]


def test_points_are_counted_without_reading_them(tmp_path: Path) -> None:
    assert count_points(write(tmp_path / "a.bin", scan(5, count=7).tobytes()), columns=5) == 7


def damage(points: np.ndarray, value: float, *, column: int) -> bytes:
    points[7, column] = value
    return points.tobytes()


@pytest.mark.parametrize("columns", [4, 5])
@pytest.mark.parametrize(
    ("make", "finding", "cure"),
    [
        (lambda points: b"", "empty", "Fetch"),
        (lambda points: points.tobytes()[:-3], "no whole number of points", "cut short"),
        (lambda points: damage(points, np.nan, column=1), "1 of 30 points .* NaN", "damaged"),
        (lambda points: damage(points, np.inf, column=0), "1 of 30 points .* infinite", "damaged"),
        (lambda points: damage(points, -np.inf, column=3), "1 of 30 points .* infinite", "damaged"),
        (lambda points: damage(points, -1e4, column=2), "coordinate of 1e\\+04 m", "damaged"),
        (lambda points: damage(points, 1e30, column=3), "intensity of 1e\\+30", "damaged"),
        (lambda points: np.zeros_like(points).tobytes(), "all 30 points are \\(0, 0, 0\\)", "skip"),
        (
            lambda points: b"version https://git-lfs.github.com/spec/v1\noid",
            "Git LFS pointer",
            "git lfs pull",
        ),
    ],
)
def test_what_is_no_scan_is_refused(
    tmp_path: Path, columns: int, make: Callable[[np.ndarray], bytes], finding: str, cure: str
) -> None:
    path = write(tmp_path / "frame.bin", make(scan(columns)))
    with pytest.raises(ScanError, match=f"frame.bin: .*{finding}.*{cure}") as caught:
        READERS[columns](path)
    assert caught.value.file == str(path)
    assert caught.value.finding
    assert caught.value.cure


def test_intensities_beyond_the_coordinates_limit_are_no_error(tmp_path: Path) -> None:
    points = scan(4)
    points[3, 3] = 60_000
    assert read_kitti_points(write(tmp_path / "a.bin", points.tobytes()))[1][3, 0] == 60_000


@pytest.mark.parametrize("reader", [read_kitti_points, read_nuscenes_points])
def test_a_missing_or_unreadable_file_is_named(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    with pytest.raises(ScanError, match="absent.bin: there is no such file.*dataset_root"):
        reader(tmp_path / "absent.bin")
    with pytest.raises(ScanError, match="cannot be read"):
        reader(tmp_path)


def test_counting_points_refuses_too(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="no such file"):
        count_points(tmp_path / "absent.bin", columns=4)
    with pytest.raises(ScanError, match="no whole number"):
        count_points(write(tmp_path / "a.bin", bytes(17)), columns=4)


@pytest.mark.parametrize(("reader", "size"), [(read_uint8_labels, 1), (read_semantic_labels, 4)])
@pytest.mark.parametrize("labels", [0, 4, 6])
def test_labels_must_be_as_many_as_points(
    tmp_path: Path, reader: Callable[..., object], size: int, labels: int
) -> None:
    path = write(tmp_path / "a.label", bytes(labels * size))
    with pytest.raises(ScanError, match=f"a.label: .*{labels} labels, the scan has 5 points"):
        reader(path, count=5)


def test_the_error_survives_a_worker() -> None:
    error = ScanError("frame.bin", "cut short", "Fetch it again")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.file, again.cure) == (str(error), "frame.bin", "Fetch it again")
    # A loader makes the exception anew from its message.
    assert "cut short" in str(ScanError(str(error)))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), columns=st.sampled_from([4, 5]))
def test_any_bytes_give_a_scan_or_a_scan_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, columns: int
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.bin", data)
    try:
        pos, intensities = READERS[columns](path)
    except ScanError as error:
        assert str(path) in str(error)
    else:
        assert len(pos) == len(intensities) == len(data) // (4 * columns) > 0
        assert np.isfinite(pos).all()
        assert np.abs(pos).max() <= 1000
        assert pos.any()

"""Numbers a point of raw files: found for scans in order and shuffled, refused for other bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.records import likely_width, read_records, split_records
from also_selfsup.data.simulator import SENSORS
from also_selfsup.data.simulator.scene import make_scene

Put = Callable[[str, bytes], Path]


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    """A simulated scan (n, 10): x y z intensity ring time, normals, range; n divides by all widths."""
    frame = make_scene(SENSORS["hdl64e"].with_columns(400), seed=(3, 0), duration=1.0).scan(0.0, 0)
    count = len(frame.pos) // 2520 * 2520
    pos, numbers = frame.pos[:count], np.random.default_rng(0)
    more = [np.clip(frame.strength[:count], 0, 1), frame.ring[:count], np.linspace(0, 0.1, count)]
    normals = numbers.uniform(-1, 1, (count, 3))
    return np.column_stack([pos, *more, normals, np.linalg.norm(pos, axis=1)]).astype("<f4")


@pytest.mark.parametrize("width", [3, 4, 5, 6, 7, 8, 9, 10])
@pytest.mark.parametrize("scale", [1, 255])
def test_the_width_is_found(street: np.ndarray, width: int, scale: int) -> None:
    scan = street[:, :width] * np.where(np.arange(width) == 3, scale, 1).astype(np.float32)
    assert likely_width(scan.ravel()) == width
    assert likely_width(np.random.default_rng(1).permutation(scan).ravel()) == width
    few = np.random.default_rng(2).permutation(scan)[:360]
    assert likely_width(few.ravel()) == width


def test_other_bytes_have_no_width() -> None:
    labels = np.random.default_rng(0).integers(0, 32, 4 * 840).astype(np.uint8).view("<f4")
    assert likely_width(labels) is None
    semantic = np.random.default_rng(0).integers(0, 260, 840).astype("<u4").view("<f4")
    assert likely_width(semantic) is None
    noise = np.frombuffer(np.random.default_rng(0).bytes(4 * 840), "<f4")
    assert likely_width(noise) is None
    assert likely_width(np.zeros(840, np.float32)) is None
    assert likely_width(np.ones(2, np.float32)) is None


def test_records_are_cut_into_columns(put: Put, points: np.ndarray) -> None:
    path = put("a.bin", points.tobytes())
    table = split_records(path, read_records(path), width=4)
    np.testing.assert_array_equal(np.stack(table.columns, 1), points)
    with pytest.raises(ScanError, match="a.bin: 3200 bytes are no whole number of points of 28"):
        split_records(path, read_records(path), width=7)
    with pytest.raises(ScanError, match="6 bytes are no whole number of values of 4 bytes"):
        read_records(put("a.bin", b"123456"))
    with pytest.raises(ScanError, match="Git LFS pointer"):
        read_records(put("a.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"))


def test_files_larger_than_any_scan_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole, which takes no room on the disk
    with pytest.raises(ScanError, match="a.bin: 1099511627776 bytes are more than a scan has"):
        read_records(path)

"""A single file is read as it would be in a folder of its own, whatever lies beside it."""

from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.folder import Folder
from also_selfsup.data.formats import ScanError
from also_selfsup.data.one_scan import read_one_scan
from also_selfsup.settings.schema import Data


def write_points(path: Path, *, width: int = 4, scale: float = 1.0) -> Path:
    generator = np.random.default_rng(width)
    points = generator.uniform(-20, 20, (500, width)).astype(np.float32)
    points[:, 3] = generator.integers(0, 100, 500) / 100 * scale
    path.parent.mkdir(parents=True, exist_ok=True)
    points.tofile(path)
    return path


@pytest.mark.parametrize(("name", "width", "scale"), [("a.bin", 4, 1.0), ("a.pcd.bin", 5, 255.0)])
def test_reads_as_a_folder_of_one_file_does(tmp_path: Path, name: str, width: int, scale: float) -> None:
    path = write_points(tmp_path / "alone" / name, width=width, scale=scale)
    scan, expected = read_one_scan(path, Data()), Folder(tmp_path / "alone", "all")[0]
    assert scan.name == name and scan.labels is None and len(scan.pos) == 500
    for field in ("pos", "intensities", "sensor"):
        np.testing.assert_array_equal(getattr(scan, field), getattr(expected, field))


def test_other_files_beside_it_do_not_count(tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.bin")
    alone = read_one_scan(path, Data())
    (tmp_path / "b.bin").write_bytes(b"no scan")
    write_points(tmp_path / "c.bin", scale=255.0)
    np.testing.assert_array_equal(read_one_scan(path, Data()).intensities, alone.intensities)


def test_given_columns_scale_and_origin_count(tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.bin", width=6, scale=10.0)
    raw = np.fromfile(path, np.float32).reshape(-1, 6)
    data = Data(
        columns=["a", "x", "y", "intensity", "z", "b"], intensity_scale=10.0, sensor_origin=[1.0, 2.0, 3.0]
    )
    scan = read_one_scan(path, data)
    np.testing.assert_array_equal(scan.pos, raw[:, [1, 2, 4]])
    np.testing.assert_allclose(scan.intensities[:, 0], raw[:, 3] / 10, rtol=1e-6)
    assert scan.sensor.tolist() == [1, 2, 3]


def test_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        read_one_scan(tmp_path / "none.bin", Data())
    with pytest.raises(DatasetError, match="a folder; name one scan in it"):
        read_one_scan(tmp_path, Data())
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(DatasetError, match="its ending is none"):
        read_one_scan(tmp_path / "a.txt", Data())
    (tmp_path / "a.ply").write_text("no ply")
    with pytest.raises(ScanError, match=r"a\.ply"):
        read_one_scan(tmp_path / "a.ply", Data())

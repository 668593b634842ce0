"""Any folder of scans: what is found, how it is split and read, and what is refused."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.folder import Folder
from also_selfsup.data.formats import ScanError
from also_selfsup.data.scan import collate

NUMBERS = np.random.default_rng(0)


def street(count: int = 90, *, scale: float = 1.0) -> np.ndarray:
    """(count, 4) float32: x, y, z of a flat world, intensities in steps of `scale` / 100."""
    rows = NUMBERS.normal(0, 1, (count, 4)) * (20, 15, 1.5, 0) + (3, 1, -1.5, 0)
    rows[:, 3] = NUMBERS.integers(0, 101, count) / 100 * scale
    return rows.astype("<f4")


def pcd(points: np.ndarray, *, names: str = "x y z intensity", origin: str = "0 0 0") -> bytes:
    count = points.shape[1]
    header = (
        f"FIELDS {names}\nSIZE {'4 ' * count}\nTYPE {'F ' * count}\nWIDTH {len(points)}\nHEIGHT 1\n"
        f"VIEWPOINT {origin} 1 0 0 0\nDATA binary\n"
    )
    return header.encode() + points.tobytes()


def ply(points: np.ndarray, *, names: tuple[str, ...] = ("x", "y", "z", "scalar_Intensity")) -> bytes:
    lines = [f"property float {name}\n" for name in names]
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{''.join(lines)}end_header\n"
    )
    return header.encode() + points.tobytes()


def npy(points: np.ndarray) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {points.shape}, }}".encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + points.tobytes()


WRITERS: dict[str, Callable[[np.ndarray], bytes]] = {
    ".bin": lambda points: points.tobytes(),
    ".pcd.bin": lambda points: np.column_stack([points, np.arange(len(points)) % 32]).astype("<f4").tobytes(),
    ".pcd": pcd,
    ".ply": ply,
    ".npy": npy,
}


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Function: write a file below the root."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that `put` writes to."""
    return tmp_path / "root"


Put = Callable[[str, bytes], Path]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("scale", [1.0, 255.0, 65535.0])
def test_columns_and_scale_are_found(put: Put, root: Path, kind: str, scale: float) -> None:
    scans = [street(scale=scale) for _ in range(3)]
    for number, scan in enumerate(scans):
        put(f"drive/{number}{kind}", WRITERS[kind](scan))
    data = Folder(root, "all")
    assert len(data) == 3 and data.layouts[kind].scale == scale
    for number, points in enumerate(scans):
        scan = data[number]
        assert scan.name == f"drive/{number}{kind}"
        np.testing.assert_array_equal(scan.pos, points[:, :3])
        np.testing.assert_allclose(scan.intensities, points[:, 3:] / scale, atol=1e-6)
        assert scan.pos.dtype == scan.intensities.dtype == scan.sensor.dtype == np.float32
        assert scan.sensor.tolist() == [0, 0, 0] and scan.labels is None
    assert f"{kind}: 3 files" in data.summary[0] and f"/ {scale:g} (detected" in data.summary[0]
    assert "90 to 90 points" in data.summary[0]


def test_kinds_are_mixed_and_hidden_files_passed_over(put: Put, root: Path) -> None:
    for kind, write in WRITERS.items():
        put(f"a/b{kind}", write(street(scale=255 if kind == ".pcd.bin" else 1)))
    put("upper.BIN", street().tobytes())
    for name in ("._b.bin", ".cache/b.bin", "a/b.txt", "a/b.png"):
        put(name, b"no scan")
    data = Folder(root, "all")
    assert [data.name(index) for index in range(len(data))] == [
        *("a/b.bin", "a/b.npy", "a/b.pcd", "a/b.pcd.bin", "a/b.ply", "upper.BIN"),
    ]
    batch = collate(list(data))
    assert batch["sensor"].shape == (6, 3) and len(batch["pos"]) == 6 * 90
    assert 0.9 < float(batch["intensities"].max()) <= 1


def test_retro_reflectors_are_cut_and_told(put: Put, root: Path) -> None:
    points = street(200)
    points[:9, 3] = 200
    put("a.bin", points.tobytes())
    data = Folder(root, "all")
    assert data.layouts[".bin"].scale == 1
    np.testing.assert_allclose(data[0].intensities[:, 0], np.minimum(points[:, 3], 1))
    assert "4.5% of the points above it are cut" in data.summary[0]
    given = Folder(root, "all", intensity_scale=400)
    np.testing.assert_allclose(given[0].intensities[:9], 0.5)
    assert "/ 400 (given)" in given.summary[0]


def test_scans_without_intensity_have_zeros_and_say_so(put: Put, root: Path) -> None:
    put("a.ply", ply(street()[:, :3].copy(), names=("x", "y", "z")))
    put("b.bin", street()[:, :3].tobytes())
    data = Folder(root, "all")
    assert all(not scan.intensities.any() and scan.intensities.shape == (90, 1) for scan in data)
    assert all("no intensity: zeros (cfg.inputs=[pos]" in line for line in data.summary)


def test_columns_may_be_given(put: Put, root: Path) -> None:
    points = street()
    strange = np.column_stack([points[:, 3], points[:, [2, 1, 0]], points[:, 0]]).astype("<f4")
    put("a.bin", strange.tobytes())
    put("b.pcd", pcd(strange, names="a b c d e"))
    columns = ["reflectivity", "Z", "y", "x", "other"]
    for scan in Folder(root, "all", columns=columns):
        np.testing.assert_array_equal(scan.pos, points[:, :3])
        np.testing.assert_array_equal(scan.intensities, points[:, 3:])
    with pytest.raises(ScanError, match=r"b.pcd: .*no column x, y, z among a, b, c, d, e.*cfg.data.columns"):
        Folder(root, "all")
    (root / "a.bin").unlink()
    with pytest.raises(ScanError, match="b.pcd: it has a, b, c, d, e, which are not 4"):
        Folder(root, "all", columns=["x", "y", "z", "i"])
    for wrong in (["x", "y"], ["x", "y", "z", "x"], []):
        with pytest.raises(DatasetError, match=r"cfg.data.columns=\[.*x, y and z must be among them"):
            Folder(root, "all", columns=wrong)


def test_the_sensor_is_where_the_file_or_the_setting_says(put: Put, root: Path) -> None:
    points = street()
    points[0, :3], points[1, :3] = 0, (1, 2, 3.001)
    put("a.pcd", pcd(points, origin="1 2 3"))
    put("b.bin", points.tobytes())
    with_file, without = Folder(root, "all", min_range=0.5)
    assert with_file.sensor.tolist() == [1, 2, 3] and without.sensor.tolist() == [0, 0, 0]
    # Nulls are left out wherever the sensor is, and what is near to it.
    np.testing.assert_array_equal(with_file.pos, points[2:, :3])
    np.testing.assert_array_equal(without.pos, points[1:, :3])
    for scan in Folder(root, "all", sensor_origin=[1, 2, 3], min_range=0.5):
        assert scan.sensor.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(scan.pos, points[2:, :3])
    for wrong in ([1, 2], [1, 2, np.nan]):
        with pytest.raises(DatasetError, match="cfg.data.sensor_origin=.*three numbers"):
            Folder(root, "all", sensor_origin=wrong)


@pytest.mark.parametrize("kind", [".pcd", ".ply", ".npy"])
def test_non_returns_of_organised_clouds_are_left_out(put: Put, root: Path, kind: str) -> None:
    points = street()
    points[[3, 40], :3] = np.nan
    points[7, 1] = np.inf
    put(f"a{kind}", WRITERS[kind](points))
    np.testing.assert_array_equal(Folder(root, "all")[0].pos, np.delete(points, [3, 7, 40], axis=0)[:, :3])
    points[:, 0] = np.nan
    put(f"a{kind}", WRITERS[kind](points))
    with pytest.raises(ScanError, match=f"a{kind}: no point in it"):
        Folder(root, "all")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 123456\n"
BAD = {
    "lfs.bin": (LFS, "Git LFS pointer"),
    "cut.bin": (street().tobytes()[:-7], "no whole number"),
    "zero.bin": (bytes(160), "all 10 points are"),
    "far.pcd": (pcd(street() * np.float32(1e5)), "beyond any lidar's"),
    "labels.bin": (np.arange(96, dtype="<u4").tobytes(), "largest coordinate is .* no scan in metres"),
    "nan.bin": (
        np.where(np.arange(360).reshape(90, 4) == 44, np.nan, street()).astype("<f4").tobytes(),
        "NaN",
    ),
    "cut.ply": (ply(street())[:-700], "cut short"),
    "empty.npy": (b"", "the file is empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_or_skipped(put: Put, root: Path, name: str) -> None:
    data, finding = BAD[name]
    for kind in WRITERS:
        for number in range(20):
            put(f"a{number:02d}{kind}", WRITERS[kind](street()))
    put(f"a07x{name}", data)
    where = Folder(root, "all").index_of(f"a07x{name}")
    with pytest.raises(ScanError, match=rf"a07x{name}: .*{finding}"):
        Folder(root, "all")[where]
    skipped = Folder(root, "all", on_bad_scan="skip")[where]
    assert skipped.skipped and re.search(finding, skipped.finding)


def test_a_kind_of_which_nothing_can_be_read(put: Put, root: Path) -> None:
    put("a.bin", LFS)
    with pytest.raises(ScanError, match="a.bin: this is a Git LFS pointer.*git lfs pull"):
        Folder(root, "all")
    with pytest.raises(DatasetError, match="no scan can be read. .bin: 1 files, none of 1 looked at.*LFS"):
        Folder(root, "all", on_bad_scan="skip")
    put("b.pcd", pcd(street()))
    data = Folder(root, "all", on_bad_scan="skip")
    assert "LFS pointer" in data[0].finding and not data[1].skipped
    put("a.bin", np.arange(96, dtype="<u4").tobytes())
    assert "its columns are not known" in Folder(root, "all", on_bad_scan="skip")[0].finding


@pytest.mark.parametrize(
    ("name", "count", "kind", "scale"),
    [("kitti3d", 7, ".bin", 1), ("once", 6, ".bin", 1), ("nuscenes/samples", 40, ".pcd.bin", 255)],
)
def test_real_scans(shared_data: Path, name: str, count: int, kind: str, scale: float) -> None:
    data = Folder(shared_data / name, "all")
    assert len(data) == count and data.layouts[kind].scale == scale
    for index in (0, count - 1):
        scan = data[index]
        raw = np.fromfile(shared_data / name / scan.name, "<f4").reshape(-1, 5 if kind == ".pcd.bin" else 4)
        raw = raw[np.linalg.norm(raw[:, :3].astype(np.float64), axis=1) >= 0.01]
        assert abs(len(scan.pos) - len(raw)) < 3
        assert 0 <= scan.intensities.min() <= scan.intensities.max() <= 1
        assert 0.01 < np.median(raw[:, 3]) / scale == pytest.approx(np.median(scan.intensities), abs=1e-3)


def test_real_oddities(shared_data: Path) -> None:
    with pytest.raises(ScanError, match="git_lfs_pointer.pcd.bin: this is a Git LFS pointer"):
        Folder(shared_data / "oddities", "all")
    data = Folder(shared_data / "oddities", "all", on_bad_scan="skip")
    found = {data.name(index): len(data[index].pos) for index in range(len(data))}
    assert found["mmdet3d_tests/semantickitti_50pts.bin"] == 50 and sorted(found.values()) == [0, 0, 50]

"""Real scans: every one is read whole, odd ones are refused for what they are. Skips where there are none."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.formats import (
    ScanError,
    read_kitti_points,
    read_nuscenes_points,
    read_semantic_labels,
)
from also_selfsup.data.kitti3d import KITTI3D
from also_selfsup.data.labels import SEMANTICKITTI
from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.once import ONCE
from also_selfsup.data.semantickitti import SemanticKITTI


@pytest.fixture(params=["nuscenes", "nuscenes_rangeimg"])
def nuscenes_root(request: pytest.FixtureRequest, shared_data: Path, tmp_path: Path) -> Path:
    """Real scans beside a copy of their tables, so that the cache is not written among the real files."""
    shutil.copytree(shared_data / request.param / "v1.0-trainval", tmp_path / "v1.0-trainval")
    for folder in ("samples", "lidarseg"):
        (tmp_path / folder).symlink_to(shared_data / request.param / folder)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_nuscenes_scan_is_read(nuscenes_root: Path, split: str) -> None:
    data = NuScenes(nuscenes_root, split, labels=True, min_range=0)
    cropped = NuScenes(nuscenes_root, split, labels=True)
    for index in range(len(data)):
        scan, near = data[index], cropped[index]
        assert 19_000 < len(scan.pos) < 35_000
        assert 0 <= scan.intensities.min() <= scan.intensities.max() <= 1
        assert scan.intensities.max() > 0.4
        # The data's description: 17-311 points of a complete scan lie within a centimetre.
        assert len(scan.pos) - len(near.pos) <= 311
        assert np.linalg.norm(near.pos.astype(np.float64), axis=1).min() > 0.0099
        assert scan.labels is not None
        assert len(scan.labels) == len(scan.pos)
        assert scan.labels.max() <= 16


@pytest.mark.parametrize(("split", "count"), [("train", 15), ("val", 5)])
def test_every_semantickitti_scan_is_read(shared_data: Path, split: str, count: int) -> None:
    data = SemanticKITTI(shared_data / "semantickitti", split, labels=True)
    assert len(data) == count
    for index in range(count):
        scan = data[index]
        assert 50_000 < len(scan.pos) < 125_000
        assert scan.intensities.max() < 1
        assert scan.labels is not None
        assert 0 < scan.labels.max() <= 19


@pytest.mark.parametrize(("split", "number"), [("train", "000000"), ("val", "000001")])
def test_kitti_3d_scans_are_read(shared_data: Path, split: str, number: str) -> None:
    data = KITTI3D(shared_data / "kitti3d", split)
    assert [data.name(index) for index in range(len(data))] == [f"training/velodyne/{number}.bin"]
    scan = data[0]
    assert 115_000 < len(scan.pos) < 121_000
    # Whole turns of a sensor that sees 80 m, in steps of a hundredth of the largest intensity.
    assert scan.pos[:, 0].min() < -60 < 60 < scan.pos[:, 0].max() < 81
    assert 1.0 < np.linalg.norm(scan.pos, axis=1).min() < 2.5
    assert scan.intensities.min() == 0 and 0.98 < scan.intensities.max() < 1
    assert np.allclose(scan.intensities * 100, np.round(scan.intensities * 100), atol=1e-4)


@pytest.mark.parametrize(("split", "count"), [("train", 4), ("raw_small", 4), ("val", 2)])
def test_once_scans_are_read(shared_data: Path, split: str, count: int) -> None:
    clipped = ONCE(shared_data / "once", split)
    published = ONCE(shared_data / "once", split, intensity_scale=255)
    assert len(clipped) == len(published) == count
    for index in range(count):
        scan = clipped[index]
        assert 61_000 < len(scan.pos) < 67_000
        assert 100 < np.abs(scan.pos).max() < 200.5
        assert scan.intensities.min() == 0 and scan.intensities.max() == 1
        # The data's description: 3 to 7 % above 1, median 0.03 to 0.05, 0.0002 after the division by 255.
        assert 0.025 < (scan.intensities == 1).mean() < 0.075
        assert 0.02 < np.median(scan.intensities) < 0.06
        assert np.median(published[index].intensities) < 0.0003
        assert 0.5 < published[index].intensities.max() < 1


def test_odd_files_are_refused_for_what_they_are(shared_data: Path) -> None:
    with pytest.raises(ScanError, match="Git LFS pointer.*git lfs pull"):
        read_nuscenes_points(shared_data / "oddities" / "git_lfs_pointer.pcd.bin")
    with pytest.raises(ScanError, match="all 15750 points are"):
        read_nuscenes_points(shared_data / "oddities" / "nus_format_all_zero.pcd.bin")


def test_a_tiny_scan_is_a_scan(shared_data: Path) -> None:
    folder = shared_data / "oddities" / "mmdet3d_tests"
    pos, _ = read_kitti_points(folder / "semantickitti_50pts.bin")
    raw = read_semantic_labels(folder / "semantickitti_50pts.label", count=50)
    assert pos.shape == (50, 3)
    assert SEMANTICKITTI.training(raw).shape == (50,)

"""The written SemanticKITTI tree: files, ids, poses, and our loader on it."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from also_selfsup.data import SemanticKITTI
from also_selfsup.data.simulator.job import SceneJob
from also_selfsup.data.simulator.semantickitti_writer import SemanticKittiWriter, labels
from also_selfsup.data.simulator.sensors import SENSORS

MOVING = {252, 253, 254, 255, 256, 257, 258, 259}
KNOWN = MOVING | {
    *(0, 1, 10, 11, 13, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 52, 60, 70, 71, 72, 80, 81, 99),
}  # fmt: skip


def read(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    points = np.fromfile(folder / "velodyne" / f"{number:06d}.bin", np.float32).reshape(-1, 4)
    return points, np.fromfile(folder / "labels" / f"{number:06d}.label", np.uint32)


def test_every_scan_has_its_labels_and_lines(kitti_root: Path) -> None:
    sequences = kitti_root / "dataset" / "sequences"
    assert sorted(folder.name for folder in sequences.iterdir()) == ["00", "08"]
    for name, frames in (("00", 2), ("08", 4)):
        folder = sequences / name
        for kind in ("poses", "times"):
            assert len((folder / f"{kind}.txt").read_text().splitlines()) == frames
        assert len(list((folder / "velodyne").iterdir())) == frames
        for number in range(frames):
            points, label = read(folder, number)
            assert len(points) == len(label) > 4000
            assert set((label & 0xFFFF).tolist()) <= KNOWN
            assert np.isfinite(points).all()
            assert np.linalg.norm(points[:, :3], axis=1).max() < 80.5
            assert 0 <= points[:, 3].min() and points[:, 3].max() <= np.float32(0.99)
            np.testing.assert_allclose(points[:, 3] * 100, np.round(points[:, 3] * 100), atol=1e-3)


def test_moving_things_have_moving_classes_and_numbers() -> None:
    writer = SemanticKittiWriter()
    job = SceneJob(
        index=0, name="00", frames=2, interval=0.1, seed=3, version="",
        sensor=SENSORS["hdl64e"].with_columns(200),
    )  # fmt: skip
    scene = job.scene()
    for frame in job.scans(scene):
        packed = labels(frame)
        ids, instances = packed & 0xFFFF, packed >> 16
        np.testing.assert_array_equal(np.isin(ids, list(MOVING)), frame.moving & (frame.object >= 0))
        vehicles = np.isin(ids, [10, 13, 18, *MOVING])
        assert vehicles.any() and (instances[vehicles] == frame.object[vehicles] + 1).all()
        assert (instances[np.isin(ids, [40, 48, 50, 70, 72])] == 0).all()
    assert writer.names("val", 3, version="") == ["08", "08", "08"]


def test_poses_and_calibration_bring_frames_together(kitti_root: Path) -> None:
    """By the benchmark's rule, pose of the left camera and Tr, two frames lie on one another."""
    folder = kitti_root / "dataset" / "sequences" / "00"
    lines = dict(line.split(": ") for line in (folder / "calib.txt").read_text().splitlines())
    to_camera, poses = np.eye(4), [np.eye(4), np.eye(4)]
    to_camera[:3] = np.array(lines["Tr"].split(), float).reshape(3, 4)
    for pose, line in zip(poses, (folder / "poses.txt").read_text().splitlines(), strict=True):
        pose[:3] = np.array(line.split(), float).reshape(3, 4)
    np.testing.assert_allclose(poses[0], np.eye(4), atol=1e-6)
    assert 0.2 < poses[1][2, 3] < 1.1
    grounds = []
    for number, pose in enumerate(poses):
        points, label = read(folder, number)
        motion = np.linalg.inv(to_camera) @ pose @ to_camera
        chosen = points[np.isin(label & 0xFFFF, [40, 48, 50, 71]), :3]
        grounds.append(chosen @ motion[:3, :3].T + motion[:3, 3])
    apart, _ = cKDTree(grounds[0]).query(grounds[1])
    assert np.median(apart) < 0.25
    assert np.linalg.norm(motion[:3, 3]) == pytest.approx(np.linalg.norm(poses[1][:3, 3]), rel=1e-5)


def test_our_loader_reads_it(kitti_root: Path) -> None:
    val = SemanticKITTI(kitti_root, "val", labels=True)
    assert len(val) == 4
    scan = val[3]
    assert scan.labels is not None and {9, 11} <= set(scan.labels.tolist())
    assert scan.labels.max() <= 19

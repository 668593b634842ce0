"""Points of neighbouring frames: where the poses say, with rays from their own sensor."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from also_selfsup.data.base import DatasetError
from also_selfsup.data.scan import collate
from also_selfsup.data.semantickitti import SemanticKITTI
from also_selfsup.data.simulator import simulate

# KITTI's camera: z to the front, x to the right; and a mount of its own.
MOUNT = np.block(
    [
        [np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.array([[0.1], [-0.2], [-0.3]])],
        [np.array([0, 0, 0, 1])],
    ]
)


def lidar_pose(frame: int) -> np.ndarray:
    """Motion (4, 4) from the lidar's frame to the world: a bend uphill."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("zyx", [0.2 * frame, -0.03 * frame, 0.01 * frame]).as_matrix()
    pose[:3, 3] = 1.5 * frame, 0.2 * frame**2, 0.1 * frame
    return pose


def moved(points: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return np.array([(motion @ [*point, 1])[:3] for point in points])


@pytest.fixture
def world() -> np.ndarray:
    """Fifty resting points."""
    return np.random.default_rng(0).uniform(-30, 30, (50, 3))


@pytest.fixture
def sequence(tmp_path: Path, world: np.ndarray) -> Path:
    """Five frames of the same points in sequence 08 from different poses; intensities tell the frame."""
    folder = tmp_path / "sequences" / "08"
    (folder / "velodyne").mkdir(parents=True)
    for frame in range(5):
        seen = moved(world, np.linalg.inv(lidar_pose(frame)))
        points = np.column_stack([seen, np.full(len(seen), frame / 10)])
        points.astype("<f4").tofile(folder / "velodyne" / f"{frame:06d}.bin")
    cameras = [MOUNT @ lidar_pose(frame) @ np.linalg.inv(MOUNT) for frame in range(5)]
    np.savetxt(folder / "poses.txt", [camera[:3].ravel() for camera in cameras])
    words = " ".join(map(str, MOUNT[:3].ravel()))
    (folder / "calib.txt").write_text(f"P0: 1 0 0 0 0 1 0 0 0 0 1 0\nTr: {words}\n")
    return tmp_path


def frames_of(scan_intensities: np.ndarray) -> np.ndarray:
    return np.round(scan_intensities[:, 0] * 10).astype(int)


@pytest.mark.parametrize(
    ("index", "count", "others"), [(0, 1, [1]), (2, 1, [1, 3]), (2, 9, [0, 1, 3, 4]), (4, 2, [2, 3])]
)
def test_resting_points_stay_where_they_are(
    sequence: Path, index: int, count: int, others: list[int]
) -> None:
    scan = SemanticKITTI(sequence, "val", query_frames=count)[index]
    assert scan.others is not None
    frames = frames_of(scan.others.intensities)
    assert sorted(set(frames.tolist())) == others
    for frame in others:
        rows = frames == frame
        assert np.allclose(scan.others.pos[rows], scan.pos, atol=2e-5)
        sensor = moved(np.zeros((1, 3)), np.linalg.inv(lidar_pose(index)) @ lidar_pose(frame))
        assert np.allclose(scan.others.origins[rows], np.repeat(sensor, 50, axis=0), atol=2e-5)


def test_off_by_default_and_with_labels(sequence: Path) -> None:
    assert SemanticKITTI(sequence, "val")[2].others is None
    assert SemanticKITTI(sequence, "val", labels=True, query_frames=2).query_frames == 0
    with pytest.raises(ValueError, match="query_frames is -1"):
        SemanticKITTI(sequence, "val", query_frames=-1)


def test_neighbours_are_those_on_disk_whatever_is_skipped(sequence: Path) -> None:
    (sequence / "sequences/08/velodyne/000001.bin").unlink()
    data = SemanticKITTI(sequence, "val", query_frames=1, skip_ratio=2)
    assert [data.name(index)[-10:] for index in range(len(data))] == ["000000.bin", "000003.bin"]
    alone, between = data[0].others, data[1].others
    assert alone is not None and len(alone.pos) == 0
    assert between is not None and set(frames_of(between.intensities).tolist()) == {2, 4}


def test_their_near_points_go_by_their_own_sensor(sequence: Path) -> None:
    path = sequence / "sequences/08/velodyne/000003.bin"
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    points[:7, :3] = 0.001
    points.tofile(path)
    others = SemanticKITTI(sequence, "val", query_frames=1)[2].others
    assert others is not None and np.bincount(frames_of(others.intensities)).tolist() == [0, 50, 0, 43]


def test_a_batch_holds_them_by_scan(sequence: Path) -> None:
    data = SemanticKITTI(sequence, "val", query_frames=1)
    scans = [data[index] for index in (0, 2, 4)]
    batch = collate(scans)
    assert batch["query_batch"].tolist() == [0] * 50 + [1] * 100 + [2] * 50
    for name in ("pos", "intensities", "origins"):
        truth = np.concatenate([getattr(scan.others, name) for scan in scans])
        assert np.array_equal(batch[f"query_{name}"].numpy(), truth)
    assert not {"query_pos", "query_batch"} & set(collate([SemanticKITTI(sequence, "val")[0]]))


def test_bad_or_absent_poses_are_named(sequence: Path) -> None:
    folder = sequence / "sequences" / "08"
    lines = (folder / "poses.txt").read_text().splitlines()
    for text, finding in (
        ("\n".join(lines[:2]), "2 poses, none of frame 3.*query_frames=0"),
        ("1 2 3\n", "no table of twelve numbers"),
        ("one\n", "no table of twelve numbers"),
        (" ".join(["7"] * 12), "no rotations and translations"),
    ):
        (folder / "poses.txt").write_text(text)
        with pytest.raises(DatasetError, match=f"poses.txt: .*{finding}"):
            SemanticKITTI(sequence, "val", query_frames=1)[2]
    (folder / "poses.txt").write_text("\n".join(lines))
    (folder / "calib.txt").write_text("P0: 1\n")
    with pytest.raises(DatasetError, match="calib.txt: 0 lines begin with Tr:"):
        SemanticKITTI(sequence, "val", query_frames=1)[2]
    (folder / "calib.txt").unlink()
    with pytest.raises(DatasetError, match=r"calib.txt: it cannot be read.*query_frames=0"):
        SemanticKITTI(sequence, "val", query_frames=1)[2]


def middle_gap(pos: np.ndarray, others: np.ndarray) -> float:
    """Metres from other points to the nearest of `pos`, the middle value."""
    return float(np.median(cKDTree(pos).query(others)[0]))


def test_real_frames_fit_better_where_the_poses_put_them(shared_data: Path) -> None:
    root = shared_data / "semantickitti"
    scan, ahead = SemanticKITTI(root, "train", query_frames=2)[4], SemanticKITTI(root, "train")[6]
    assert scan.others is not None
    from_ahead = scan.others.origins[:, 0] > 1.5  # the car drives 0.86 m a frame, to the front
    assert from_ahead.sum() == len(ahead.pos)
    upright = (np.abs(ahead.pos[:, 2]) < 1) & (np.linalg.norm(ahead.pos, axis=1) < 25)
    moved_there = scan.others.pos[from_ahead][upright]
    assert middle_gap(scan.pos, moved_there) < 0.6 * middle_gap(scan.pos, ahead.pos[upright])


def test_simulated_walls_and_poles_fit_too(tmp_path: Path) -> None:
    root = simulate(
        tmp_path / "s", layout="semantickitti", scenes={"val": 1}, frames_per_scene=4, azimuth_steps=256
    )
    scan = SemanticKITTI(root, "val", query_frames=3)[0]
    last = SemanticKITTI(root, "val", labels=True)[3]
    assert scan.others is not None and last.labels is not None
    assert np.linalg.norm(scan.others.origins[-1]) > 0.5
    resting = np.isin(last.labels, [13, 16, 18])  # building, trunk, pole
    moved_there = scan.others.pos[-len(last.pos) :][resting]
    assert middle_gap(scan.pos, moved_there) < 0.7 * middle_gap(scan.pos, last.pos[resting])

"""The written KITTI 3D and KITTI-360 trees: frames of the official lists, boxes that hold their points."""

from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.simulator import simulate
from also_selfsup.data.simulator.kitti_writer import KITTI3D_TRAIN, KITTI3D_VAL, Kitti3dWriter, Kitti360Writer

SMALL = {"frames_per_scene": 2, "azimuth_steps": 300, "seed": 5}


def read(path: Path) -> np.ndarray:
    return np.fromfile(path, "<f4").reshape(-1, 4)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two train scenes and a val scene of two frames in KITTI 3D's layout."""
    root = tmp_path_factory.mktemp("kitti3d")
    return simulate(root, layout="kitti3d", scenes={"train": 2, "val": 1}, **SMALL) / "training"


def test_frames_follow_the_lists(training: Path) -> None:
    for folder, ending in (("velodyne", "bin"), ("calib", "txt"), ("label_2", "txt")):
        names = sorted(path.name for path in (training / folder).iterdir())
        assert names == [f"00000{number}.{ending}" for number in (0, 1, 2, 3, 7, 9)]
    for path in (training / "velodyne").iterdir():
        points = read(path)
        assert len(points) > 8000 and np.isfinite(points).all()
        assert np.linalg.norm(points[:, :3], axis=1).max() < 80.5
        assert 0 <= points[:, 3].min() <= points[:, 3].max() <= np.float32(0.99)
    assert not np.array_equal(
        read(training / "velodyne" / "000000.bin"), read(training / "velodyne" / "000007.bin")
    )


def test_the_lists_begin_as_the_official_ones(shared_data: Path) -> None:
    for name, ours in (("train", KITTI3D_TRAIN), ("val", KITTI3D_VAL)):
        official = [
            int(word) for word in (shared_data / "also_lists" / f"kitti3d_{name}.txt").read_text().split()
        ]
        assert list(ours) == official[: len(ours)]
    lines = (shared_data / "also_lists" / "kitti_360_train_windows.txt").read_text().splitlines()
    windows = [line.split() for line in lines if not line.startswith("#")]
    first = {drive for drive, *_ in windows[:1]}
    train = {k for drive, low, high in windows if drive in first for k in range(int(low), int(high) + 1)}
    paths = (shared_data / "also_lists" / "kitti_360_val_velodynes.txt").read_text().split()
    val = {int(Path(path).stem) for path in paths if path.split("/")[1] in first}
    assert set(Kitti360Writer.frames["train"]) <= train - val
    assert set(Kitti360Writer.frames["val"]) <= val - train


def test_boxes_hold_points_and_lie_in_the_image(training: Path) -> None:
    """By the data set's rules: a box stands on its place, length along x at turn 0, y down."""
    boxes = 0
    for path in sorted((training / "label_2").iterdir()):
        rows = dict(
            line.split(": ") for line in (training / "calib" / path.name).read_text().strip().split("\n")
        )
        motion = np.array(rows["Tr_velo_to_cam"].split(), float).reshape(3, 4)
        projection = np.array(rows["P2"].split(), float).reshape(3, 4)
        points = read(training / "velodyne" / f"{path.stem}.bin")[:, :3] @ motion[:, :3].T + motion[:, 3]
        for line in path.read_text().splitlines():
            kind, *words = line.split()
            left, top, right, bottom, height, width, length, x, y, z, turn = map(float, words[3:])
            cos, sin = np.cos(turn), np.sin(turn)
            across = points - (x, y, z)
            local = np.column_stack([
                cos * across[:, 0] - sin * across[:, 2],
                across[:, 1],
                sin * across[:, 0] + cos * across[:, 2],
            ])  # fmt: skip
            low = np.array([-length / 2, -height, -width / 2]) - 0.15
            high = np.array([length / 2, 0, width / 2]) + 0.15
            inside = ((local >= low) & (local <= high)).all(axis=1)
            assert inside.any(), line
            pixel = projection @ [x, y, z, 1]
            middle = pixel[:2] / pixel[2]
            assert left - 1 <= middle[0] <= right + 1 and top - 1 <= middle[1] <= bottom + 3
            alpha = float(words[2]) + np.arctan2(x, z) - turn
            assert np.cos(alpha) > 0.999 and kind in {"Car", "Truck", "Pedestrian", "Cyclist", "Misc"}
            boxes += 1
    assert boxes > 5


def test_kitti360_has_frames_of_its_first_drive(tmp_path: Path) -> None:
    root = simulate(tmp_path, layout="kitti360", scenes={"train": 2, "val": 1}, **SMALL)
    folder = root / "data_3d_raw" / "2013_05_28_drive_0000_sync" / "velodyne_points" / "data"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{number:010d}.bin" for number in (2, 3, 4, 5, 386, 387)]
    assert all(len(read(path)) > 8000 for path in folder.iterdir())


def test_a_split_has_room_for_its_frames_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train of KITTI 3D has room for 110 frames"):
        simulate(tmp_path, layout="kitti3d", scenes={"train": 1}, frames_per_scene=111, azimuth_steps=8)
    with pytest.raises(ValueError, match="split of KITTI-360 'test'"):
        Kitti360Writer().names("test", 1, version="")
    assert Kitti3dWriter().names("val", 2, version="") == ["val", "val"]

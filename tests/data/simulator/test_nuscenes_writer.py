"""The written nuScenes tree as nuscenes-devkit and our own loader see it."""

from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data import NuScenes as OurNuScenes
from also_selfsup.data.simulator.kinds import NUSCENES_CATEGORIES
from also_selfsup.data.simulator.nuscenes_writer import NuScenesWriter

devkit = pytest.importorskip("nuscenes.nuscenes")
geometry = pytest.importorskip("nuscenes.utils.geometry_utils")
quaternion = pytest.importorskip("pyquaternion").Quaternion
FRAMES, STEPS, RINGS = 3, 128, 32


@pytest.fixture(scope="module")
def opened(nuscenes_root: Path) -> "devkit.NuScenes":
    return devkit.NuScenes("v1.0-trainval", str(nuscenes_root), verbose=False)


def scan_of(opened: "devkit.NuScenes", sample: dict) -> tuple[np.ndarray, np.ndarray, dict]:
    data = opened.get("sample_data", sample["data"]["LIDAR_TOP"])
    points = np.fromfile(Path(opened.dataroot) / data["filename"], np.float32).reshape(-1, 5)
    labels = np.fromfile(Path(opened.dataroot) / opened.get("lidarseg", data["token"])["filename"], np.uint8)
    return points, labels, data


def test_the_devkit_opens_it_with_labels(opened: "devkit.NuScenes") -> None:
    assert len(opened.scene) == 4 and len(opened.sample) == 4 * FRAMES == len(opened.lidarseg)
    assert [opened.lidarseg_idx2name_mapping[i] for i in range(32)] == list(NUSCENES_CATEGORIES)
    for scene in opened.scene:
        token, chain = scene["first_sample_token"], []
        while token:
            chain.append(token)
            token = opened.get("sample", token)["next"]
        assert len(chain) == FRAMES == scene["nbr_samples"] and chain[-1] == scene["last_sample_token"]
        stamps = [opened.get("sample", token)["timestamp"] for token in chain]
        assert np.diff(stamps).tolist() == [500_000] * (FRAMES - 1)


def test_names_of_scenes_follow_the_official_splits(opened: "devkit.NuScenes") -> None:
    splits = pytest.importorskip("nuscenes.utils.splits")
    names = [scene["name"] for scene in opened.scene]
    assert names == ["scene-0001", "scene-0002", "scene-0008", "scene-0003"]
    assert set(names[:3]) <= set(splits.train) and names[3] in splits.val
    mini = NuScenesWriter().names("mini_train", 8, version="v1.0-mini")
    assert set(mini) == set(splits.mini_train)


def test_every_point_has_a_label_and_true_columns(opened: "devkit.NuScenes") -> None:
    for sample in opened.sample:
        points, labels, _ = scan_of(opened, sample)
        assert len(points) == len(labels) == STEPS * RINGS
        np.testing.assert_array_equal(points[:, 4], np.tile(np.arange(RINGS), STEPS))
        assert points[:, 3].min() >= 0 and points[:, 3].max() <= 255
        np.testing.assert_array_equal(points[:, 3], np.round(points[:, 3]))
        assert labels.max() < 32 and {0, 24, 31} <= set(labels.tolist())


def test_boxes_hold_the_points_that_bear_their_class(opened: "devkit.NuScenes") -> None:
    """The devkit's own boxes in the sensor frame and its own test of points in boxes."""
    index = {name: number for number, name in enumerate(NUSCENES_CATEGORIES)}
    inside = labelled = counted = 0
    for sample in opened.sample:
        points, labels, data = scan_of(opened, sample)
        _, boxes, _ = opened.get_sample_data(data["token"], box_vis_level=0)
        for box in boxes:
            row = opened.get("sample_annotation", box.token)
            box.wlh = box.wlh + 0.15
            within = geometry.points_in_box(box, points[:, :3].T)
            inside += int((within & (labels == index[box.name])).sum())
            labelled += row["num_lidar_pts"]
            counted += 1
    assert counted > 20 and labelled > 200
    # Tilted vehicles stick out of upright boxes on sloping roads, a little.
    assert inside == pytest.approx(labelled, rel=0.03)


def test_ground_joins_between_frames_in_the_global_frame(opened: "devkit.NuScenes") -> None:
    """Sensor to vehicle to world by the tables' quaternions: road points of two frames lie on one surface."""
    for scene in opened.scene:
        clouds = []
        first = opened.get("sample", scene["first_sample_token"])
        for sample in (first, opened.get("sample", first["next"])):
            points, labels, data = scan_of(opened, sample)
            cloud = points[labels == 24, :3]
            for table, key in (
                ("calibrated_sensor", "calibrated_sensor_token"),
                ("ego_pose", "ego_pose_token"),
            ):
                row = opened.get(table, data[key])
                cloud = cloud @ quaternion(row["rotation"]).rotation_matrix.T + np.array(row["translation"])
            clouds.append(cloud)
        one, two = clouds
        apart = np.linalg.norm(one[:, None, :2] - two[None, :, :2], axis=-1)
        pairs = np.argwhere(apart < 0.15)
        assert len(pairs) > 30
        assert np.median(np.abs(one[pairs[:, 0], 2] - two[pairs[:, 1], 2])) < 0.03
        assert np.abs(one[pairs[:, 0], 2]).max() < 3


def test_annotations_of_an_object_are_chained(opened: "devkit.NuScenes") -> None:
    longest = max(opened.instance, key=lambda row: row["nbr_annotations"])
    assert longest["nbr_annotations"] == FRAMES
    token, length = longest["first_annotation_token"], 0
    while token:
        row, length = opened.get("sample_annotation", token), length + 1
        assert row["category_name"].startswith(("vehicle", "human", "movable"))
        token = row["next"]
    assert length == FRAMES and row["token"] == longest["last_annotation_token"]


def test_our_loader_reads_the_splits(nuscenes_root: Path) -> None:
    lengths = {split: len(OurNuScenes(nuscenes_root, split)) for split in ("train", "verifying", "val")}
    assert lengths == {"train": 3 * FRAMES, "verifying": FRAMES, "val": FRAMES}
    scan = OurNuScenes(nuscenes_root, "val", labels=True)[0]
    assert scan.labels is not None and set(np.unique(scan.labels)) >= {0, 11, 13}
    assert 0 <= scan.intensities.min() and scan.intensities.max() <= 1

"""nuScenes against its official devkit, on tables written here and on real ones."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from also_selfsup.data.nuscenes import NuScenes, official_scenes

pytest.importorskip("nuscenes", reason="the devkit is the oracle; it wants numpy below 2")

from nuscenes.eval.lidarseg.validate_submission import validate_submission  # noqa: E402
from nuscenes.nuscenes import NuScenes as Devkit  # noqa: E402
from nuscenes.utils.color_map import get_colormap  # noqa: E402
from nuscenes.utils.data_classes import LidarPointCloud  # noqa: E402
from nuscenes.utils.splits import create_splits_scenes  # noqa: E402


def by_devkit(devkit: Devkit, scenes: frozenset[str]) -> list[tuple[str, str]]:
    """Scan and label file of each key frame: scenes as in their table, samples as they are chained."""
    found = []
    for scene in devkit.scene:
        token = scene["first_sample_token"] if scene["name"] in scenes else ""
        while token:
            sample = devkit.get("sample", token)
            lidar = sample["data"]["LIDAR_TOP"]
            labels = devkit.get("lidarseg", lidar)["filename"]
            found.append((devkit.get("sample_data", lidar)["filename"], labels))
            token = sample["next"]
    return found


def devkit_of(fake: Any) -> Devkit:
    """The devkit on tables of our own."""
    # Its colours are listed in the order of the class numbers.
    fake.tables["category"] = [
        {"token": name, "name": name, "index": number} for number, name in enumerate(get_colormap())
    ]
    fake.write()
    return Devkit(fake.version, str(fake.root), verbose=False)


def test_official_splits_are_the_devkits() -> None:
    for split, scenes in create_splits_scenes().items():
        if split in NuScenes.splits:
            assert official_scenes()[split] == set(scenes)
    assert {"train", "val", "test", "mini_train", "mini_val"} <= set(official_scenes())


@pytest.mark.parametrize("split", ["train", "val", "trainval", "parametrizing", "verifying"])
def test_frames_of_written_tables_are_the_devkits(fake_nuscenes: Any, split: str) -> None:
    devkit = devkit_of(fake_nuscenes)
    data = NuScenes(fake_nuscenes.root, split, labels=True)
    files = [(data.name(index), data.label_file(index)) for index in range(len(data))]
    assert files == by_devkit(devkit, official_scenes()[split])
    assert files


def test_points_are_the_devkits(fake_nuscenes: Any) -> None:
    scan = NuScenes(fake_nuscenes.root, "val")[0]
    points = LidarPointCloud.from_file(str(fake_nuscenes.root / scan.name)).points
    assert np.array_equal(scan.pos, points[:3].T)
    assert np.allclose(scan.intensities[:, 0] * 255, points[3])


def test_the_devkit_accepts_our_submission(make_nuscenes: Callable[..., Any], tmp_path: Path) -> None:
    fake = make_nuscenes(("scene-0916", "scene-0061", "scene-0103"), version="v1.0-mini")
    devkit, folder = devkit_of(fake), tmp_path / "submission"
    data = NuScenes(fake.root, "mini_val", min_range=0)
    for index in range(len(data)):
        predicted = np.random.default_rng(index).integers(1, 17, len(data[index].pos))
        data.write_submission(index, predicted, directory=folder)
    validate_submission(devkit, str(folder), "mini_val")
    (folder / data.submission_path(1)).unlink()
    with pytest.raises(AssertionError, match="does not exist"):
        validate_submission(devkit, str(folder), "mini_val")


@pytest.mark.parametrize(
    ("version", "splits"),
    [
        ("v1.0-trainval", {"train": 30, "val": 10, "parametrizing": 20, "verifying": 10, "trainval": 40}),
        ("v1.0-mini", {"mini_train": 20, "mini_val": 10}),
    ],
)
def test_frames_of_real_tables_are_the_devkits(
    shared_data: Path, tmp_path: Path, version: str, splits: dict[str, int]
) -> None:
    root = tmp_path / "nuscenes"
    root.mkdir()
    # The cache goes beside the tables: those are copied, the scans are only pointed at.
    shutil.copytree(shared_data / "nuscenes" / version, root / version)
    for folder in ("samples", "lidarseg"):
        (root / folder).symlink_to(shared_data / "nuscenes" / folder)
    devkit = Devkit(version, str(root), verbose=False)
    for split, count in splits.items():
        data = NuScenes(root, split, labels=True)
        files = [(data.name(index), data.label_file(index)) for index in range(len(data))]
        assert files == by_devkit(devkit, official_scenes()[split])
        assert len(files) == count

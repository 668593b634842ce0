"""nuScenes: splits, label fractions, versions and submissions, on tables and files written in its format."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.formats import ScanError, read_uint8_labels
from also_selfsup.data.nuscenes import NuScenes, official_scenes, scene_fraction

Fake = Any


def scenes_of(data: NuScenes) -> list[str]:
    """Scenes of the frames, from their file names."""
    return [Path(data.name(index)).name.split("__")[0] for index in range(len(data))]


def test_verifying_and_parametrizing_share_the_official_training_scenes() -> None:
    splits = official_scenes()
    assert {name: len(scenes) for name, scenes in splits.items()} == {
        **{"train": 700, "val": 150, "test": 150, "trainval": 850, "mini_train": 8, "mini_val": 2},
        **{"verifying": 100, "parametrizing": 600},
    }
    assert splits["verifying"] | splits["parametrizing"] == splits["train"]
    assert {"scene-0008", "scene-0395", "scene-1107"} <= splits["verifying"]
    assert set(splits) == set(NuScenes.splits)


def test_every_nth_scene_makes_a_fraction() -> None:
    scenes = [f"scene-{number}" for number in range(700)]
    assert scene_fraction(scenes, 1) == scenes
    assert scene_fraction(scenes, 100) == [f"scene-{number}" for number in range(99, 700, 100)]
    assert scene_fraction(scenes, 1000) == []
    assert scene_fraction([*scenes, "scene-0392"], 1000) == ["scene-0392"]


@pytest.mark.parametrize(
    ("split", "scenes"),
    [
        ("train", ["scene-0001", "scene-0008"]),
        ("val", ["scene-0003"]),
        ("trainval", ["scene-0003", "scene-0001", "scene-0008"]),
        ("parametrizing", ["scene-0001"]),
        ("verifying", ["scene-0008"]),
    ],
)
def test_frames_come_in_the_order_of_the_scene_table(
    fake_nuscenes: Fake, split: str, scenes: list[str]
) -> None:
    data = NuScenes(fake_nuscenes.root, split)
    assert scenes_of(data) == [scene for scene in scenes for _ in range(3)]


def test_fractions_count_in_the_order_of_the_scene_table(make_nuscenes: Callable[..., Fake]) -> None:
    scenes = ("scene-0019", "scene-0001", "scene-0392", "scene-0003", "scene-0002", "scene-0004")
    root = make_nuscenes(scenes).root
    assert scenes_of(NuScenes(root, "train", skip_ratio=2)) == ["scene-0001", "scene-0002"]
    assert scenes_of(NuScenes(root, "train", skip_ratio=1000)) == ["scene-0392"]
    with pytest.raises(DatasetError, match="skip_ratio=2 leaves none of the 1 scenes of val.*up to 1"):
        NuScenes(root, "val", skip_ratio=2)


def test_points_and_labels_are_those_of_the_files(fake_nuscenes: Fake) -> None:
    data = NuScenes(fake_nuscenes.root, "val", labels=True)
    scan = data[1]
    points = np.fromfile(fake_nuscenes.root / scan.name, "<f4").reshape(-1, 5)
    raw = np.fromfile(fake_nuscenes.root / data.label_file(1), np.uint8)
    assert np.array_equal(scan.pos, points[:, :3])
    assert np.allclose(scan.intensities[:, 0] * 255, points[:, 3])
    assert scan.labels is not None
    assert np.array_equal(scan.labels == 4, raw == 17)
    assert np.array_equal(scan.labels == 7, np.isin(raw, [2, 3, 4, 6]))
    assert np.array_equal(scan.labels == 0, np.isin(raw, [0, 1, 5, 7, 8, 10, 11, 13, 19, 20, 29, 31]))


def test_no_label_file_or_table_is_needed_without_labels(fake_nuscenes: Fake) -> None:
    for path in (fake_nuscenes.root / "lidarseg").rglob("*.bin"):
        path.unlink()
    fake_nuscenes.table("lidarseg").write_text("no table")
    data = NuScenes(fake_nuscenes.root, "trainval")
    assert all(data[index].labels is None for index in range(9))


def test_labels_need_their_table(fake_nuscenes: Fake) -> None:
    fake_nuscenes.tables["lidarseg"].pop()
    fake_nuscenes.write()
    with pytest.raises(DatasetError, match="lidarseg.json: it lacks the scan"):
        NuScenes(fake_nuscenes.root, "trainval", labels=True)
    fake_nuscenes.table("lidarseg").unlink()
    with pytest.raises(DatasetError, match="labels were asked for.*nuScenes-lidarseg.*test scenes"):
        NuScenes(fake_nuscenes.root, "val", labels=True)


def test_scans_that_tables_name_may_be_absent(fake_nuscenes: Fake) -> None:
    data = NuScenes(fake_nuscenes.root, "val")
    (fake_nuscenes.root / data.name(0)).unlink()
    with pytest.raises(ScanError, match="samples/LIDAR_TOP/scene-0003.*there is no such file"):
        data[0]
    skipping = NuScenes(fake_nuscenes.root, "val", on_bad_scan="skip")
    assert [skipping[index].skipped for index in range(3)] == [True, False, False]


def test_versions_go_with_splits(make_nuscenes: Callable[..., Fake]) -> None:
    root = make_nuscenes(("scene-0003", "scene-0001")).root
    make_nuscenes(("scene-0103", "scene-0061"), version="v1.0-mini")
    make_nuscenes(("scene-0077",), version="v1.0-test")
    assert scenes_of(NuScenes(root, "mini_train")) == ["scene-0061"]
    assert scenes_of(NuScenes(root, "mini_val")) == ["scene-0103"]
    assert scenes_of(NuScenes(root, "test")) == ["scene-0077"]
    assert scenes_of(NuScenes(root, "train")) == ["scene-0001"]
    assert scenes_of(NuScenes(root, "train", version="v1.0-mini")) == ["scene-0061"]


def test_the_only_version_there_is_taken_with_a_warning(
    make_nuscenes: Callable[..., Fake], caplog: pytest.LogCaptureFixture
) -> None:
    root = make_nuscenes(("scene-0061",), version="v1.0-mini").root
    with caplog.at_level(logging.WARNING):
        assert NuScenes(root, "train").version == "v1.0-mini"
    assert "has no v1.0-trainval: taking the scenes of v1.0-mini" in caplog.text
    with pytest.raises(DatasetError, match="v1.0-mini has no scene of the split val among its 1"):
        NuScenes(root, "val")


def test_missing_tables_are_named_with_the_versions_there(tmp_path: Path, fake_nuscenes: Fake) -> None:
    with pytest.raises(DatasetError, match="v1.0-next: there are no tables.*Versions there: v1.0-trainval"):
        NuScenes(fake_nuscenes.root, "train", version="v1.0-next")
    with pytest.raises(DatasetError, match="Versions there: none.*nuscenes.org.*dataset_root"):
        NuScenes(tmp_path, "train")


def test_submissions_read_back_as_the_labels_predicted(fake_nuscenes: Fake, tmp_path: Path) -> None:
    data = NuScenes(fake_nuscenes.root, "val", min_range=0)
    predicted = np.random.default_rng(0).integers(1, 17, len(data[1].pos))
    path = data.write_submission(1, predicted, directory=tmp_path / "submission")
    token = bytes(data.frames.tokens[1]).decode()
    assert path == tmp_path / "submission" / "lidarseg" / "val" / f"{token}_lidarseg.bin"
    assert np.array_equal(read_uint8_labels(path, count=len(predicted)), predicted)


def test_submissions_hold_no_ignored_class(fake_nuscenes: Fake, tmp_path: Path) -> None:
    data = NuScenes(fake_nuscenes.root, "val", min_range=0)
    with pytest.raises(ValueError, match="takes no class 0"):
        data.write_submission(0, np.zeros(len(data[0].pos), np.int64), directory=tmp_path)

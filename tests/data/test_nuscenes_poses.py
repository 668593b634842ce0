"""Key frames beside a nuScenes scan: moved by the tables' poses, within the scene."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from also_selfsup.data import nuscenes_poses
from also_selfsup.data.base import DatasetError
from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.simulator import simulate


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of three key frames."""
    return simulate(
        tmp_path_factory.mktemp("street"), scenes={"val": 2}, frames_per_scene=3, azimuth_steps=64, seed=1
    )


def table(root: Path, name: str) -> dict[str, dict[str, Any]]:
    return {row["token"]: row for row in json.loads((root / "v1.0-trainval" / f"{name}.json").read_text())}


def to_world(root: Path, token: str, points: np.ndarray) -> np.ndarray:
    """A second way: scipy's rotations, sensor to vehicle, then vehicle to world."""
    row = table(root, "sample_data")[token]
    for name, key in (("calibrated_sensor", "calibrated_sensor_token"), ("ego_pose", "ego_pose_token")):
        place = table(root, name)[row[key]]
        w, x, y, z = place["rotation"]
        points = Rotation.from_quat([x, y, z, w]).apply(points) + place["translation"]
    return points


def test_their_points_have_the_same_place_in_the_world(street: Path) -> None:
    data, plain = NuScenes(street, "val", query_frames=1), NuScenes(street, "val")
    # Frames 0-2 are of one scene, 3-5 of the other.
    for index, others in enumerate([[1], [0, 2], [1], [4], [3, 5], [4]]):
        found = data[index].others
        assert found is not None and plain[index].others is None
        token = data.frames.tokens[index].decode()
        start = 0
        for other in others:
            scan, name = plain[other], data.frames.tokens[other].decode()
            rows = slice(start, start + len(scan.pos))
            start = rows.stop
            truth = to_world(street, name, scan.pos.astype(np.float64))
            assert np.allclose(to_world(street, token, found.pos[rows].astype(np.float64)), truth, atol=1e-4)
            sensor = to_world(street, token, found.origins[rows].astype(np.float64))
            assert np.allclose(sensor, to_world(street, name, np.zeros((1, 3))), atol=1e-4)
            assert np.array_equal(found.intensities[rows], scan.intensities)
        assert start == len(found.pos)


def test_large_and_odd_tables_are_read_alike(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = street / "v1.0-trainval" / "ego_pose.json"
    rows = json.loads(path.read_text())
    for chunk in (37, 500, 1 << 20):
        monkeypatch.setattr(nuscenes_poses, "CHUNK", chunk)
        assert list(nuscenes_poses._all_rows(path)) == rows
    odd = street / "odd.json"
    for content in ([{"token": "a", "nested": {"b": [1]}}, {"token": "}"}, {"token": "c"}], []):
        for chunk in (3, 1 << 20):
            monkeypatch.setattr(nuscenes_poses, "CHUNK", chunk)
            odd.write_text(json.dumps(content))
            assert list(nuscenes_poses._all_rows(odd)) == content


def test_a_table_without_a_pose_is_named(street: Path, tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(street / "samples")
    (tmp_path / "v1.0-trainval").mkdir()
    for file in (street / "v1.0-trainval").iterdir():
        rows = json.loads(file.read_text())
        (tmp_path / "v1.0-trainval" / file.name).write_text(
            json.dumps(rows[1:] if file.stem == "ego_pose" else rows)
        )
    assert NuScenes(tmp_path, "val")[0].others is None
    with pytest.raises(DatasetError, match="sample_data.json: with ego_pose and .* no pose of every frame"):
        NuScenes(tmp_path, "val", query_frames=1)
    (tmp_path / "v1.0-trainval" / "ego_pose.json").unlink()
    with pytest.raises(DatasetError, match=r"^\S*ego_pose.json: it cannot be read"):
        NuScenes(tmp_path, "val", query_frames=1)

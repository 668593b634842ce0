"""Small data sets in their true formats, written where a test asks for them; their points are random."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Row = dict[str, Any]

# Each sample has a key frame of every channel, followed by a sweep.
CHANNELS = {
    "LIDAR_TOP": ("lidar", "pcd.bin"),
    "CAM_FRONT": ("camera", "jpg"),
    "RADAR_FRONT": ("radar", "pcd"),
}
TABLES = (
    *("category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose"),
    *("log", "scene", "sample", "sample_data", "sample_annotation", "map", "lidarseg"),
)


class FakeNuScenes:
    """Tables, lidar key frames and labels in a folder; rows of `sample_data` end up in no order."""

    def __init__(
        self, root: Path, *, version: str = "v1.0-trainval", scenes: tuple[str, ...], frames: int = 3
    ) -> None:
        self.root, self.version = root, version
        self.random, self.numbers = random.Random(version), np.random.default_rng(0)
        self.tables: dict[str, list[Row]] = {name: [] for name in TABLES}
        self.tables["sensor"] = [
            {"token": self.token(), "channel": channel, "modality": modality}
            for channel, (modality, _) in CHANNELS.items()
        ]
        self.tables["log"] = [{"token": "log", "location": "nowhere"}]
        self.tables["map"] = [{"token": "map", "log_tokens": ["log"], "filename": ""}]
        for name in scenes:
            self.add_scene(name, frames=frames)
        self.random.shuffle(self.tables["sample_data"])
        self.write()

    def token(self) -> str:
        return f"{self.random.getrandbits(128):032x}"

    def add_scene(self, name: str, *, frames: int) -> None:
        scene = {"token": self.token(), "name": name, "log_token": "log", "nbr_samples": frames}
        mounts = [
            {"token": self.token(), "sensor_token": sensor["token"]} for sensor in self.tables["sensor"]
        ]
        start = self.random.randrange(10**15)
        samples = [
            {"token": self.token(), "scene_token": scene["token"], "timestamp": start + 500_000 * frame}
            for frame in range(frames)
        ]
        for frame, sample in enumerate(samples):
            sample["prev"] = samples[frame - 1]["token"] if frame else ""
            sample["next"] = samples[frame + 1]["token"] if frame + 1 < frames else ""
            for mount, channel in zip(mounts, CHANNELS, strict=True):
                self.add_data(sample, mount, channel=channel, name=name, is_key_frame=True)
                self.add_data(sample, mount, channel=channel, name=name, is_key_frame=False)
        scene |= {"first_sample_token": samples[0]["token"], "last_sample_token": samples[-1]["token"]}
        self.tables["scene"].append(scene)
        self.tables["sample"] += samples
        self.tables["calibrated_sensor"] += mounts

    def add_data(self, sample: Row, mount: Row, *, channel: str, name: str, is_key_frame: bool) -> None:
        time = sample["timestamp"] + (0 if is_key_frame else 100_000)
        folder = "samples" if is_key_frame else "sweeps"
        ending = CHANNELS[channel][1]
        row = {
            "token": self.token(),
            "sample_token": sample["token"],
            "ego_pose_token": self.token(),
            "calibrated_sensor_token": mount["token"],
            "timestamp": time,
            "fileformat": ending[:3],
            "is_key_frame": is_key_frame,
            "filename": f"{folder}/{channel}/{name}__{channel}__{time}.{ending}",
        }
        self.tables["sample_data"].append(row)
        self.tables["ego_pose"].append({"token": row["ego_pose_token"], "timestamp": time})
        if channel == "LIDAR_TOP" and is_key_frame:
            self.write_scan(row)

    def write_scan(self, row: Row) -> None:
        count = int(self.numbers.integers(20, 40))
        points = self.numbers.uniform(-50, 50, (count, 5)).astype(np.float32)
        points[:, 3] = self.numbers.integers(0, 256, count)
        labels = f"lidarseg/{self.version}/{row['token']}_lidarseg.bin"
        for name, values in (
            (row["filename"], points),
            (labels, self.numbers.integers(0, 32, count).astype(np.uint8)),
        ):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            values.tofile(self.root / name)
        self.tables["lidarseg"].append(
            {"token": row["token"], "sample_data_token": row["token"], "filename": labels}
        )

    def write(self) -> None:
        """Write all tables as they stand now."""
        (self.root / self.version).mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            self.table(name).write_text(json.dumps(rows, indent=0))

    def table(self, name: str) -> Path:
        """The file of a table."""
        return self.root / self.version / f"{name}.json"


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake_nuscenes(tmp_path: Path, user_cache: Path) -> FakeNuScenes:
    """Three scenes of three frames: of `val`, of `parametrizing` and of `verifying`, in that order."""
    return FakeNuScenes(tmp_path / "nuscenes", scenes=("scene-0003", "scene-0001", "scene-0008"))


@pytest.fixture
def make_nuscenes(tmp_path: Path, user_cache: Path) -> Callable[..., FakeNuScenes]:
    """Makes nuScenes with the scenes asked for."""

    def make(scenes: tuple[str, ...], *, version: str = "v1.0-trainval") -> FakeNuScenes:
        return FakeNuScenes(tmp_path / "nuscenes", version=version, scenes=scenes, frames=1)

    return make


@pytest.fixture
def kitti_root(tmp_path: Path) -> Path:
    """Four frames of each of the sequences 00, 01, 08 and 11 of SemanticKITTI, labels but for 11."""
    root = tmp_path / "semantickitti"
    numbers = np.random.default_rng(0)
    raw = [0, 1, 10, 40, 52, 70, 81, 99, 252, 259]
    for sequence in ("00", "01", "08", "11"):
        for frame in range(4):
            folder = root / "dataset" / "sequences" / sequence
            points = write_kitti_scan(folder / "velodyne" / f"{frame:06d}.bin", seed=frame)
            if sequence != "11":
                labels = numbers.choice(raw, len(points)) + (numbers.integers(0, 9, len(points)) << 16)
                (folder / "labels").mkdir(exist_ok=True)
                labels.astype(np.uint32).tofile(folder / "labels" / f"{frame:06d}.label")
    return root


@pytest.fixture
def write_scan() -> Callable[..., NDArray[np.float32]]:
    """`write_kitti_scan`, for tests that make their own layout."""
    return write_kitti_scan


def write_kitti_scan(path: Path, *, seed: int) -> NDArray[np.float32]:
    """Write a KITTI scan of a few dozen points; (n, 4) x, y, z, intensity."""
    numbers = np.random.default_rng(seed)
    points = numbers.uniform(0, 1, (numbers.integers(20, 40), 4)).astype(np.float32)
    points[:, :3] = points[:, :3] * 80 - 40
    path.parent.mkdir(parents=True, exist_ok=True)
    points.tofile(path)
    return points

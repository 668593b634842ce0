"""Simulated scenes in SemanticKITTI's native layout: dataset/sequences/NN with velodyne, labels, calib, times, poses.

Points are x y z intensity(0-0.99 in steps of 0.01) in float32, sensor frame with x to the front; labels are the raw ids
in the low 16 bits (moving classes included) and the instance in the high 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.job import SceneJob
from also_selfsup.data.simulator.kinds import FACTS, KITTI_IDS, KITTI_MOVING_IDS, Kind
from also_selfsup.data.simulator.scene import Frame, Scene
from also_selfsup.data.simulator.sensors import SENSORS

SENSOR = SENSORS["hdl64e"]
INTERVAL = 0.1
SPLITS = {"train": 0.7, "val": 0.3}
DEFAULT_VERSION = ""
SEQUENCES: dict[str, tuple[str, ...]] = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
    "test": tuple(f"{number:02d}" for number in range(11, 22)),
}
# From lidar (x front, y left, z up) to camera axes (x right, y down, z front); the camera sits in the lidar.
CAMERA = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])


def names(split: str, count: int, *, version: str) -> list[str]:
    """Sequences of `count` scenes of a split; scenes beyond the number of sequences go on in the last one.

    Raises:
        ValueError: There is no such split.
    """
    if split not in SEQUENCES:
        raise ValueError(
            f"SemanticKITTI has no split {split!r}: choose one of {', '.join(sorted(SEQUENCES))}."
        )
    known = SEQUENCES[split]
    return [known[number % len(known)] for number in range(count)]


def prepare(root: Path, *, version: str) -> None:
    """Make the root; sequences make their own folders."""
    root.mkdir(parents=True, exist_ok=True)


def write_scene(root: Path, job: SceneJob) -> dict[str, list[str]]:
    """Simulate a scene, write its scans and labels, and answer its lines of poses.txt and times.txt."""
    folder = root / "dataset" / "sequences" / job.name
    for part in ("velodyne", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    scene, poses, times = job.scene(), [], []
    start: NDArray[np.float64] | None = None
    for number, frame in enumerate(job.scans(scene), start=job.first):
        points(frame).tofile(folder / "velodyne" / f"{number:06d}.bin")
        labels(frame, scene).tofile(folder / "labels" / f"{number:06d}.label")
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = frame.rotation, frame.position
        start = pose if start is None else start
        moved = np.linalg.inv(start) @ pose
        moved[:3] = np.concatenate([CAMERA @ moved[:3, :3] @ CAMERA.T, CAMERA @ moved[:3, 3:]], axis=1)
        poses.append(" ".join(f"{value:.6e}" for value in moved[:3].ravel()))
        times.append(f"{number * job.interval:.6e}")
    return {"sequence": [job.name], "poses": poses, "times": times}


def points(frame: Frame) -> NDArray[np.float32]:
    """Rows (N, 4) of a scan file."""
    # The HDL-64E of KITTI answers a middling 0.3 for most of a street and saturates at 0.99.
    intensity = np.round(np.clip(1.2 * np.sqrt(np.maximum(frame.strength, 0)) * 0.7, 0, 0.99), 2)
    return np.concatenate([frame.pos, intensity[:, None]], axis=1).astype("<f4")


def labels(frame: Frame, scene: Scene) -> NDArray[np.uint32]:
    """Class in the low 16 bits, number of the object in the high 16 for what can be counted."""
    ids = np.where(frame.moving, KITTI_MOVING_IDS[frame.kind], KITTI_IDS[frame.kind])
    countable = np.array([FACTS[kind].category is not None and kind < Kind.BARRIER for kind in Kind])
    instance = np.where(countable[frame.kind] & (frame.object >= 0), frame.object % 0xFFFF + 1, 0)
    return (ids | (instance.astype(np.uint32) << 16)).astype("<u4")


def finish(root: Path, results: Sequence[dict[str, list[str]]], *, version: str) -> None:
    """Write calib.txt, poses.txt and times.txt of every sequence."""
    sequences = {result["sequence"][0] for result in results}
    for sequence in sorted(sequences):
        folder = root / "dataset" / "sequences" / sequence
        mine = [result for result in results if result["sequence"][0] == sequence]
        for name in ("poses", "times"):
            lines = [line for result in mine for line in result[name]]
            (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
        to_camera = np.concatenate([CAMERA, np.zeros((3, 1))], axis=1)
        projection = np.concatenate([np.diag([700.0, 700.0, 1.0]), np.zeros((3, 1))], axis=1)
        rows = {**{f"P{number}": projection for number in range(4)}, "Tr": to_camera}
        text = "\n".join(
            f"{name}: " + " ".join(f"{v:.12e}" for v in row.ravel()) for name, row in rows.items()
        )
        (folder / "calib.txt").write_text(text + "\n")

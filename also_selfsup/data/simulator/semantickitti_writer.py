"""Simulated scenes in SemanticKITTI's native layout: scans, labels, calib, times and poses of sequences.

Points are x y z intensity(0-0.99 in steps of 0.01) in float32; sensor frame with x to the front. Labels are
the raw ids in the low 16 bits (moving classes included) and the number of the object in the high 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.semantickitti import SEQUENCES
from also_selfsup.data.simulator.arrays import Doubles
from also_selfsup.data.simulator.job import Layout, SceneJob
from also_selfsup.data.simulator.kinds import FACTS, KITTI_IDS, KITTI_MOVING_IDS, Kind
from also_selfsup.data.simulator.kitti_files import CAMERA, FOCAL_LENGTH, line, points, rigid_motion
from also_selfsup.data.simulator.scene import Frame
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.settings.names import choose

COUNTABLE = np.array([FACTS[kind].category is not None and kind < Kind.BARRIER for kind in Kind])

# Lines of a scene's part of poses.txt and times.txt, and its sequence.
Lines = dict[str, list[str]]


class SemanticKittiWriter(Layout):
    """SemanticKITTI; scenes beyond the number of a split's sequences continue the first ones."""

    sensor = SENSORS["hdl64e"]
    interval = 0.1
    versions = {"": {"train": 0.7, "val": 0.3}}

    def names(self, split: str, count: int, *, version: str) -> list[str]:
        """See `Layout`."""
        known = choose(
            {name: SEQUENCES[name] for name in ("train", "val", "test")}, split, "split of SemanticKITTI"
        )
        return [known[number % len(known)] for number in range(count)]

    def prepare(self, root: Path, *, version: str) -> None:
        """See `Layout`; sequences make their own folders."""
        (root / "dataset" / "sequences").mkdir(parents=True, exist_ok=True)

    def write_scene(self, root: Path, job: SceneJob) -> Lines:
        """See `Layout`."""
        folder = root / "dataset" / "sequences" / job.name
        for part in ("velodyne", "labels"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        frames: list[Doubles] = []
        for number, frame in enumerate(job.scans(job.scene()), start=job.first):
            points(frame).tofile(folder / "velodyne" / f"{number:06d}.bin")
            self.labels(frame).tofile(folder / "labels" / f"{number:06d}.label")
            frames.append(rigid_motion(frame.rotation, frame.position))
        times = [f"{(job.first + number) * job.interval:.6e}" for number in range(job.frames)]
        camera = rigid_motion(CAMERA, np.zeros(3))
        poses = [camera @ np.linalg.inv(frames[0]) @ frame @ camera.T for frame in frames]
        return {"sequence": [job.name], "times": times, "poses": [line(pose, digits=6) for pose in poses]}

    def labels(self, frame: Frame) -> NDArray[np.uint32]:
        """Values (N,) of a label file."""
        return labels(frame)

    def finish(self, root: Path, results: Sequence[Lines], *, version: str) -> None:
        """See `Layout`; poses of each scene start anew at the origin."""
        for sequence in sorted({result["sequence"][0] for result in results}):
            folder = root / "dataset" / "sequences" / sequence
            for name in ("poses", "times"):
                mine = [
                    line for result in results if result["sequence"] == [sequence] for line in result[name]
                ]
                (folder / f"{name}.txt").write_text("\n".join(mine) + "\n")
            (folder / "calib.txt").write_text(_calibration())


def labels(frame: Frame) -> NDArray[np.uint32]:
    """Class in the low 16 bits; in the high 16 the number of the object, for what can be counted."""
    ids = np.where(frame.moving, KITTI_MOVING_IDS[frame.kind], KITTI_IDS[frame.kind])
    packed: NDArray[np.uint32] = (ids | (instances(frame) << 16)).astype("<u4")
    return packed


def instances(frame: Frame) -> NDArray[np.uint32]:
    """Number (N,) of the object that each point belongs to, beginning with 1; 0 for what is not counted."""
    counted = COUNTABLE[frame.kind] & (frame.object >= 0)
    return np.where(counted, frame.object % 0xFFFF + 1, 0).astype(np.uint32)


def _calibration() -> str:
    """Four cameras at the place of the lidar."""
    projection = np.diag([FOCAL_LENGTH, FOCAL_LENGTH, 1.0, 1.0])
    rows = {**{f"P{number}": projection for number in range(4)}, "Tr": rigid_motion(CAMERA, np.zeros(3))}
    return "".join(f"{name}: {line(matrix, digits=12)}\n" for name, matrix in rows.items())

"""Simulated scenes in the native layouts of KITTI's object detection and of KITTI-360.

Points as in SemanticKITTI. Scenes of a split follow one another in the frames of the official lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from also_selfsup.data.simulator.job import Layout, SceneJob
from also_selfsup.data.simulator.kitti_boxes import box_lines, calibration
from also_selfsup.data.simulator.kitti_files import points
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.settings.names import choose

# The official lists of KITTI 3D part its frames; this is how they begin.
KITTI3D_END = 200
KITTI3D_TRAIN = (
    *(0, 3, 7, *range(9, 15), 16, 17, 18, 22, 26, 29, 30, 32, 34, 36, 38, 41, *range(43, 47), 49, 51),
    *(*range(54, 58), 60, 64, *range(67, 76), 79, 80, *range(82, 89), 91, 92, 95, 96, 97, 99, 100, 101),
    *(103, 105, *range(109, 116), 119, 120, 121, 123, 125, 127, 129, 130, 131, 133, 136, 138, 141, 142),
    *(144, 145, 146, 148, 149, 150, 154, 155, 157, 158, 160, *range(162, 167), 171, 172),
    *(*range(176, 181), 184, 185, 189, 193, 198),
)
KITTI3D_VAL = tuple(sorted(set(range(KITTI3D_END)) - set(KITTI3D_TRAIN)))
KITTI360_DRIVE = "2013_05_28_drive_0000_sync"


class ListedFrames(Layout):
    """A data set whose splits are lists of frames; a scene is called as its split."""

    sensor = SENSORS["hdl64e"]
    interval = 0.1
    versions = {"": {"train": 0.7, "val": 0.3}}
    title: ClassVar[str]
    frames: ClassVar[dict[str, Sequence[int]]]

    def names(self, split: str, count: int, *, version: str) -> list[str]:
        """See `Layout`."""
        choose(self.frames, split, f"split of {self.title}")
        return [split] * count

    def numbers(self, job: SceneJob) -> Sequence[int]:
        """Numbers of a scene's frames; a ValueError says that the list is at its end."""
        known, end = self.frames[job.name], job.first + job.frames
        if end > len(known):
            raise ValueError(
                f"The simulated {job.name} of {self.title} has room for {len(known)} frames, not for {end}: "
                "ask for fewer."
            )
        return known[job.first : end]

    def finish(self, root: Path, results: Sequence[None], *, version: str) -> None:
        """See `Layout`; nothing needs all scenes."""


class Kitti3dWriter(ListedFrames):
    """KITTI's object detection: scans, boxes and calibration of the training folder."""

    title = "KITTI 3D"
    frames = {"train": KITTI3D_TRAIN, "val": KITTI3D_VAL}

    def prepare(self, root: Path, *, version: str) -> None:
        """See `Layout`."""
        for folder in ("velodyne", "calib", "label_2"):
            (root / "training" / folder).mkdir(parents=True)

    def write_scene(self, root: Path, job: SceneJob) -> None:
        """See `Layout`."""
        folder, scene = root / "training", job.scene()
        for place, (number, frame) in enumerate(zip(self.numbers(job), job.scans(scene), strict=True)):
            points(frame).tofile(folder / "velodyne" / f"{number:06d}.bin")
            (folder / "calib" / f"{number:06d}.txt").write_text(calibration())
            lines = box_lines(scene, frame, time=place * job.interval)
            (folder / "label_2" / f"{number:06d}.txt").write_text("".join(f"{line}\n" for line in lines))


class Kitti360Writer(ListedFrames):
    """KITTI-360: scans of its first drive, of windows that are in one list only."""

    title = "KITTI-360"
    frames = {"train": range(2, 372), "val": range(386, 1980)}

    def prepare(self, root: Path, *, version: str) -> None:
        """See `Layout`."""
        self.folder(root).mkdir(parents=True)

    def folder(self, root: Path) -> Path:
        """Where the scans lie."""
        return root / "data_3d_raw" / KITTI360_DRIVE / "velodyne_points" / "data"

    def write_scene(self, root: Path, job: SceneJob) -> None:
        """See `Layout`."""
        for number, frame in zip(self.numbers(job), job.scans(job.scene()), strict=True):
            points(frame).tofile(self.folder(root) / f"{number:010d}.bin")

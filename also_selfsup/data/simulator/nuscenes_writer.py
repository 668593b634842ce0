"""Simulated scenes in nuScenes' native layout: scans of LIDAR_TOP key frames, lidarseg, and the tables.

Points are x y z intensity(0-255) ring in float32; sensor frame with y to the front and x to the right. There
are no cameras, radars or sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.nuscenes import official_scenes
from also_selfsup.data.simulator.job import Layout, SceneJob
from also_selfsup.data.simulator.kinds import NUSCENES_IDS, Kind
from also_selfsup.data.simulator.nuscenes_rows import (
    Tables,
    link_annotations,
    rows_of_frame,
    rows_of_scene,
    write_tables,
)
from also_selfsup.data.simulator.scene import Frame
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.settings.names import choose

# A white wall is reported as 100; what is above comes from retro-reflectors.
WHITE = 100


class NuScenesWriter(Layout):
    """nuScenes, with names of scenes for which the official splits hold.

    "train" leaves out the scenes of "verifying", which official lists count as training scenes too.
    """

    sensor = SENSORS["hdl32e"]
    interval = 0.5
    versions = {
        "v1.0-trainval": {"train": 0.5, "verifying": 0.2, "val": 0.3},
        "v1.0-mini": {"mini_train": 0.8, "mini_val": 0.2},
    }

    def names(self, split: str, count: int, *, version: str) -> list[str]:
        """See `Layout`; a split's names in order, the first being scene-0001, scene-0003 and scene-0008."""
        choose(self.versions[version], split, f"split of {version}")
        known = sorted(official_scenes()["parametrizing" if split == "train" else split])
        if count > len(known):
            raise ValueError(
                f"{version} {split} has {len(known)} scenes, {count} were asked for: ask for fewer."
            )
        return known[:count]

    def prepare(self, root: Path, *, version: str) -> None:
        """See `Layout`."""
        for folder in ("samples/LIDAR_TOP", f"lidarseg/{version}", version):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def write_scene(self, root: Path, job: SceneJob) -> Tables:
        """See `Layout`; answers the scene's rows of the tables."""
        scene = job.scene()
        tables = rows_of_scene(job, scene)
        for number, frame in enumerate(job.scans(scene)):
            rows = rows_of_frame(job, scene, frame=frame, number=number)
            points(frame).tofile(root / rows["sample_data"][0]["filename"])
            NUSCENES_IDS[frame.kind].tofile(root / rows["lidarseg"][0]["filename"])
            for name, more in rows.items():
                tables.setdefault(name, []).extend(more)
        tables["instance"] = link_annotations(tables["sample_annotation"])
        return tables

    def finish(self, root: Path, results: Sequence[Tables], *, version: str) -> None:
        """See `Layout`."""
        write_tables(root / version, results)


def points(frame: Frame) -> NDArray[np.float32]:
    """Rows (N, 5) of a scan file."""
    # What stands for no return has some faint strength in the real files as well.
    faint = np.arange(len(frame.strength)) * 7919 % 31
    intensity = np.where(frame.kind == Kind.NOTHING, faint, WHITE * frame.strength)
    intensity = np.clip(np.round(intensity), 0, 255)
    rows: NDArray[np.float32] = np.column_stack([frame.pos, intensity, frame.ring]).astype("<f4")
    return rows

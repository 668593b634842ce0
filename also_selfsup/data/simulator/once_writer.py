"""Simulated scenes in ONCE's native layout: scans of the roof lidar, info files, lists of sequences.

Points are x y z intensity in float32, the latter in steps of 0.01 below 1, and up to 242 for the few
bright returns, as in the real files; sensor frame with y to the back and x to the left.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.job import Layout, SceneJob
from also_selfsup.data.simulator.scene import Frame
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.settings.names import choose

SPLITS = ("raw_small", "train", "val", "test")
# Sequences of a split are numbered on from a thousand of its own; frames are named by milliseconds.
BLOCK = 1000
START = 1_616_000_000_000
BRIGHTEST = 242

Infos = list[dict[str, Any]]


class OnceWriter(Layout):
    """ONCE; each scene is a sequence."""

    sensor = SENSORS["pandar40"]
    interval = 0.5
    versions = {"": {"raw_small": 0.5, "train": 0.3, "val": 0.2}}

    def names(self, split: str, count: int, *, version: str) -> list[str]:
        """See `Layout`."""
        block = choose({name: number * BLOCK for number, name in enumerate(SPLITS)}, split, "split of ONCE")
        if count > BLOCK:
            raise ValueError(f"A simulated split of ONCE has at most {BLOCK} sequences, not {count}.")
        return [f"{block + number:06d}" for number in range(count)]

    def prepare(self, root: Path, *, version: str) -> None:
        """See `Layout`."""
        (root / "ImageSets").mkdir()

    def write_scene(self, root: Path, job: SceneJob) -> Infos:
        """See `Layout`; answers what the info file says of the frames."""
        folder = f"data/{job.name}/lidar_roof"
        (root / folder).mkdir(parents=True)
        infos = []
        for number, frame in enumerate(job.scans(job.scene())):
            time = START + job.index * 10**6 + round(number * job.interval * 1000)
            points(frame).tofile(root / folder / f"{time}.bin")
            infos.append(
                {
                    "sequence_id": job.name,
                    "frame_id": str(time),
                    "timestamp": time,
                    "lidar": f"{folder}/{time}.bin",
                }
            )
        frames = [{"sequence_id": info["sequence_id"], "frame_id": info["frame_id"]} for info in infos]
        described = {"meta_info": {}, "calib": {}, "frames": frames}
        (root / "data" / job.name / f"{job.name}.json").write_text(json.dumps(described))
        return infos

    def finish(self, root: Path, results: Sequence[Infos], *, version: str) -> None:
        """See `Layout`; info files are plain lists of dictionaries, as the data set's tools write."""
        for number, split in enumerate(SPLITS):
            scenes = [infos for infos in results if int(infos[0]["sequence_id"]) // BLOCK == number]
            if scenes:
                infos = [info for scene in scenes for info in scene]
                (root / f"once_infos_{split}.pkl").write_bytes(pickle.dumps(infos, protocol=4))
                lines = "".join(f"{scene[0]['sequence_id']}\n" for scene in scenes)
                (root / "ImageSets" / f"{split}.txt").write_text(lines)


def points(frame: Frame) -> NDArray[np.float32]:
    """Rows (N, 4) of a scan file."""
    dim = np.round(np.clip(0.25 * frame.strength, 0, 1), 2)
    bright = np.minimum(np.round(30 * frame.strength), BRIGHTEST)
    intensity = np.where(frame.strength > 0.6, bright, dim)
    rows: NDArray[np.float32] = np.column_stack([frame.pos, intensity]).astype("<f4")
    return rows

"""Where nuScenes is opened: the lidar key frames of a split, in the data set's native layout.

F frames of the split.
"""

import json
import logging
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError, Labels
from also_selfsup.data.formats import read_nuscenes_points, read_uint8_labels
from also_selfsup.data.frame_lists import expand_ranges, read_split_file
from also_selfsup.data.labels import NUSCENES
from also_selfsup.data.multi_frame import MultiFrameDataset, Neighbour
from also_selfsup.data.nuscenes_index import KeyFrames, lidarseg_files, open_key_frames
from also_selfsup.data.nuscenes_poses import read_lidar_poses
from also_selfsup.settings.whole_file import whole_file

logger = logging.getLogger(__name__)

VERSIONS = {"test": "v1.0-test", "mini_train": "v1.0-mini", "mini_val": "v1.0-mini"}
# The published runs with 0.1 % of the labels, where no scene is the thousandth, used this one.
SINGLE_SCENE = "scene-0392"
SUBMISSION_META = {
    "meta": {
        "use_camera": False,
        "use_lidar": True,
        "use_radar": False,
        "use_map": False,
        "use_external": False,
    }
}


@cache
def official_scenes() -> dict[str, frozenset[str]]:
    """Names of the scenes of each split: the official ones, and those the published code makes of `train`.

    `verifying` are 100 scenes of `train` set apart to choose settings by, `parametrizing` the 600 others.
    """
    splits = {
        split: frozenset(
            f"scene-{number:04d}"
            for first, last in expand_ranges(" ".join(lines))
            for number in range(first, last + 1)
        )
        for split, lines in read_split_file("nuscenes.json").items()
    }
    splits["parametrizing"] = splits["train"] - splits["verifying"]
    splits["trainval"] = splits["train"] | splits["val"]
    return splits


def scene_fraction(scenes: list[str], skip_ratio: int) -> list[str]:
    """Choose the scenes of a label fraction, as the published results did.

    Args:
        scenes: Scenes of the split, in the order of the table.
        skip_ratio: Every `skip_ratio`-th of them is kept; where there are fewer, scene-0392 alone, or
            nothing if it is not among them.
    """
    kept = scenes[skip_ratio - 1 :: skip_ratio]
    return kept or [scene for scene in scenes if scene == SINGLE_SCENE]


class NuScenes(MultiFrameDataset):
    """Lidar key frames of nuScenes, with the 16 classes of the lidarseg challenge.

    Layout: `<root>/<version>/*.json` (tables), `<root>/samples/LIDAR_TOP/*.pcd.bin`, and with labels
    `<root>/lidarseg/<version>/*_lidarseg.bin`. The sensor frame of these files has x to the right and y to
    the front. Labels of the test scenes are not public.

    Args:
        root: See `LidarDataset`, as for all arguments but the last two.
        split: See `splits`.
        labels: See `LidarDataset`.
        skip_ratio: Keep every n-th scene, see `scene_fraction`.
        on_bad_scan: See `LidarDataset`.
        min_range: See `LidarDataset`; 17 to 311 points of a real scan lie within 1 cm of the sensor.
        query_frames: See `MultiFrameDataset`; neighbours are key frames, half a second apart.
        version: Folder of the tables; None takes that of the split (v1.0-trainval, v1.0-mini, v1.0-test), or
            the only one there is.

    Attributes:
        version: The folder of the tables in use.
        frames: Tokens and scenes of the frames.
    """

    splits = ("train", "val", "test", "trainval", "mini_train", "mini_val", "parametrizing", "verifying")
    label_map = NUSCENES
    class_names = NUSCENES.names
    columns = 5
    read_points = read_nuscenes_points
    read_raw_labels = read_uint8_labels
    submission_dtype = "<u1"
    source = "Fetch nuScenes (tables, lidar, lidarseg) from https://www.nuscenes.org and unpack it there"

    version: str
    frames: KeyFrames

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        labels: bool = False,
        skip_ratio: int = 1,
        on_bad_scan: str = "raise",
        min_range: float = 0.01,
        query_frames: int = 0,
        version: str | None = None,
    ) -> None:
        self._asked_version = version
        super().__init__(
            root,
            split,
            labels=labels,
            skip_ratio=skip_ratio,
            on_bad_scan=on_bad_scan,
            min_range=min_range,
            query_frames=query_frames,
        )

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the scans of the split's scenes, or of a fraction of them."""
        self.version = self._find_version()
        frames = open_key_frames(self.root, version=self.version)
        scenes = [name.decode() for name in frames.scenes.tolist()]
        there = [scene for scene in scenes if scene in official_scenes()[self.split]]
        if not there:
            raise DatasetError(
                f"{self.root / self.version} has no scene of the split {self.split} among its {len(scenes)}: "
                f"choose another split, or the version of the tables that has it."
            )
        kept = scene_fraction(there, self.skip_ratio)
        if not kept:
            raise DatasetError(
                f"skip_ratio={self.skip_ratio} leaves none of the {len(there)} scenes of {self.split} in "
                f"{self.root / self.version}: choose one up to {len(there)}."
            )
        self.frames = frames.select(kept)
        if self.query_frames:
            self._poses = read_lidar_poses(self.root / self.version, self.frames.tokens)
        if self.labels:
            self._label_files = lidarseg_files(self.root / self.version, tokens=self.frames.tokens)
        return self.frames.files

    def _find_version(self) -> str:
        wanted = self._asked_version or VERSIONS.get(self.split, "v1.0-trainval")
        there = sorted(path.parent.name for path in self.root.glob("*/sample_data.json"))
        if wanted in there:
            return wanted
        if self._asked_version is None and len(there) == 1:
            logger.warning("%s has no %s: taking the scenes of %s", self.root, wanted, there[0])
            return there[0]
        raise DatasetError(
            f"{self.root / wanted}: there are no tables for the split {self.split}. "
            f"Versions there: {', '.join(there) or 'none'}. {self.source}, or set cfg.dataset_root."
        )

    def neighbours(self, index: int, count: int) -> list[Neighbour]:
        """Up to `count` key frames of the scene before and behind a frame, by `ego_pose`."""
        scene_ids = self.frames.scene_ids
        near = range(max(index - count, 0), min(index + count + 1, len(self)))
        ids = [other for other in near if other != index and scene_ids[other] == scene_ids[index]]
        here = np.linalg.inv(self._poses[index])
        return [
            Neighbour(self.name(other), here @ self._poses[other])
            for other in ids
            if (self.root / self.name(other)).is_file()
        ]

    def label_file(self, index: int) -> str:
        """Path of a frame's lidarseg file, as the table `lidarseg` gives it."""
        return bytes(self._label_files[index]).decode()

    def submission_path(self, index: int) -> str:
        """Path of a frame's prediction: `lidarseg/<split>/<token>_lidarseg.bin`."""
        return f"lidarseg/{self.split}/{bytes(self.frames.tokens[index]).decode()}_lidarseg.bin"

    def write_submission(self, index: int, labels: Labels, *, directory: str | Path) -> Path:
        """Write a frame's prediction (n,) for the lidarseg challenge, and `<split>/submission.json` once.

        Raises:
            ValueError: As in `LidarDataset`, and for the label 0, which the challenge does not accept.
        """
        if not np.all(labels):
            raise ValueError(f"{self.name(index)}: the challenge takes no class 0; predict the best of 1-16.")
        path = super().write_submission(index, labels, directory=directory)
        meta = Path(directory) / self.split / "submission.json"
        if not meta.is_file():
            with whole_file(meta) as part:
                part.write_text(json.dumps(SUBMISSION_META, indent=1), encoding="utf-8")
        return path

"""Where ONCE is opened: the frames that a split's info file lists.

F frames of the split.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError, LidarDataset
from also_selfsup.data.formats import read_kitti_points
from also_selfsup.data.frame_lists import every_nth, frames_on_disk
from also_selfsup.data.restricted_pickle import read_plain_pickle

# Sequences and frames are numbers in the files; whatever else may come, it must stay below the root.
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")


class ONCE(LidarDataset):
    """Roof lidar scans of ONCE, which has boxes on some frames and no point labels.

    Layout: `<root>/once_infos_<split>.pkl`, as OpenPCDet's or the data set's own tools write them, and
    `<root>/data/<sequence>/lidar_roof/<frame>.bin`. Listed frames that are not on disk are left out with a
    warning. `skip_ratio` keeps every n-th of those that are.

    Intensities: most values are fractions, 3 to 7 % are above 1, up to 242. By default they are taken as they
    are and those above 1 become 1; the published code divides all by 255, which is `intensity_scale=255`.
    """

    splits = ("train", "val", "test", "raw_small", "raw_medium", "raw_large")
    columns = 4
    read_points = read_kitti_points
    options = ("intensity_scale",)
    own_intensity_scale = 1.0
    clips_intensities = True
    source = (
        "Fetch ONCE (https://once-for-auto-driving.github.io), unpack it there and make its info files "
        "with OpenPCDet (pcdet/datasets/once/once_dataset.py, create_once_infos)"
    )

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the scans of the split that are on disk, or every `skip_ratio`-th of them."""
        path = self.root / f"once_infos_{self.split}.pkl"
        if not path.is_file():
            there = ", ".join(sorted(found.name for found in self.root.glob("once_infos_*.pkl")))
            raise DatasetError(
                f"{path}: no such file; info files there: {there or 'none'}. "
                f"{self.source}, or set cfg.dataset_root."
            )
        names = listed_files(path)
        wanted = f"frames of {path.name}"
        return every_nth(frames_on_disk(self.root, names, wanted=wanted, source=self.source), self.skip_ratio)


def listed_files(path: Path) -> list[str]:
    """The scans that an info file lists, relative to the root, in its order.

    Raises:
        DatasetError: It is no info file, or names a frame in a way that could lead elsewhere.
    """
    rows = read_plain_pickle(path)
    if not isinstance(rows, list) or not rows:
        raise DatasetError(f"{path}: a list of frames should stand there, found {_kind(rows)}. Make it anew.")
    return [_file_of(row, path=path) for row in rows]


def _file_of(row: Any, *, path: Path) -> str:
    if not isinstance(row, dict) or not {"frame_id", "sequence_id"} <= set(row):
        finding = f"a frame without sequence_id and frame_id ({_kind(row)})"
        raise DatasetError(f"{path}: {finding}. Make it anew, or fetch it again.")
    sequence, frame = row["sequence_id"], row["frame_id"]
    for name in (sequence, frame):
        if type(name) not in (str, int) or not SAFE_NAME.fullmatch(str(name)):
            raise DatasetError(
                f"{path}: it names the frame {frame!r} of sequence {sequence!r}: do not use it."
            )
    # A sequence given as a number has lost the zeros of its folder's name.
    folder = f"{sequence:06d}" if type(sequence) is int else sequence
    return f"data/{folder}/lidar_roof/{frame}.bin"


def _kind(value: Any) -> str:
    return "an empty list" if value == [] else type(value).__name__

"""Where KITTI's 3D object detection set is opened: the frames of its usual training and validation lists.

F frames of the split.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.formats import read_kitti_points
from also_selfsup.data.frame_lists import every_nth, frames_on_disk, read_split_file, unpack_bits

TEST_FRAMES = 7518


@cache
def frame_numbers() -> dict[str, list[int]]:
    """Numbers of the frames of each split; those of `train` and `val` make up all 7481 with boxes.

    The file holds one bit for each of them, 1 for `train`: zlib, then base64.
    """
    lists = read_split_file("kitti3d.json")
    of_train = unpack_bits(lists["train"], count=lists["frames"])
    return {
        "train": np.flatnonzero(of_train).tolist(),
        "val": np.flatnonzero(of_train == 0).tolist(),
        "trainval": list(range(lists["frames"])),
        "test": list(range(TEST_FRAMES)),
    }


class KITTI3D(LidarDataset):
    """Velodyne scans of KITTI's 3D object detection benchmark, which has boxes and no point labels.

    Layout: `<root>/training/velodyne/NNNNNN.bin`, and `<root>/testing/velodyne/NNNNNN.bin` for the split
    `test`; whole turns, not the part that a camera sees. x to the front, y to the left. Listed frames that
    are not on disk are left out with a warning. `skip_ratio` keeps every n-th of those that are.
    """

    splits = ("train", "val", "trainval", "test")
    columns = 4
    read_points = read_kitti_points
    source = (
        "Fetch the velodyne point clouds of KITTI's 3D object benchmark "
        "(https://www.cvlibs.net/datasets/kitti/eval_object.php) and unpack them there"
    )

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the scans of the split that are on disk, or every `skip_ratio`-th of them."""
        folder = "testing" if self.split == "test" else "training"
        names = [f"{folder}/velodyne/{number:06d}.bin" for number in frame_numbers()[self.split]]
        wanted = f"frames of the split {self.split}"
        return every_nth(frames_on_disk(self.root, names, wanted=wanted, source=self.source), self.skip_ratio)

"""Where KITTI-360 is opened: the frames of its training and validation windows, overlaps included.

F frames of the split.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.formats import read_kitti_points
from also_selfsup.data.frame_lists import every_nth, expand_ranges, frames_on_disk, read_split_file


@cache
def windows(split: str) -> list[tuple[str, int, int]]:
    """The windows of a split in the published order: drive, first and last frame, both included.

    Neighbouring windows of a drive share some frames, and 389 frames are in windows of both splits: these are
    the windows that KITTI-360 itself divides its drives into.
    """
    return [
        (f"2013_05_28_drive_{drive}_sync", first, last)
        for drive, lines in read_split_file("kitti360.json")[split].items()
        for first, last in expand_ranges(" ".join(lines))
    ]


def listed_files(split: str) -> list[str]:
    """Every frame of every window, relative to the root; a frame of two windows comes twice."""
    return [
        f"data_3d_raw/{drive}/velodyne_points/data/{frame:010d}.bin"
        for drive, first, last in windows(split)
        for frame in range(first, last + 1)
    ]


class KITTI360(LidarDataset):
    """Velodyne scans of KITTI-360; its labels are of accumulated clouds, none are of scans.

    Layout: `<root>/data_3d_raw/<drive>/velodyne_points/data/NNNNNNNNNN.bin`. x to the front, y to the left.
    Windows overlap, so that 57,628 frames of `train` are 54,684 different ones: an epoch sees those of two
    windows twice. Listed frames that are not on disk are left out with a warning. `skip_ratio` keeps every
    n-th of those that are.
    """

    splits = ("train", "val")
    shares_frames = True
    columns = 4
    read_points = read_kitti_points
    source = (
        "Fetch the raw velodyne scans of KITTI-360 (https://www.cvlibs.net/datasets/kitti-360) and unpack "
        "them there"
    )

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the scans of the split that are on disk, or every `skip_ratio`-th of them."""
        wanted = f"frames of the split {self.split}"
        names = frames_on_disk(self.root, listed_files(self.split), wanted=wanted, source=self.source)
        return every_nth(names, self.skip_ratio)

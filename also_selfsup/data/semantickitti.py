"""Where SemanticKITTI is opened: the frames of a split's sequences, in the data set's native layout.

F frames of the split.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError
from also_selfsup.data.frame_lists import every_nth, read_split_file, unpack_bits
from also_selfsup.data.kitti_poses import read_sensor_poses
from also_selfsup.data.labels import SEMANTICKITTI
from also_selfsup.data.multi_frame import MultiFrameDataset, Neighbour
from also_selfsup.data.sequences import SequenceDataset

TRAIN = ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
SEQUENCES = {
    "train": TRAIN,
    "val": ("08",),
    "trainval": tuple(sorted((*TRAIN, "08"))),
    "test": tuple(str(number) for number in range(11, 22)),
}


@cache
def published_fractions() -> dict[int, dict[str, NDArray[np.int64]]]:
    """Frame numbers of SegContrast's label fractions of `train`: by skip_ratio, then by sequence.

    They are the lists that the published results on fractions were made with. The file holds one bit for each
    frame of the training sequences, one sequence after the other: zlib, then base64.
    """
    lists = read_split_file("semantickitti.json")
    lengths: dict[str, int] = lists["lengths"]
    ends = np.cumsum(list(lengths.values()))
    fractions = {}
    for skip_ratio, lines in lists["skip_ratios"].items():
        parts = np.split(unpack_bits(lines, count=int(ends[-1])), ends[:-1])
        fractions[int(skip_ratio)] = {
            sequence: np.flatnonzero(bits) for sequence, bits in zip(lengths, parts, strict=True)
        }
    return fractions


class SemanticKITTI(MultiFrameDataset, SequenceDataset):
    """SemanticKITTI with the 19 classes of the single-scan task.

    Layout: see `SequenceDataset`. The sensor frame of these files has x to the front and y to the left.
    Labels of the test sequences (11-21) are not public.

    `skip_ratio` 2, 10, 100 and 1000 of the split `train` are the published label fractions (50, 10, 1 and
    0.1 %: 9560, 1912, 188 and 17 scans), as far as they are on disk; any other one keeps every n-th scan of
    the split, beginning with the first.
    """

    sequences = SEQUENCES
    splits = tuple(SEQUENCES)
    label_map = SEMANTICKITTI
    class_names = SEMANTICKITTI.names
    source = (
        "Fetch KITTI odometry's velodyne scans (https://www.cvlibs.net/datasets/kitti/eval_odometry.php) and "
        "SemanticKITTI's labels (http://www.semantic-kitti.org) and unpack both there"
    )

    @cached_property
    def _poses(self) -> dict[Path, NDArray[np.float64]]:
        """Sensor poses of the sequences that were read so far."""
        return {}

    def fraction(self, there: Mapping[str, NDArray[np.int64]]) -> NDArray[np.bytes_]:
        """Choose by `skip_ratio`: the published list of it, or every n-th; (F,)."""
        listed = published_fractions().get(self.skip_ratio) if self.split == "train" else None
        if listed is None:
            return super().fraction(there)
        chosen = {name: numbers[np.isin(numbers, listed[name])] for name, numbers in there.items()}
        return every_nth(self.paths(chosen), 1)

    def neighbours(self, index: int, count: int) -> list[Neighbour]:
        """Up to `count` frames of the sequence before and behind a frame, by `poses.txt` and `calib.txt`.

        Raises:
            DatasetError: The sequence has no poses, or none of one of these frames.
        """
        scan = Path(self.name(index))
        number, folder = int(scan.stem), self.root / scan.parents[1]
        numbers = [n for n in range(number - count, number + count + 1) if n != number and n >= 0]
        files = [f"{scan.parent.as_posix()}/{n:06d}.bin" for n in numbers]
        there = [(n, file) for n, file in zip(numbers, files, strict=True) if (self.root / file).is_file()]
        poses = self._poses.get(folder)
        if poses is None:
            poses = self._poses.setdefault(folder, read_sensor_poses(folder))
        if there and max(number, there[-1][0]) >= len(poses):
            raise DatasetError(
                f"{folder / 'poses.txt'}: {len(poses)} poses, none of frame {max(number, there[-1][0])}. "
                "Fetch the whole file, or set cfg.data.query_frames=0."
            )
        here = np.linalg.inv(poses[number]) if there else np.eye(4)
        return [Neighbour(file, here @ poses[n]) for n, file in there]

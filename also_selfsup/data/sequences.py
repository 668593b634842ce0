"""Where data sets in SemanticKITTI's layout are opened: numbered scans in numbered sequences.

F frames of the split.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError, LidarDataset
from also_selfsup.data.formats import read_kitti_points, read_semantic_labels
from also_selfsup.data.frame_lists import every_nth

logger = logging.getLogger(__name__)


class SequenceDataset(LidarDataset):
    """Scans in `<root>/[dataset/]sequences/NN/velodyne/NNNNNN.bin`.

    Labels lie in `<root>/[dataset/]sequences/NN/labels/NNNNNN.label`. Sequences that are not on disk are left
    out with a warning, so that a part of the data set can be used; a split without any scan is an error.
    """

    sequences: ClassVar[Mapping[str, tuple[str, ...]]]  # of each split
    columns = 4
    read_points = read_kitti_points
    read_raw_labels = read_semantic_labels
    submission_dtype = "<u4"

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the scans of the split's sequences that are on disk, or of a fraction of them."""
        self._prefix = "dataset/sequences" if (self.root / "dataset" / "sequences").is_dir() else "sequences"
        there = {sequence: self._frame_numbers(sequence) for sequence in self.sequences[self.split]}
        missing = [sequence for sequence, numbers in there.items() if not len(numbers)]
        if len(missing) == len(there):
            folder = self.root / self._prefix
            wanted = ", ".join(there)
            raise DatasetError(
                f"{folder}: no scan of the split {self.split}, sequences {wanted}, which lie in "
                f"NN/velodyne/NNNNNN.bin. {self.source}, or set cfg.dataset_root."
            )
        if missing:
            logger.warning("%s: going without the sequences %s", self.root, ", ".join(missing))
        files = self.fraction(there)
        if not len(files):
            raise DatasetError(
                f"skip_ratio={self.skip_ratio} leaves none of the scans of {self.split} in {self.root}: "
                "choose a smaller one, or fetch the rest of the data set."
            )
        return files

    def fraction(self, there: Mapping[str, NDArray[np.int64]]) -> NDArray[np.bytes_]:
        """Choose by `skip_ratio` among the frame numbers on disk, by sequence: every n-th; (F,)."""
        return every_nth(self.paths(there), self.skip_ratio)

    def paths(self, there: Mapping[str, NDArray[np.int64]]) -> list[str]:
        """Files of frame numbers, relative to the root."""
        return [
            f"{self._prefix}/{sequence}/velodyne/{number:06d}.bin"
            for sequence, numbers in there.items()
            for number in numbers.tolist()
        ]

    def _frame_numbers(self, sequence: str) -> NDArray[np.int64]:
        """Numbers of the scans of a sequence that are on disk, in order; other files are passed over."""
        names = (path.stem for path in (self.root / self._prefix / sequence / "velodyne").glob("*.bin"))
        return np.array(sorted(int(name) for name in names if len(name) == 6 and name.isdecimal()), np.int64)

    def label_file(self, index: int) -> str:
        """Path of a frame's `.label` file."""
        scan = Path(self.name(index))
        return str(scan.parents[1] / "labels" / f"{scan.stem}.label")

    def submission_path(self, index: int) -> str:
        """Path of a frame's prediction: `sequences/NN/predictions/NNNNNN.label`."""
        scan = Path(self.name(index))
        return f"sequences/{scan.parts[-3]}/predictions/{scan.stem}.label"

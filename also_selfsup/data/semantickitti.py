"""Where SemanticKITTI is opened: the frames of a split's sequences, in the data set's native layout.

F frames of the split.
"""

import json
import logging
import zlib
from base64 import b64decode
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError, LidarDataset
from also_selfsup.data.formats import read_kitti_points, read_semantic_labels
from also_selfsup.data.labels import SEMANTICKITTI

logger = logging.getLogger(__name__)

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
    text = resources.files("also_selfsup.data.splits").joinpath("semantickitti.json").read_text("utf-8")
    lists = json.loads(text)
    lengths: dict[str, int] = lists["lengths"]
    ends = np.cumsum(list(lengths.values()))
    fractions = {}
    for skip_ratio, lines in lists["skip_ratios"].items():
        packed = np.frombuffer(zlib.decompress(b64decode("".join(lines))), np.uint8)
        parts = np.split(np.unpackbits(packed, count=int(ends[-1])), ends[:-1])
        fractions[int(skip_ratio)] = {
            sequence: np.flatnonzero(bits) for sequence, bits in zip(lengths, parts, strict=True)
        }
    return fractions


class SemanticKITTI(LidarDataset):
    """SemanticKITTI with the 19 classes of the single-scan task.

    Layout: `<root>/[dataset/]sequences/NN/velodyne/NNNNNN.bin`, and with labels
    `<root>/[dataset/]sequences/NN/labels/NNNNNN.label`. The sensor frame of these files has x to the front
    and y to the left. Labels of the test sequences (11-21) are not public. Sequences that are not on disk are
    left out with a warning, so that a part of the data set can be used; a split without any scan is an error.

    `skip_ratio` 2, 10, 100 and 1000 of the split `train` are the published label fractions (50, 10, 1 and
    0.1 %: 9560, 1912, 188 and 17 scans), as far as they are on disk; any other one keeps every n-th scan of
    the split, beginning with the first.

    Attributes:
        folder: The folder that holds `sequences`.
    """

    splits = tuple(SEQUENCES)
    label_map = SEMANTICKITTI
    class_names = SEMANTICKITTI.names
    columns = 4
    read_points = read_kitti_points
    read_raw_labels = read_semantic_labels
    submission_dtype = "<u4"
    source = (
        "Fetch KITTI odometry's velodyne scans (https://www.cvlibs.net/datasets/kitti/eval_odometry.php) and "
        "SemanticKITTI's labels (http://www.semantic-kitti.org) and unpack both there"
    )

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the scans of the split's sequences that are on disk, or of a fraction of them."""
        self._prefix = "dataset/sequences" if (self.root / "dataset" / "sequences").is_dir() else "sequences"
        there = {sequence: self._frame_numbers(sequence) for sequence in SEQUENCES[self.split]}
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
        files = self._fraction(there)
        if not len(files):
            raise DatasetError(
                f"skip_ratio={self.skip_ratio} leaves none of the scans of {self.split} in {self.root}: "
                "choose a smaller one, or fetch the rest of the data set."
            )
        return files

    def _fraction(self, there: dict[str, NDArray[np.int64]]) -> NDArray[np.bytes_]:
        listed = published_fractions().get(self.skip_ratio) if self.split == "train" else None
        if listed is not None:
            there = {name: numbers[np.isin(numbers, listed[name])] for name, numbers in there.items()}
        files = [
            f"{self._prefix}/{sequence}/velodyne/{number:06d}.bin".encode()
            for sequence, numbers in there.items()
            for number in numbers.tolist()
        ]
        return np.array(files if listed is not None else files[:: self.skip_ratio], np.bytes_)

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

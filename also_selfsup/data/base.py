"""Where a data set is opened: which frames a split has, and how one of them is read.

A subclass says where the frames are and in which format; reading, refusing and writing predictions are here.
n points of one scan, F frames of the split.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from also_selfsup.data.formats import Points, ScanError, count_points, scale_intensities
from also_selfsup.data.labels import LabelMap
from also_selfsup.data.scan import Scan, empty_scan
from also_selfsup.settings.names import UserError, choose
from also_selfsup.settings.whole_file import whole_file

Labels = NDArray[np.integer[Any]]


class DatasetError(UserError):
    """A data set that cannot be opened as asked: what was found, and what to do."""


class LidarDataset(Dataset[Scan], ABC):
    """The frames of one split of a data set, read one at a time; loader workers only read bytes.

    A scan's name is the path of its file below the root. Returns nearer to the sensor than `min_range` are
    left out, their labels with them: null returns, which are written as (0, 0, 0), and returns from the
    sensor's own cover, whose rays have no direction. `min_range=0` leaves nothing out: evaluation and
    submissions, which owe every point of the file a label, read that way.

    Args:
        root: Folder of the data set in its native layout.
        split: One of `splits`.
        labels: Read training labels too; otherwise no label file or table is ever opened.
        skip_ratio: Keep about one n-th of the split, by the data set's own published rule.
        on_bad_scan: "raise" a `ScanError`, or "skip": give an empty scan that says so.
        min_range: Metres; see above. The default is below any real return.
        intensity_scale: What the intensities of `read_points` are divided by; None: the data set's own.

    Attributes:
        files: (F,) the frames' files, relative to the root, in order.

    Raises:
        DatasetError: The root is missing, or holds nothing of the split; labels of a data set without any.
        ValueError: An unknown split or another bad value.
    """

    # What a data set says of itself, besides the methods below.
    splits: ClassVar[tuple[str, ...]]
    columns: ClassVar[int]  # float32 values a point in a scan file
    read_points: ClassVar[Callable[[Path], Points]]  # one of formats.py
    source: ClassVar[str]  # where to get it, for the messages
    # Settings of cfg.data that the constructor takes besides those that every data set takes.
    options: ClassVar[tuple[str, ...]] = ()
    # None: `read_points` gives [0, 1]. A number: divides, and what is above 1 then is refused, or clipped.
    own_intensity_scale: ClassVar[float | None] = None
    clips_intensities: ClassVar[bool] = False
    shares_frames: ClassVar[bool] = False  # its own lists put some frames into several splits
    # These four, `label_file` and `submission_path` only where points have labels.
    label_map: ClassVar[LabelMap | None] = None
    class_names: ClassVar[tuple[str, ...]] = ()  # by training label; the first is "ignore"
    read_raw_labels: ClassVar[Callable[..., Labels]]  # one of formats.py, called with count=
    submission_dtype: ClassVar[str]  # of the raw classes in a submission

    files: NDArray[np.bytes_]

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        labels: bool = False,
        skip_ratio: int = 1,
        on_bad_scan: str = "raise",
        min_range: float = 0.01,
        intensity_scale: float | None = None,
    ) -> None:
        name = type(self).__name__
        self.split = choose({known: known for known in self.splits}, split, f"split of {name}")
        choices = {"raise": False, "skip": True}
        self._skips = choose(choices, on_bad_scan, "cfg.data.on_bad_scan")
        if skip_ratio < 1 or min_range < 0:
            raise ValueError(f"skip_ratio is {skip_ratio} (at least 1), min_range {min_range} (at least 0).")
        if labels:
            self.classes()
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise DatasetError(f"{self.root}: no such folder. {self.source}, or set cfg.dataset_root.")
        self.labels = labels
        self.skip_ratio = skip_ratio
        self.min_range = min_range
        self.intensity_scale = self.own_intensity_scale if intensity_scale is None else intensity_scale
        self.files = self.find_frames()

    @abstractmethod
    def find_frames(self) -> NDArray[np.bytes_]:
        """List the files of the split's frames, relative to the root; (F,)."""

    def label_file(self, index: int) -> str:
        """Path of a frame's label file, relative to the root."""
        raise no_labels(type(self).__name__)

    def submission_path(self, index: int) -> str:
        """Path of a frame's prediction in the benchmark's submission format, relative to its folder."""
        raise no_labels(type(self).__name__)

    @classmethod
    def classes(cls) -> LabelMap:
        """The classes of the data set's points.

        Raises:
            DatasetError: Its points have none.
        """
        if cls.label_map is None:
            raise no_labels(cls.__name__)
        return cls.label_map

    def read_file(self, path: Path) -> Points:
        """Read positions (n, 3), metres, and intensities (n, 1) of a scan file."""
        return type(self).read_points(path)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Scan:
        """Read a frame.

        Raises:
            ScanError: Its file, or its labels, are missing or bad, and `on_bad_scan` is "raise".
            DatasetError: The root itself is not there any more.
            IndexError: There is no such frame.
        """
        index = range(len(self))[index]
        try:
            return self._read(index)
        except ScanError as error:
            if not self.root.is_dir():  # all frames are gone, not this one: nothing to skip
                raise DatasetError(
                    f"{self.root}: the folder has vanished while it was read from. Mount the disk again, "
                    "then go on with cfg.resume=auto."
                ) from None
            if not self._skips:
                raise
            return empty_scan(self.name(index), labelled=self.labels, finding=str(error))

    def read(self, index: int) -> Scan:
        """Read a frame; a bad one is refused whatever `on_bad_scan` says.

        Raises:
            ScanError: Its file, or its labels, are missing or bad.
            IndexError: There is no such frame.
        """
        return self._read(range(len(self))[index])

    def name(self, index: int) -> str:
        """Name of a frame: its file, relative to the root."""
        return bytes(self.files[index]).decode()

    def index_of(self, name: str) -> int:
        """Find the (first) frame of a name; the inverse of `name`."""
        found = np.flatnonzero(self.files == name.encode())
        if not len(found):
            raise KeyError(f"{name} is no frame of the split {self.split}")
        return int(found[0])

    def read_scaled(self, path: Path) -> Points:
        """Read a scan file as `read_file` does, its intensities scaled to [0, 1]."""
        pos, raw = self.read_file(path)
        if self.intensity_scale is None:
            return pos, raw
        scale, clips = self.intensity_scale, self.clips_intensities
        return pos, scale_intensities(raw, path=path, scale=scale, clips=clips)

    def _read(self, index: int) -> Scan:
        path = self.root / self.name(index)
        pos, intensities = self.read_scaled(path)
        labels = self._read_labels(index, count=len(pos)) if self.labels else None
        sensor = np.zeros(3, np.float32)
        if self.min_range > 0:
            # Column by column: numpy is an order of magnitude slower along rows of three.
            x, y, z = (column - origin for column, origin in zip(pos.T, sensor, strict=True))
            kept = x * x + y * y + z * z >= np.float32(self.min_range) ** 2
            if not kept.any():
                finding = f"none of its {len(pos)} points lies {self.min_range} m or more from the sensor"
                raise ScanError(path, finding, "Lower cfg.data.min_range, or leave the file out")
            if not kept.all():
                ids = np.flatnonzero(kept)  # taking rows is twice as fast as a mask
                pos, intensities = pos.take(ids, axis=0), intensities.take(ids, axis=0)
                labels = None if labels is None else labels.take(ids)
        return Scan(pos=pos, intensities=intensities, sensor=sensor, name=self.name(index), labels=labels)

    def _read_labels(self, index: int, *, count: int) -> NDArray[np.int64]:
        path = self.root / self.label_file(index)
        raw = type(self).read_raw_labels(path, count=count)
        try:
            return self.classes().training(raw)
        except ValueError as error:
            raise ScanError(path, str(error), "Fetch the data set's own release of the labels") from None

    def write_submission(self, index: int, labels: Labels, *, directory: str | Path) -> Path:
        """Write the prediction of a frame in the benchmark's submission format.

        Args:
            index: The frame.
            labels: (n,) training labels, one for every point of the file, as `min_range=0` reads them.
            directory: Folder of the submission; made where it is missing.

        Returns:
            The file written.

        Raises:
            ValueError: Another number of labels than the file has points, or values that are none.
        """
        count = count_points(self.root / self.name(index), columns=self.columns)
        if labels.shape != (count,):
            raise ValueError(
                f"{self.name(index)} has {count} points, the prediction the shape {labels.shape}: "
                "open the data set with min_range=0, so that every point gets a label."
            )
        raw = self.classes().raw(labels)
        path = Path(directory) / self.submission_path(index)
        with whole_file(path) as part:
            part.write_bytes(raw.astype(self.submission_dtype).tobytes())
        return path


def no_labels(name: str) -> DatasetError:
    """Word the error about labels of a data set without any."""
    return DatasetError(
        f"{name} has no point labels: it serves pre-training. Fine-tuning and evaluation need a data set "
        "with labels; set cfg.dataset_name and cfg.dataset_root."
    )

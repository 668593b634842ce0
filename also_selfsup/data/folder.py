"""Where any folder of scans is opened: files of many formats, whose columns and scale are given or found out.

F frames of the split, n points of one scan.
"""

import logging
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError, LidarDataset
from also_selfsup.data.detection import Given, Layout, describe, sample_kind
from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers import READERS, kind_of
from also_selfsup.data.readers.points import AXES
from also_selfsup.data.scan import Scan

logger = logging.getLogger(__name__)


class Folder(LidarDataset):
    """Any tree of scan files, for pre-training: there are no labels.

    Files are found by their endings (`READERS`), however deep; hidden ones are passed over. Where the root
    holds folders `train` and `val`, these are the splits; otherwise every `val_every`-th file in the order of
    the paths is `val`, beginning with the first. `skip_ratio` keeps every n-th file of the split. What a kind
    of file holds is detected from a sample of all files of the root, the same for every split. Returns that
    are not finite are left out in formats that can be organised clouds, and so are those at (0, 0, 0).

    Args:
        root: See `LidarDataset`, as for the next five.
        split: See `splits`; `all` is every file.
        labels: Not possible here.
        skip_ratio: See above.
        on_bad_scan: See `LidarDataset`.
        min_range: See `LidarDataset`; metres from the sensor's origin.
        columns: Names of a point's values in the files, in order, x, y and z among them; None: the files'
            own names, or x, y, z, intensity and others, as many as seem to be there.
        intensity_scale: What intensities are divided by, larger ones become 1; None: 1, 255 or 65535, as
            nine tenths of the intensities lie within.
        sensor_origin: x, y, z of the sensor in the coordinates of the files; None: the VIEWPOINT of PCD
            files, otherwise 0, 0, 0.
        val_every: See above; at least 2.

    Attributes:
        summary: What was found, a line for each kind of file.

    Raises:
        DatasetError: No scans, none for the split, none that can be read; bad columns or origin; labels.
        ScanError: No file of a kind's sample can be read, and `on_bad_scan` is "raise".
        MissingLibraryError: A kind of file needs a library that is not installed.
    """

    splits = ("train", "val", "all")
    options = ("intensity_scale", "columns", "sensor_origin", "val_every")
    source = "Put or link scans there"

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        labels: bool = False,
        skip_ratio: int = 1,
        on_bad_scan: str = "raise",
        min_range: float = 0.01,
        columns: Sequence[str] | None = None,
        intensity_scale: float | None = None,
        sensor_origin: Sequence[float] | None = None,
        val_every: int = 10,
    ) -> None:
        if labels:
            raise _no_labels()
        if val_every < 2:
            raise DatasetError(f"cfg.data.val_every={val_every}: at least 2, or nothing is left to train on.")
        self.given = Given(_checked_columns(columns), intensity_scale)
        self.origin = _checked_origin(sensor_origin)
        self.val_every = val_every
        self.summary: tuple[str, ...] = ()
        self.layouts: dict[str, Layout] = {}
        super().__init__(root, split, skip_ratio=skip_ratio, on_bad_scan=on_bad_scan, min_range=min_range)

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the scan files of the split, and find out what the files of the root hold."""
        names = sorted(_scan_files(self.root))
        if not names:
            raise DatasetError(
                f"{self.root}: no scan ({', '.join(READERS)}). {self.source}, or set cfg.dataset_root."
            )
        chosen = self._of_split(names)
        if not chosen:
            raise DatasetError(
                f"{self.root}: none of its {len(names)} scans is left for {self.split}. Add scans, lower "
                f"cfg.data.val_every={self.val_every}, or make folders train and val."
            )
        self._detect(names)
        return np.array([name.encode() for name in chosen[:: self.skip_ratio]], np.bytes_)

    def _of_split(self, names: list[str]) -> list[str]:
        if self.split == "all":
            return names
        by_folder = {split: [name for name in names if name.startswith(f"{split}/")] for split in self.splits}
        if by_folder["train"] and by_folder["val"]:
            return by_folder[self.split]
        places = range(len(names))
        of_val = self.split == "val"
        return [names[place] for place in places if (place % self.val_every == 0) == of_val]

    def _detect(self, names: list[str]) -> None:
        by_kind: dict[str, list[Path]] = defaultdict(list)
        for name in names:
            by_kind[kind_of(name) or ""].append(self.root / name)
        lines = []
        for kind, paths in sorted(by_kind.items()):
            sampled = sample_kind(paths, kind, given=self.given)
            lines.append(describe(kind, len(paths), sampled=sampled, given=self.given))
            if sampled.layout is not None:
                self.layouts[kind] = sampled.layout
            elif not self._skips:
                raise sampled.findings[0]
        if not self.layouts:
            raise DatasetError(f"{self.root}: no scan can be read. {' '.join(lines)}")
        self.summary = tuple(lines)
        if self.split != "val":  # which is opened beside train
            logger.info("%s: %d scans\n  %s", self.root, len(names), "\n  ".join(lines))

    def _read(self, index: int) -> Scan:
        name = self.name(index)
        path, kind = self.root / name, kind_of(name) or ""
        if kind not in self.layouts:
            READERS[kind](path)  # which often says what is wrong with this file too
            finding = f"no {kind} file of the sample could be read, so its columns are not known"
            raise ScanError(path, finding, "Leave such files out, or name them in cfg.data.columns")
        pos, intensities, table = self.layouts[kind].read(path, kind)
        sensor = np.array(self.origin or table.origin or (0, 0, 0), np.float32)
        if self.min_range > 0:
            # Column by column: numpy is an order of magnitude slower along rows of three.
            x, y, z = (column - place for column, place in zip(pos.T, sensor, strict=True))
            # Null returns are written as zeros, wherever the sensor is.
            null = (pos[:, 0] == 0) & (pos[:, 1] == 0) & (pos[:, 2] == 0)
            kept = (x * x + y * y + z * z >= np.float32(self.min_range) ** 2) & ~null
            if not kept.any():
                finding = f"none of its {len(pos)} points lies {self.min_range} m or more from the sensor"
                raise ScanError(path, finding, "Lower cfg.data.min_range, or leave the file out")
            pos, intensities = pos[kept], intensities[kept]
        return Scan(pos=pos, intensities=intensities, sensor=sensor, name=name)

    def label_file(self, index: int) -> str:
        """There is none: a DatasetError."""
        raise _no_labels()

    def submission_path(self, index: int) -> str:
        """There is none: a DatasetError."""
        raise _no_labels()


def _scan_files(root: Path) -> Iterator[str]:
    """Paths of the scans below a folder, relative to it; links are followed, but into no folder twice."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if kind_of(name) and not name.startswith("."):
                path = (Path(folder) / name).relative_to(root).as_posix()
                if not path.isprintable():
                    raise DatasetError(f"{path!r} in {root}: rename this file, its name cannot be written.")
                yield path


def _checked_columns(columns: Sequence[str] | None) -> tuple[str, ...] | None:
    if columns is None:
        return None
    names = tuple(name.lower() for name in columns)
    if any(names.count(axis) != 1 for axis in AXES):
        shown = f"cfg.data.columns=[{','.join(columns)}]"
        raise DatasetError(f"{shown}: x, y and z must be among them, once each.")
    return names


def _checked_origin(origin: Sequence[float] | None) -> tuple[float, float, float] | None:
    if origin is None:
        return None
    if len(origin) != 3 or not all(math.isfinite(value) for value in origin):
        raise DatasetError(f"cfg.data.sensor_origin={list(origin)}: three numbers, x, y and z in metres.")
    x, y, z = origin
    return x, y, z


def _no_labels() -> DatasetError:
    return DatasetError(
        "Folder has no point labels: it serves pre-training. Fine-tuning and evaluation need a data set with "
        "labels; set cfg.dataset_name and cfg.dataset_root."
    )

"""Beside the data sets: one file of a scan, wherever it lies, read as a folder's files are."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError
from also_selfsup.data.folder import Folder
from also_selfsup.data.readers import READERS, kind_of
from also_selfsup.data.scan import Scan
from also_selfsup.settings.schema import Data


class OneScan(Folder):
    """A folder of which one file counts; columns, scale and origin are detected from that file alone.

    Args:
        path: The file, in one of the formats of `READERS`.
        data: Columns, intensity scale, sensor's origin and least range, where they are given.

    Raises:
        DatasetError: No such file, a folder, or its ending is none of a scan's.
        ScanError: It cannot be read as a scan.
        MissingLibraryError: Its format needs a library that is not installed.
    """

    def __init__(self, path: Path, data: Data) -> None:
        self.file = path
        if path.is_dir():
            raise DatasetError(f"{path}: a folder; name one scan in it.")
        if not path.is_file():
            raise DatasetError(f"{path}: no such file; name one scan.")
        if kind_of(path.name) is None:
            raise DatasetError(f"{path}: its ending is none of a scan's ({', '.join(READERS)}).")
        super().__init__(
            path.parent,
            "all",
            min_range=data.min_range,
            columns=data.columns,
            intensity_scale=data.intensity_scale,
            sensor_origin=data.sensor_origin,
        )

    def find_frames(self) -> NDArray[np.bytes_]:
        """The one file, after a look at what it holds."""
        self._detect([self.file.name])
        return np.array([self.file.name.encode()], np.bytes_)


def read_one_scan(path: Path, data: Data) -> Scan:
    """Read one file; `OneScan` has the arguments and the errors."""
    return OneScan(path, data)[0]

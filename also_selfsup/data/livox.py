"""Where Livox's simu-dataset is opened: one file of points a frame, with columns that a setting names.

n points of one scan, F frames of the split.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError, LidarDataset
from also_selfsup.data.formats import Points
from also_selfsup.data.frame_lists import every_nth
from also_selfsup.data.named_columns import BINARY, TEXT, USED_COLUMNS, read_named_columns

OWN_COLUMNS = ("x", "y", "z", "intensity", "label")
VALIDATION_SHARE = 10  # the last n-th part of the frames


class LivoxSimu(LidarDataset):
    """Simulated scans of Livox's simu-dataset; its point classes are not used.

    Layout: files of points anywhere below `<root>/points`, or below the root where there is no such folder:
    `.txt` and `.csv` with one point a line, values parted by blanks or commas, or `.bin` of float32. What the
    columns mean is not certain, so it is a setting. There is no official split: `val` is the last tenth of
    the frames in the order of their paths, `train` all others. `skip_ratio` keeps every n-th of them.

    Args:
        root: See `LidarDataset`, as for all arguments but the last.
        split: See `splits`.
        labels: Not possible here.
        skip_ratio: See above.
        on_bad_scan: See `LidarDataset`.
        min_range: See `LidarDataset`.
        intensity_scale: See `LidarDataset`; 255 by default.
        columns: Names of a point's values in the files, in order, x, y and z among them; None: x, y, z,
            intensity, label. Without `intensity` all intensities are 0. Other names are passed over.
    """

    splits = ("train", "val", "all")
    options = ("intensity_scale", "columns")
    own_intensity_scale = 255.0
    source = "Fetch the simu-dataset (https://www.livoxtech.com/simu-dataset) and unpack it there"

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
        columns: Sequence[str] | None = None,
    ) -> None:
        self.column_names = tuple(OWN_COLUMNS if columns is None else columns)
        shown = f"cfg.data.columns=[{','.join(self.column_names)}]"
        used = [name for name in self.column_names if name in USED_COLUMNS]
        if not {"x", "y", "z"} <= set(used) or len(used) != len(set(used)):
            raise DatasetError(f"{shown}: x, y and z must be among them, and nothing twice.")
        super().__init__(
            root,
            split,
            labels=labels,
            skip_ratio=skip_ratio,
            on_bad_scan=on_bad_scan,
            min_range=min_range,
            intensity_scale=intensity_scale,
        )

    def find_frames(self) -> NDArray[np.bytes_]:
        """List the files of points of the split, in the order of their paths."""
        folder = self.root / "points" if (self.root / "points").is_dir() else self.root
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*TEXT, *BINARY))
        if not paths:
            raise DatasetError(
                f"{folder}: no file of points ({', '.join((*TEXT, *BINARY))}). "
                f"{self.source}, or set cfg.dataset_root."
            )
        names = [path.relative_to(self.root).as_posix() for path in paths]
        border = len(names) - -(-len(names) // VALIDATION_SHARE)
        chosen = {"train": names[:border], "val": names[border:], "all": names}[self.split]
        if not chosen:
            raise DatasetError(f"{folder}: one file alone is no split train; take all, or fetch the others.")
        return every_nth(chosen, self.skip_ratio)

    def read_file(self, path: Path) -> Points:
        """Read positions (n, 3) and intensities (n, 1) by the names of the columns.

        Raises:
            ScanError: The file is missing, no such file, or has another number of columns.
        """
        return read_named_columns(path, self.column_names)

"""Where a file of points becomes arrays by names of its columns: text with a point a line, or float32.

n points of one scan, k values of each.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import Points, ScanError, check_length, check_points, read_bytes

TEXT, BINARY = (".txt", ".csv"), (".bin",)
USED_COLUMNS = ("x", "y", "z", "intensity")


def read_named_columns(path: Path, names: Sequence[str]) -> Points:
    """Read a text (`.txt`, `.csv`; blanks or commas between values) or binary (float32) file of points.

    Args:
        path: The file; its ending says which of the two.
        names: What the k values of a point are; x, y and z must be among them.

    Returns:
        Positions (n, 3), metres, and intensities (n, 1) as they stand there; 0 where no column is one.

    Raises:
        ScanError: The file is missing, has another number of columns, or is no file of points.
    """
    text = path.suffix.lower() in TEXT
    values = _text_values(path, count=len(names)) if text else _binary_values(path, count=len(names))
    points = np.zeros((len(values), 4), np.float32)
    for column, name in enumerate(USED_COLUMNS):
        if name in names:
            points[:, column] = values[:, names.index(name)]
    check_points(path, points)
    return points[:, :3], points[:, 3:]


def _binary_values(path: Path, *, count: int) -> NDArray[np.float32]:
    data = read_bytes(path)
    check_length(path, len(data), record=4 * count)
    return np.frombuffer(data, "<f4").reshape(-1, count).astype(np.float32, copy=False)


def _text_values(path: Path, *, count: int) -> NDArray[np.float32]:
    data = read_bytes(path)
    if not data.strip():
        raise ScanError(path, "the file is empty", "Fetch it again")
    try:
        # Through bytes: a text of another encoding then fails as numbers, which is what it is not.
        values = np.loadtxt(io.BytesIO(data.replace(b",", b" ")), np.float32, ndmin=2)
    except ValueError as error:
        raise ScanError(path, f"it is no table of numbers ({error})", "A line should be one point") from None
    if values.shape[1] != count:
        finding = f"{values.shape[1]} values a line, where {count} are expected"
        raise ScanError(path, finding, "Name the columns of the files in cfg.data.columns")
    return values

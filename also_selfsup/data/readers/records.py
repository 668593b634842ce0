"""Raw files: float32 numbers without a header, k of them a point, and how k is found.

n points of one scan.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import LARGEST_COORDINATE, check_length
from also_selfsup.data.readers.points import LEAST_REACH
from also_selfsup.data.readers.table import Table, read_small

# Numbers of columns to look for; where two fit alike, the one that stands first.
WIDTHS = (4, 5, 3, 6, 7, 8, 9, 10)
# What a wrong number of columns costs in mean logarithmic spread: 0.4 to 1.9 on scans of five sensors.
CLEAR = 0.15


def read_records(path: Path) -> Table:
    """Read a file of float32 numbers as one column, for `split_records`.

    Raises:
        ScanError: The file is missing, empty, or no whole number of float32 numbers.
    """
    data = read_small(path)
    check_length(path, len(data), record=4, of="values")
    return Table((np.frombuffer(data, "<f4"),))


def split_records(path: Path, table: Table, *, width: int) -> Table:
    """The columns (n,) of a raw file with `width` numbers a point.

    Raises:
        ScanError: The file has no whole number of points.
    """
    (values,) = table.columns
    check_length(path, 4 * len(values), record=4 * width)
    return Table(tuple(values.reshape(-1, width).T))


def likely_width(values: NDArray[np.float32]) -> int | None:
    """Find how many numbers a point has, by how distinct the columns are; None if no number is plausible.

    Cut at the right length, each column has a spread of its own, some of them small (height, intensity). Cut
    wrongly, all columns are the same mixture, and the mean logarithm of their spreads is larger, as a
    logarithm is concave. The order of the points does not matter.

    Args:
        values: All numbers of a file.
    """
    spreads = {}
    for width in WIDTHS:
        if len(values) % width == 0:
            points = values.reshape(-1, width)
            if plausible(points):
                deviation = np.minimum(points.std(axis=0, dtype=np.float64), LARGEST_COORDINATE)
                spreads[width] = float(np.log(deviation + 1e-3).mean())
    least = min(spreads.values(), default=0.0)
    return next((width for width, spread in spreads.items() if spread < least + CLEAR), None)


def plausible(points: NDArray[np.float32]) -> bool:
    """Whether rows (n, 3 or more) may begin with x, y, z of a scan in metres."""
    largest = np.abs(points[:, :3]).max(initial=0)
    return bool(LEAST_REACH < largest <= LARGEST_COORDINATE and np.isfinite(points).all())

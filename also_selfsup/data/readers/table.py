"""What a scan file holds before anyone says which of its columns is what, and the limits all readers share.

n points of one scan.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import ScanError, read_bytes

# No turn of a lidar has more: a file that says so is damaged, or no scan. They bound the memory of a reader.
MOST_POINTS = 20_000_000
MOST_BYTES = 2**30
MOST_TEXT = 2**28  # numbers take more room than their text

DAMAGED = "The file is damaged or of another format: fetch it again"


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a file.

    Attributes:
        columns: Each (n,), of any numeric type.
        names: The file's own name of each; None where the format has none.
        origin: Where the file says that the sensor was, metres; None where it says nothing.
    """

    columns: tuple[NDArray[Any], ...]
    names: tuple[str, ...] | None = None
    origin: tuple[float, float, float] | None = None


def named(columns: Mapping[str, NDArray[Any]], **more: Any) -> Table:
    """A table of columns with names."""
    return Table(tuple(columns.values()), tuple(columns), **more)


def structured(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Columns of a structured array (n,) by name; fields of several values are left out."""
    fields = rows.dtype.names or ()
    return {name: rows[name] for name in fields if rows.dtype[name].shape == ()}


def read_small(path: Path) -> bytes:
    """Read a file that may be a scan by its size.

    Raises:
        ScanError: It is missing, empty, larger than any scan, or a Git LFS pointer.
    """
    if path.is_file() and (size := path.stat().st_size) > MOST_BYTES:
        finding = f"{size} bytes are more than a scan has (limit {MOST_BYTES})"
        raise ScanError(path, finding, "It is no single scan: leave it out, or split it")
    data = read_bytes(path)
    if not data:
        raise ScanError(path, "the file is empty", "Fetch it again")
    return data


def check_count(path: Path, count: int) -> int:
    """Answer the number of points that a header gives, if a scan may have so many.

    Raises:
        ScanError: It is 0, negative, or more than any scan has.
    """
    if not 0 < count <= MOST_POINTS:
        raise ScanError(path, f"its header counts {count} points (1 to {MOST_POINTS} are possible)", DAMAGED)
    return count


def check_size(path: Path, found: int, *, needed: int) -> None:
    """Compare the bytes that are there with those that a header asks for, before anything is allocated.

    Raises:
        ScanError: There are fewer.
    """
    if found < needed:
        finding = f"its header asks for {needed} bytes of points, {found} are there"
        raise ScanError(path, finding, "The file is cut short: fetch it again")


def text_numbers(path: Path, data: bytes, *, rows: int, columns: int) -> NDArray[np.float64]:
    """Read numbers (rows, columns) written as text, in row order.

    Raises:
        ScanError: There are fewer, or something that is no number, or more text than any scan has.
    """
    if len(data) > MOST_TEXT:
        finding = f"{len(data)} bytes of text are more than a scan has (limit {MOST_TEXT})"
        raise ScanError(path, finding, "Write it as binary, or leave it out")
    # A number and what parts it from the next take two bytes at least.
    check_size(path, len(data) + 1, needed=2 * rows * columns)
    try:
        with warnings.catch_warnings():
            # Some releases of numpy only warn of what is no number, and answer what comes before it.
            warnings.simplefilter("error", DeprecationWarning)
            numbers = np.fromstring(data, np.float64, sep=" ")[: rows * columns]
    except (ValueError, DeprecationWarning) as error:
        raise ScanError(path, f"its points are not all numbers, or too few ({error})", DAMAGED) from None
    if len(numbers) < rows * columns:
        finding = f"{len(numbers)} numbers, {rows} points of {columns} need {rows * columns}"
        raise ScanError(path, finding, "The file is cut short: fetch it again")
    return numbers.reshape(rows, columns)

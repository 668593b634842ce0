"""LAS and LAZ files, by laspy.

What laspy would take from the header without asking is compared with the file's length first: the number of
points and of records, by the tables of the ASPRS specification (1.0 to 1.4). n points of one scan.
"""

import io
import struct
from pathlib import Path
from typing import Any

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.table import DAMAGED, Table, check_count, check_size, named, read_small
from also_selfsup.settings.names import MissingLibraryError

SIGNATURE = b"LASF"
SHORTEST_HEADER = 227
COMPRESSED = 0x80  # bit of the point format in LAZ files
VLR_BYTES, EVLR_BYTES = 54, 60  # of the shortest record


def read_las(path: Path) -> Table:
    """Read a `.las` or `.laz` file: x, y, z, metres, and intensity.

    Raises:
        ScanError: The file is missing or not such a file.
        MissingLibraryError: laspy, or for `.laz` lazrs, is not installed.
    """
    data = read_small(path)
    try:
        _check_header(path, data)
    except struct.error:
        raise ScanError(path, f"{len(data)} bytes are no LAS file", DAMAGED) from None
    laspy = _library(path)
    try:
        points: Any = laspy.read(io.BytesIO(data))
        return named(
            {"x": points.x, "y": points.y, "z": points.z, "intensity": points.intensity},
        )
    except (ValueError, TypeError, IndexError, KeyError, struct.error, OSError, RuntimeError) as error:
        raise ScanError(path, f"laspy cannot read it ({error})", DAMAGED) from None
    except laspy.errors.LaspyException as error:
        raise ScanError(path, f"laspy cannot read it ({error})", DAMAGED) from None


def _check_header(path: Path, data: bytes) -> None:
    if not data.startswith(SIGNATURE):
        raise ScanError(path, "it does not begin with LASF", DAMAGED)
    (minor,) = struct.unpack_from("<B", data, 25)
    size, start, records, kind, length, count = struct.unpack_from("<HIIBHI", data, 94)
    check_size(path, len(data), needed=max(size, start, SHORTEST_HEADER) + VLR_BYTES * records)
    if minor >= 4 and size >= 375:
        extended_start, extended, count = struct.unpack_from("<QIQ", data, 235)
        check_size(path, len(data), needed=extended_start + EVLR_BYTES * extended)
    check_count(path, count)
    if not kind & COMPRESSED:
        check_size(path, len(data) - start, needed=count * length)


def _library(path: Path) -> Any:
    try:
        import laspy
        import lazrs
    except ImportError as error:
        raise MissingLibraryError(
            f"{path}: LAS files need laspy and lazrs ({error}): pip install 'also-selfsup[formats]'."
        ) from None
    del lazrs  # laspy finds it by itself; asked for here so that its absence has our message
    return laspy

"""Arrays of numpy, in `.npy` files and, zipped, in `.npz` files; objects and what else may run are refused.

Headers are checked against the length of the data before anything is allocated. n points of one scan.
"""

import io
import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.table import (
    DAMAGED,
    MOST_BYTES,
    Table,
    check_size,
    named,
    read_small,
    structured,
)

MOST_MEMBERS = 100
ARRAY_FORMAT: Any = np.lib.format  # which has types in some releases of numpy only
# Besides these, zipfile meets damage as an encryption or a compression that it does not know.
ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError),
    *(EOFError, OSError, ValueError, LookupError, struct.error),
)
# What numpy's parser of headers, which takes them for a literal of Python, answers to what is none.
HEADER_ERRORS = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(SyntaxError, TokenError, RecursionError, MemoryError),
)
# Names that an archive may give to the array with all columns, or with x, y, z.
POINT_NAMES = ("points", "point_cloud", "pointcloud", "pos", "xyz", "pc", "data", "arr_0")


def read_npy(path: Path) -> Table:
    """Read a `.npy` file: (n, k) with k columns, or (n,) with named fields.

    Raises:
        ScanError: The file is missing or not such a file.
    """
    return _table(path, _array(path, read_small(path)))


def read_npz(path: Path) -> Table:
    """Read a `.npz` file: one array of points, alone or beside arrays (n,) with names; or such arrays only.

    Raises:
        ScanError: The file is missing or not such a file.
    """
    arrays = _members(path, read_small(path))
    flat = {name: values.reshape(-1) for name, values in arrays.items() if _is_flat(values)}
    if {"x", "y", "z"} <= {name.lower() for name in flat}:
        count = len(next(values for name, values in flat.items() if name.lower() == "x"))
        return named({name: values for name, values in flat.items() if len(values) == count})
    tables = {name: values for name, values in arrays.items() if name not in flat or values.dtype.names}
    known = [name for name in POINT_NAMES if name in tables] or list(tables)
    if not known or (len(tables) > 1 and known[0] not in POINT_NAMES):
        finding = f"which of its arrays holds the points is not clear: {', '.join(arrays)}"
        raise ScanError(path, finding, f"Call it {POINT_NAMES[0]}, or give arrays x, y and z")
    table = _table(path, tables[known[0]])
    beside = {name: values for name, values in flat.items() if len(values) == len(table.columns[0])}
    if table.names is None and len(table.columns) == 3 and beside:
        return named({**dict(zip("xyz", table.columns, strict=True)), **beside})
    return table


def _is_flat(values: NDArray[Any]) -> bool:
    return max(values.shape, default=1) == values.size


def _table(path: Path, values: NDArray[Any]) -> Table:
    if values.dtype.names:
        return named(structured(values.reshape(-1)))
    if values.ndim < 2 or values.dtype.kind not in "fiu" or not 3 <= values.shape[-1] <= 64:
        finding = f"an array of {values.dtype} and shape {values.shape} is no scan"
        raise ScanError(path, finding, "It should be numbers of shape (points, 3 or more columns)")
    return Table(tuple(values.reshape(-1, values.shape[-1]).T))


def _members(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS or sum(member.file_size for member in members) > MOST_BYTES:
                finding = f"{len(members)} arrays are more, or larger, than a scan has"
                raise ScanError(path, finding, DAMAGED)
            # A member that holds more than it promises is cut at what it promised.
            contents = {
                member.filename.removesuffix(".npy"): archive.open(member).read(member.file_size)
                for member in members
            }
    except ARCHIVE_ERRORS as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(path, f"it is no sound archive ({error})", DAMAGED) from None
    return {name: _array(path, content) for name, content in contents.items()}


def _array(path: Path, data: bytes) -> NDArray[Any]:
    file = io.BytesIO(data)
    try:
        version = ARRAY_FORMAT.read_magic(file)
        read = ARRAY_FORMAT.read_array_header_1_0 if version == (1, 0) else _long_header
        shape, by_columns, dtype = read(file)
    except HEADER_ERRORS as error:
        raise ScanError(path, f"its header is none of an array ({error})", DAMAGED) from None
    if dtype.hasobject or not dtype.itemsize or min(shape, default=1) < 1:
        finding = f"an array of {dtype} and shape {shape} is no scan"
        raise ScanError(path, finding, "It should hold numbers, not objects: save it anew")
    start = file.tell()
    count = math.prod(shape)
    check_size(path, len(data) - start, needed=count * dtype.itemsize)
    values = np.frombuffer(data, dtype, count, start)
    return values.reshape(shape, order="F" if by_columns else "C")


def _long_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Versions 2 and 3, which differ in the encoding of the names of fields only."""
    shape, by_columns, dtype = ARRAY_FORMAT.read_array_header_2_0(file)
    return shape, by_columns, dtype

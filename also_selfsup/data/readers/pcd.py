"""Point Cloud Library's PCD files: text, binary and binary_compressed.

The header is a few lines of text and is checked against the file's length before anything is allocated.
Written here because readers to install either need a compiler or trust the header. n points of one scan.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.lzf import expand
from also_selfsup.data.readers.table import (
    DAMAGED,
    Table,
    check_count,
    check_size,
    named,
    read_small,
    structured,
    text_numbers,
)

LONGEST_HEADER = 64 * 1024
MOST_FIELDS = 1024
SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
LARGEST_EXPANSION = 88  # a copy of LZF makes 264 bytes of 3


@dataclass(frozen=True)
class Header:
    """What is written before the points."""

    dtype: np.dtype[Any]  # a point
    count: int
    kind: str  # ascii, binary or binary_compressed
    start: int  # of the points, bytes
    origin: tuple[float, float, float]


def read_pcd(path: Path) -> Table:
    """Read a `.pcd` file.

    Raises:
        ScanError: The file is missing or not such a file.
    """
    data = read_small(path)
    try:
        header = read_header(path, data)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(path, f"its header is none of a PCD file ({error})", DAMAGED) from None
    readers = {"ascii": _text, "binary": _binary, "binary_compressed": _compressed}
    columns = readers[header.kind](path, data[header.start :], header=header)
    return named(columns, origin=header.origin)


def read_header(path: Path, data: bytes) -> Header:
    """Read the lines before the points.

    Raises:
        ScanError: They ask for impossible points.
        ValueError, IndexError, KeyError: They are no such lines.
    """
    values: dict[str, list[str]] = {}
    place = 0
    while "DATA" not in values:
        end = data.index(b"\n", place, LONGEST_HEADER)
        words = data[place:end].decode("ascii").split()
        place = end + 1
        if words and not words[0].startswith("#"):
            values[words[0]] = words[1:]
    count = int(values["WIDTH"][0]) * int(values["HEIGHT"][0])
    if "POINTS" in values and int(values["POINTS"][0]) != count:
        raise ValueError(f"{values['POINTS'][0]} points are no {count}")
    (kind,) = values["DATA"]
    if kind not in ("ascii", "binary", "binary_compressed"):
        raise ValueError(f"DATA {kind}")
    x, y, z = (float(word) for word in values.get("VIEWPOINT", ["0"] * 3)[:3])
    if not math.isfinite(x + y + z):
        raise ValueError("VIEWPOINT is not finite")
    return Header(_point(values), check_count(path, count), kind=kind, start=place, origin=(x, y, z))


def _point(values: dict[str, list[str]]) -> np.dtype[Any]:
    names, sizes, types = values["FIELDS"], values["SIZE"], values["TYPE"]
    counts = values.get("COUNT", ["1"] * len(names))
    if not 0 < len(names) == len(sizes) == len(types) == len(counts) <= MOST_FIELDS:
        raise ValueError("FIELDS, SIZE, TYPE and COUNT differ in length")
    fields = []
    for number, (name, size, kind, count) in enumerate(zip(names, sizes, types, counts, strict=True)):
        if int(size) not in SIZES[kind] or not 0 < int(count) <= MOST_FIELDS:
            raise ValueError(f"{name} is of type {kind}, size {size}, {count} times")
        # Padding is called "_", and other names may recur too: the first one counts.
        unique = name if name not in names[:number] else f"{name}#{number}"
        shape = () if int(count) == 1 else (int(count),)
        fields.append((unique, f"<{kind.lower()}{size}", shape))
    return np.dtype(fields)


def _text(path: Path, data: bytes, *, header: Header) -> dict[str, NDArray[Any]]:
    widths = [math.prod(header.dtype[name].shape) for name in header.dtype.names or ()]
    numbers = text_numbers(path, data, rows=header.count, columns=sum(widths))
    starts = np.cumsum([0, *widths[:-1]]).tolist()
    fields = zip(header.dtype.names or (), starts, widths, strict=True)
    return {name: numbers[:, start] for name, start, width in fields if width == 1}


def _binary(path: Path, data: bytes, *, header: Header) -> dict[str, NDArray[Any]]:
    check_size(path, len(data), needed=header.count * header.dtype.itemsize)
    return structured(np.frombuffer(data, header.dtype, header.count))


def _compressed(path: Path, data: bytes, *, header: Header) -> dict[str, NDArray[Any]]:
    """All values of a field come together, in the order of the fields."""
    check_size(path, len(data), needed=8)
    packed, size = (int(number) for number in np.frombuffer(data, "<u4", 2))
    check_size(path, len(data) - 8, needed=packed)
    needed = header.count * header.dtype.itemsize
    if size != needed or size > LARGEST_EXPANSION * packed:
        finding = f"{packed} compressed bytes for {size}, the points need {needed}"
        raise ScanError(path, finding, DAMAGED)
    try:
        values = expand(data[8 : 8 + packed], size=size)
    except ValueError as error:
        raise ScanError(path, f"its points do not decompress: {error}", DAMAGED) from None
    columns, place = {}, 0
    for name in header.dtype.names or ():
        kind = header.dtype[name]
        if kind.shape == ():
            columns[name] = np.frombuffer(values, kind, header.count, place)
        place += header.count * kind.itemsize
    return columns

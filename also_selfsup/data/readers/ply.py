"""PLY files: text and binary of either byte order, of which the vertices are the points.

The header is a few lines of text and is checked against the file's length before anything is allocated.
n points of one scan.
"""

from pathlib import Path
from typing import Any

import numpy as np

from also_selfsup.data.formats import ScanError
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
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}


def read_ply(path: Path) -> Table:
    """Read a `.ply` file; what follows its vertices (faces) is passed over.

    Raises:
        ScanError: The file is missing or not such a file, or its vertices are not its first element.
    """
    data = read_small(path)
    try:
        order, count, fields, start = _header(data)
        point = np.dtype([(name, (order or "<") + kind) for name, kind in fields])
    except (ValueError, IndexError, KeyError) as error:
        raise ScanError(path, f"its header is none of a PLY file of points ({error})", DAMAGED) from None
    check_count(path, count)
    if not order:
        numbers = text_numbers(path, data[start:], rows=count, columns=len(fields))
        return named({name: numbers[:, column] for column, (name, _) in enumerate(fields)})
    check_size(path, len(data) - start, needed=count * point.itemsize)
    return named(structured(np.frombuffer(data, point, count, start)))


def _header(data: bytes) -> tuple[str, int, list[tuple[str, str]], int]:
    """Byte order ("": text), number of vertices, their fields, and where they begin."""
    end = data.index(b"end_header", 0, LONGEST_HEADER)
    start = data.index(b"\n", end) + 1
    lines = [line.split() for line in data[:end].decode("ascii", "replace").splitlines()]
    if lines[0] != ["ply"]:
        raise ValueError("it does not begin with ply")
    order, element, count = None, 0, 0
    fields: list[tuple[str, str]] = []
    for word, *rest in (line for line in lines[1:] if line):
        if word == "format":
            order = ORDERS[rest[0]]
        elif word == "element":
            element += 1
            if element == 1:
                count = _vertices(rest)
        elif word == "property" and element == 1:
            kind, name = rest  # a list has more words
            fields.append((name, TYPES[kind]))
    if order is None or not fields:
        raise ValueError("no format, or no vertices")
    return order, count, fields, start


def _vertices(words: list[Any]) -> int:
    name, count = words
    if name != "vertex":
        raise ValueError(f"its first element is {name}, not vertex")
    return int(count)

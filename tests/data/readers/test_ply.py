"""PLY files written by struct come back, text and both byte orders; faces are passed over, damage is not."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.ply import read_ply

Put = Callable[[str, bytes], Path]
HEADER = """ply
format {order} 1.0
comment by hand
element vertex {count}
property float x
property float32 y
property double z
property uchar {strength}
element face 1
property list uchar int vertex_indices
end_header
"""
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def ply(points: np.ndarray, order: str, *, count: int | None = None, strength: str = "intensity") -> bytes:
    header = HEADER.format(order=order, count=len(points) if count is None else count, strength=strength)
    sign = ORDERS[order]
    if not sign:
        lines = [f"{x!r} {y!r} {z!r} {int(i)}" for x, y, z, i in points.tolist()]
        return (header + "\n".join([*lines, "3 0 1 2"]) + "\n").encode()
    rows = [struct.pack(f"{sign}ffdB", x, y, z, int(i)) for x, y, z, i in points.tolist()]
    return header.encode() + b"".join(rows) + struct.pack(f"{sign}B3i", 3, 0, 1, 2)


@pytest.mark.parametrize("order", ORDERS)
def test_points_come_back_as_written(put: Put, points: np.ndarray, order: str) -> None:
    points[7, :3] = np.nan
    table = read_ply(put("a.ply", ply(points, order)))
    assert table.names == ("x", "y", "z", "intensity")
    for column in range(4):
        np.testing.assert_array_equal(table.columns[column].astype(np.float32), points[:, column])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [10**6, 10**25, 0, -1])
def test_counts_are_compared_with_the_file(put: Put, points: np.ndarray, order: str, count: int) -> None:
    with pytest.raises(ScanError, match="a.ply: .*(points|numbers)"):
        read_ply(put("a.ply", ply(points, order, count=count)))


@pytest.mark.parametrize("order", ORDERS)
def test_cut_files_are_refused(put: Put, points: np.ndarray, order: str) -> None:
    whole = ply(points, order)
    for length in (3, 40, len(whole) // 2, len(whole) - 60):
        with pytest.raises(ScanError, match="a.ply: .*fetch it again"):
            read_ply(put("a.ply", whole[:length]))


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("ply\n", "plx\n"),
        ("format ascii", "format utf8"),
        ("element vertex", "element face"),
        ("element vertex 200", "element vertex"),
        ("property float x", "property list uchar float x"),
        ("property float x", "property quad x"),
        ("property double z", "property double x"),
    ],
)
def test_odd_headers_are_refused(put: Put, points: np.ndarray, line: str, instead: str) -> None:
    text = ply(points, "ascii").decode()
    assert line in text
    with pytest.raises(ScanError, match="header is none of a PLY"):
        read_ply(put("a.ply", text.replace(line, instead, 1).encode()))


def test_words_between_numbers_are_refused(put: Put, points: np.ndarray) -> None:
    data = ply(points, "ascii").replace(b"\n3 0 1 2", b"").rsplit(b" ", 30)
    with pytest.raises(ScanError, match="a.ply: its points are not all numbers"):
        read_ply(put("a.ply", b" ".join([data[0], b"none", *data[2:]])))

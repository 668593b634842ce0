"""PCD files written by struct come back in all three encodings; false promises and damage are refused."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.lzf import expand
from also_selfsup.data.readers.pcd import read_pcd

Put = Callable[[str, bytes], Path]
HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z _ intensity ring t
SIZE 4 4 4 1 4 2 8
TYPE F F F U F U F
COUNT 1 1 1 4 1 1 1
WIDTH {width}
HEIGHT {height}
VIEWPOINT 0.5 0 1.75 1 0 0 0
POINTS {points}
DATA {data}
"""


def header(points: np.ndarray, data: str) -> bytes:
    return HEADER.format(width=len(points) // 2, height=2, points=len(points), data=data).encode()


def binary(points: np.ndarray) -> bytes:
    """A point after the other: three floats, four bytes of padding, a float, a short, a double."""
    return b"".join(
        struct.pack("<fff4sfHd", x, y, z, b"\xff" * 4, i, number, number / 7)
        for number, (x, y, z, i) in enumerate(points.tolist())
    )


def by_fields(points: np.ndarray) -> bytes:
    """All x, then all y, and so on."""
    count = len(points)
    parts = [points[:, column].tobytes() for column in (0, 1, 2)] + [b"\xff" * (4 * count)]
    parts += [
        points[:, 3].tobytes(),
        struct.pack(f"<{count}H", *range(count)),
        struct.pack(f"<{count}d", *(number / 7 for number in range(count))),
    ]
    return b"".join(parts)


def compress(data: bytes) -> bytes:
    """LZF, greedily: the last place where three bytes occurred is copied from."""
    out, literals, seen, place = bytearray(), bytearray(), {}, 0

    def flush() -> None:
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            out.extend([len(run) - 1, *run])
        literals.clear()

    while place < len(data):
        key = data[place : place + 3]
        start = seen.get(key, -1)
        seen[key] = place
        if len(key) == 3 and start >= 0 and place - start <= 8192:
            length = 3
            while length < 264 and data[place + length : place + length + 1] == data[start + length :][:1]:
                if place + length >= len(data):
                    break
                length += 1
            flush()
            back, more = place - start - 1, length - 2
            if more < 7:
                out.extend([more << 5 | back >> 8, back & 0xFF])
            else:
                out.extend([7 << 5 | back >> 8, more - 7, back & 0xFF])
            place += length
        else:
            literals.append(data[place])
            place += 1
    flush()
    return bytes(out)


def compressed(points: np.ndarray) -> bytes:
    data = by_fields(points)
    packed = compress(data)
    return struct.pack("<II", len(packed), len(data)) + packed


def text(points: np.ndarray) -> bytes:
    rows = (f"{x!r} {y!r} {z!r} 255 255 255 255 {i} {n} {n / 7!r}" for n, (x, y, z, i) in rows_of(points))
    return "\n".join(rows).encode() + b"\n"


def rows_of(points: np.ndarray) -> list[tuple[int, list[float]]]:
    return list(enumerate(points.tolist()))


BODIES = {"ascii": text, "binary": binary, "binary_compressed": compressed}


@pytest.mark.parametrize("data", BODIES)
def test_points_come_back_as_written(put: Put, points: np.ndarray, data: str) -> None:
    points[5, :3] = np.nan
    table = read_pcd(put("a.pcd", header(points, data) + BODIES[data](points)))
    columns = dict(zip(table.names, table.columns, strict=True))
    assert set(columns) == {"x", "y", "z", "intensity", "ring", "t"}
    for column, name in enumerate(("x", "y", "z", "intensity")):
        np.testing.assert_array_equal(columns[name].astype(np.float32), points[:, column])
    np.testing.assert_array_equal(columns["ring"], np.arange(200))
    np.testing.assert_allclose(columns["t"], np.arange(200) / 7, rtol=1e-12)
    assert table.origin == (0.5, 0, 1.75)


@pytest.mark.parametrize("data", BODIES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_cut_files_are_refused(put: Put, points: np.ndarray, data: str, share: float) -> None:
    body = BODIES[data](points)
    path = put("a.pcd", header(points, data) + body[: int(share * len(body))])
    with pytest.raises(ScanError, match="a.pcd: .*(cut short|too few|damaged)"):
        read_pcd(path)


@pytest.mark.parametrize("data", BODIES)
@pytest.mark.parametrize("count", [10**6, 10**10, 10**30, 0, -2])
def test_counts_are_compared_with_the_file(put: Put, points: np.ndarray, data: str, count: int) -> None:
    promise = HEADER.format(width=count, height=1, points=count, data=data).encode()
    with pytest.raises(ScanError, match="a.pcd: .*(points|compressed bytes|bytes of points)"):
        read_pcd(put("a.pcd", promise + BODIES[data](points)))


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("FIELDS x y z _ intensity ring t", "FIELDS x y z"),
        ("TYPE F F F U F U F", "TYPE F F F U F U Q"),
        ("SIZE 4 4 4 1 4 2 8", "SIZE 4 4 4 1 4 2 3"),
        ("COUNT 1 1 1 4 1 1 1", "COUNT 1 1 1 99999999999 1 1 1"),
        ("WIDTH 100", "WIDTH many"),
        ("VIEWPOINT 0.5", "VIEWPOINT nan"),
        ("DATA binary", "DATA zipped"),
        ("DATA binary", "NOTHING"),
        ("POINTS 200", "POINTS 7"),
    ],
)
def test_odd_headers_are_refused(put: Put, points: np.ndarray, line: str, instead: str) -> None:
    data = header(points, "binary").decode()
    assert line in data
    with pytest.raises(ScanError, match="a.pcd: .*fetch it again"):
        read_pcd(put("a.pcd", data.replace(line, instead).encode() + binary(points)))


def test_lzf_by_hand() -> None:
    assert expand(b"\x00a\xe0\x05\x00", size=15) == b"a" * 15
    assert expand(b"\x02abc\x20\x02", size=6) == b"abcabc"
    assert expand(b"\x01ab\x40\x01", size=6) == b"ababab"
    for packed in (b"\x00a\x20\x01", b"\x00a\xe0", b"\x00a\x20", b"\x05ab", b"\x00ab"):
        with pytest.raises(ValueError):
            expand(packed, size=4)


def test_lzf_round_trip_of_repetitive_data() -> None:
    numbers = np.random.default_rng(1)
    for alphabet in (1, 2, 5, 256):
        data = numbers.integers(0, alphabet, 5000).astype(np.uint8).tobytes()
        packed = compress(data)
        assert alphabet == 256 or len(packed) < len(data)
        assert expand(packed, size=len(data)) == data
        with pytest.raises(ValueError):
            expand(packed, size=len(data) - 1)

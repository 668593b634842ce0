"""Whatever the bytes, a reader answers columns of equal length or a ScanError, in little memory."""

import io
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers import READERS
from also_selfsup.settings.names import MissingLibraryError

NUMBERS = st.sampled_from(["0", "1", "7", "-1", "4294967295", "99999999999999999999", "nan", "x", "1 2", ""])
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROOM = 3 * 2**30


@pytest.fixture(scope="module", autouse=True)
def little_memory() -> Iterator[None]:
    """Only a few gigabytes more than now may be asked for: a reader that believes a header fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def is_read_or_refused(folder: Path, kind: str, data: bytes) -> bool:
    """Whether the reader answers columns of equal length, or an error that names the file."""
    path = folder / f"any{kind}"
    path.write_bytes(data)
    try:
        table = READERS[kind](path)
    except MissingLibraryError:
        pytest.skip("library not installed")
    except ScanError as error:
        return str(path) in str(error)
    named = table.names is None or len(table.names) == len(table.columns)
    return named and len({len(column) for column in table.columns}) == 1


def valid(kind: str) -> bytes:
    """A small sound file of a kind, to be damaged."""
    rows = np.arange(1, 41, dtype="<f4").reshape(10, 4)
    if kind in (".npy", ".npz"):
        file = io.BytesIO()
        (np.save if kind == ".npy" else np.savez)(file, rows)
        return file.getvalue()
    if kind in (".las", ".laz"):
        header = b"LASF" + b"\0" * 20 + b"\1\2" + b"\0" * 64
        header += struct.pack("<HHHIIBHI5I", 1, 2026, 227, 227, 0, 0, 20, 10, *[0] * 5)
        return header + struct.pack("<12d", *[0.001] * 3, *[0.0] * 9) + bytes(200)
    if kind == ".feather":
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import feather

        file = io.BytesIO()
        feather.write_feather(arrow.table({"x": rows[:, 0], "y": rows[:, 1]}), file)
        return file.getvalue()
    if kind == ".ply":
        text = "ply\nformat binary_little_endian 1.0\nelement vertex 10\n"
        text += "".join(f"property float {name}\n" for name in "xyzi") + "end_header\n"
        return text.encode() + rows.tobytes()
    if kind == ".pcd":
        text = "FIELDS x y z i\nSIZE 4 4 4 4\nTYPE F F F F\nWIDTH 10\nHEIGHT 1\nDATA binary\n"
        return text.encode() + rows.tobytes()
    return rows.tobytes()


@pytest.mark.parametrize("kind", READERS)
@QUICK
@given(data=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, kind: str, data: bytes) -> None:
    assert is_read_or_refused(tmp_path, kind, data)


@pytest.mark.parametrize("kind", READERS)
@QUICK
@given(data=st.data())
def test_damaged_files(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    whole = bytearray(valid(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff" * 8))
        whole[place : place + len(piece)] = piece
    assert is_read_or_refused(
        tmp_path, kind, bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) // 2]))])
    )


@QUICK
@given(
    width=NUMBERS, height=NUMBERS, points=NUMBERS, size=NUMBERS, count=NUMBERS,
    data=st.sampled_from(["ascii", "binary", "binary_compressed"]), body=st.binary(max_size=200),
)  # fmt: skip
def test_any_pcd_header(tmp_path: Path, data: str, body: bytes, **words: str) -> None:
    text = (
        f"FIELDS x y z\nSIZE 4 4 {words['size']}\nTYPE F F F\nCOUNT 1 1 {words['count']}\n"
        f"WIDTH {words['width']}\nHEIGHT {words['height']}\nPOINTS {words['points']}\nDATA {data}\n"
    )
    assert is_read_or_refused(tmp_path, ".pcd", text.encode() + body)


@QUICK
@given(
    count=NUMBERS,
    order=st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian", "x"]),
    kind=st.sampled_from(["float", "uchar", "list uchar int", "x"]),
    body=st.binary(max_size=200),
)
def test_any_ply_header(tmp_path: Path, count: str, order: str, kind: str, body: bytes) -> None:
    text = (
        f"ply\nformat {order} 1.0\nelement vertex {count}\nproperty float x\nproperty {kind} y\nend_header\n"
    )
    assert is_read_or_refused(tmp_path, ".ply", text.encode() + body)

"""Arrays in .npy and .npz files: all the shapes a scan may have; objects and false promises are refused."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.numpy_files import read_npy, read_npz

Put = Callable[[str, bytes], Path]


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def by_hand(header: str, body: bytes) -> bytes:
    """Version 1.0 by its specification: magic, length, text padded to 64 bytes."""
    text = header.encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def test_arrays_come_back(put: Put, points: np.ndarray) -> None:
    organised = points.reshape(20, 10, 4)
    for values in (points, points.astype(np.float64), np.asfortranarray(points), organised):
        table = read_npy(put("a.npy", npy(values)))
        assert table.names is None
        np.testing.assert_array_equal(np.stack(table.columns, 1), points)
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (200, 4), }"
    table = read_npy(put("a.npy", by_hand(header, points.tobytes())))
    np.testing.assert_array_equal(np.stack(table.columns, 1), points)


def test_fields_have_names(put: Put, points: np.ndarray) -> None:
    rows = np.zeros(200, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "u1"), ("more", "f4", 3)])
    for column, name in enumerate(("x", "y", "z", "intensity")):
        rows[name] = points[:, column]
    for table in (read_npy(put("a.npy", npy(rows))), read_npz(put("a.npz", npz(lidar=rows)))):
        assert table.names == ("x", "y", "z", "intensity")
        np.testing.assert_array_equal(np.stack(table.columns, 1), points)


def test_archives_of_several_shapes(put: Put, points: np.ndarray) -> None:
    strength, time = points[:, 3], np.array(12.5)
    one = read_npz(put("a.npz", npz(anything=points)))
    np.testing.assert_array_equal(np.stack(one.columns, 1), points)
    beside = read_npz(put("b.npz", npz(xyz=points[:, :3], remission=strength[:, None], time=time)))
    assert beside.names == ("x", "y", "z", "remission")
    np.testing.assert_array_equal(np.stack(beside.columns, 1), points)
    apart = read_npz(put("c.npz", npz(x=points[:, 0], y=points[:, 1], z=points[:, 2], i=strength)))
    assert apart.names == ("x", "y", "z", "i")
    known = read_npz(put("d.npz", npz(boxes=np.ones((5, 7)), points=points)))
    np.testing.assert_array_equal(np.stack(known.columns, 1), points)
    with pytest.raises(ScanError, match="which of its arrays.*boxes, cloud"):
        read_npz(put("e.npz", npz(boxes=np.ones((5, 7)), cloud=points)))


class Trap:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_objects_are_refused_and_never_made(put: Put, tmp_path: Path) -> None:
    trapped = np.array([Trap(tmp_path / "sprung")] * 3, object)
    file = io.BytesIO()
    np.save(file, trapped, allow_pickle=True)
    with pytest.raises(ScanError, match="holds? numbers, not objects|numbers, not objects"):
        read_npy(put("a.npy", file.getvalue()))
    file = io.BytesIO()
    np.savez(file, points=trapped)
    with pytest.raises(ScanError, match="numbers, not objects"):
        read_npz(put("a.npz", file.getvalue()))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999999999999, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
        "{'descr': '(99999999,)f4', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }",
        "{'descr': 'V0', 'fortran_order': False, 'shape': (10, 4), }",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (10, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (40,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        "{'descr': 'rabbit', 'fortran_order': False, 'shape': (10, 4), }",
        "__import__('os').abort()",
        "(" * 9000,
        "",
    ],
)
def test_headers_are_compared_with_the_data(put: Put, header: str) -> None:
    data = by_hand(header, bytes(range(160)) * 4)
    with pytest.raises(ScanError, match="a.npy: "):
        read_npy(put("a.npy", data))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("points.npy", data)
    with pytest.raises(ScanError, match="a.npz: "):
        read_npz(put("a.npz", file.getvalue()))


def test_bombs_and_cut_archives_are_refused(put: Put, points: np.ndarray) -> None:
    whole = npz(points=points)
    for length in (10, len(whole) // 2, len(whole) - 5):
        with pytest.raises(ScanError, match="a.npz: it is no sound archive"):
            read_npz(put("a.npz", whole[:length]))
    # The directory at the end promises two gigabytes for the member.
    place = whole.rindex(b"PK\x01\x02") + 24
    promise = whole[:place] + struct.pack("<I", 2**31) + whole[place + 4 :]
    with pytest.raises(ScanError, match="1 arrays are more, or larger"):
        read_npz(put("a.npz", promise))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(101):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(ScanError, match="101 arrays"):
        read_npz(put("a.npz", file.getvalue()))

"""LAS, LAZ and Feather: files by hand and by the libraries come back, and their absence is explained."""

import builtins
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.feather import read_feather
from also_selfsup.data.readers.las import read_las
from also_selfsup.settings.names import MissingLibraryError

Put = Callable[[str, bytes], Path]


def las(points: np.ndarray, *, count: int | None = None, records: int = 0, start: int = 227) -> bytes:
    """Version 1.2, point format 0, in millimetres, by the specification."""
    count = len(points) if count is None else count
    header = b"LASF" + struct.pack("<HHIHH8sBB", 0, 0, 0, 0, 0, b"", 1, 2) + b"\0" * 64
    header += struct.pack("<HHHIIBHI5I", 1, 2026, 227, start, records, 0, 20, count, *[0] * 5)
    header += struct.pack("<12d", *[0.001] * 3, *[0.0] * 3, *[0.0] * 6)
    assert len(header) == 227
    rows = [
        struct.pack("<iiiHBBbBH", *np.round(np.array(row[:3]) * 1000).astype(int), int(row[3]), 0, 0, 0, 0, 0)
        for row in points.tolist()
    ]
    return header + b"".join(rows)


def test_las_points_come_back(put: Put, points: np.ndarray) -> None:
    pytest.importorskip("laspy")
    table = read_las(put("a.las", las(points)))
    assert table.names == ("x", "y", "z", "intensity")
    np.testing.assert_allclose(np.stack(table.columns, 1), points, atol=6e-4)


def test_laz_points_come_back(put: Put, points: np.ndarray) -> None:
    laspy = pytest.importorskip("laspy")
    file = io.BytesIO()
    laspy.read(io.BytesIO(las(points))).write(file, do_compress=True)
    data = file.getvalue()
    table = read_las(put("a.laz", data))
    np.testing.assert_allclose(np.stack(table.columns, 1), points, atol=6e-4)
    with pytest.raises(ScanError, match="a.laz: "):
        read_las(put("a.laz", data[: len(data) * 2 // 3]))


@pytest.mark.parametrize(
    "change",
    [{"count": 10**6}, {"count": 2**32 - 1}, {"count": 0}, {"records": 2**32 - 1}, {"start": 2**32 - 1}],
)
def test_las_headers_are_compared_with_the_file(put: Put, points: np.ndarray, change: dict[str, int]) -> None:
    with pytest.raises(ScanError, match="a.las: its header"):
        read_las(put("a.las", las(points, **change)))


def test_cut_and_foreign_las_files_are_refused(put: Put, points: np.ndarray) -> None:
    whole = las(points)
    for data in (whole[:10], whole[:200], whole[:300], b"PSAF" + whole[4:], b"no scan"):
        with pytest.raises(ScanError, match="a.las: "):
            read_las(put("a.las", data))


def feather(columns: dict[str, Any], **options: Any) -> bytes:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import feather as writer

    file = io.BytesIO()
    writer.write_feather(arrow.table(columns), file, **options)
    return file.getvalue()


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_columns_come_back(put: Put, points: np.ndarray, compression: str) -> None:
    columns = {name: points[:, column] for column, name in enumerate("xyz")}
    half = columns["x"].astype(np.float16)
    more = {"intensity": points[:, 3].astype(np.uint8), "half": half, "name": ["a"] * 200}
    data = feather({**columns, **more}, compression=compression, chunksize=64)
    table = read_feather(put("a.feather", data))
    assert table.names == ("x", "y", "z", "intensity", "half")
    np.testing.assert_array_equal(np.stack(table.columns[:4], 1), points)
    np.testing.assert_array_equal(table.columns[4], half)


def test_missing_values_are_nan(put: Put) -> None:
    data = feather({"x": [1.0, None], "y": [1.0, 2.0], "z": [3, None]})
    x, y, z = read_feather(put("a.feather", data)).columns
    assert np.isnan([x[1], z[1]]).all() and [x[0], *y, z[0]] == [1, 1, 2, 3]


def test_cut_and_foreign_feather_files_are_refused(put: Put, points: np.ndarray) -> None:
    whole = feather({name: points[:, column] for column, name in enumerate("xyz")})
    for data in (whole[:-1], whole[: len(whole) // 2], b"ARROW1" + b"\0" * 100, b"no scan"):
        with pytest.raises(ScanError, match="a.feather: "):
            read_feather(put("a.feather", data))
    with pytest.raises(ScanError, match="counts 0 points"):
        read_feather(put("a.feather", feather({"x": np.zeros(0)})))


@pytest.mark.parametrize(("reader", "name"), [(read_las, "a.laz"), (read_feather, "a.feather")])
def test_a_missing_library_is_named(
    put: Put, points: np.ndarray, monkeypatch: pytest.MonkeyPatch, reader: Callable[[Path], Any], name: str
) -> None:
    real = builtins.__import__

    def without(module: str, *rest: Any, **more: Any) -> Any:
        if module.partition(".")[0] in {"laspy", "pyarrow"}:
            raise ImportError(module)
        return real(module, *rest, **more)

    path = put(name, las(points))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingLibraryError, match=rf"{name}: .*pip install 'also-selfsup\[formats\]'"):
        reader(path)

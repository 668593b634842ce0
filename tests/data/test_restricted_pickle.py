"""Pickles of plain values are read as pickle itself reads them; payloads that would run do not."""

import builtins
import collections
import functools
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from also_selfsup.data.base import DatasetError
from also_selfsup.data.restricted_pickle import ADMITTED, ArrayMark, read_plain_pickle


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


PAYLOADS: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda m: Call(os.system, f"touch {m}"),
    "eval": lambda m: Call(builtins.eval, f"open({str(m)!r}, 'w').close()"),
    "subprocess": lambda m: Call(subprocess.call, ["touch", str(m)]),
    "open": lambda m: Call(builtins.open, str(m), "w"),
    "in a row": lambda m: [{"frame_id": "1", "sequence_id": Call(os.mkdir, str(m))}],
    "as a key": lambda m: {Call(os.mkdir, str(m)): 1},
    "partial": lambda m: Call(functools.partial(os.mkdir, str(m))),
    "in an array": lambda m: np.array([Call(os.mkdir, str(m)), None], object),
    "beside an array": lambda m: [np.eye(3), Call(os.mkdir, str(m))],
    "of numpy": lambda m: Call(np.save, str(m) + ".npy", 0),
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_does_not_run(tmp_path: Path, name: str, protocol: int) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(PAYLOADS[name](marker), protocol=protocol))
    with pytest.raises(DatasetError, match=r"evil.pkl: .* it names [\w.]+, which is no plain value"):
        read_plain_pickle(path)
    assert {found.name for found in tmp_path.iterdir()} == {"evil.pkl"}
    pickle.loads(path.read_bytes())
    assert len(list(tmp_path.iterdir())) == 2, "the payload of this test is dead"


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy", "builtins", "codecs"])
@pytest.mark.parametrize("name", ["load", "getattr", "fromfile", "memmap", "decode", "__import__"])
def test_other_names_of_the_same_modules_are_refused(tmp_path: Path, module: str, name: str) -> None:
    (tmp_path / "x.pkl").write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(DatasetError, match=f"it names {module}.{name}, which is no plain value"):
        read_plain_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize(("module", "name"), ADMITTED)
def test_what_may_be_called_may_not_be_altered(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(f"c{module}\n{name}\n".encode() + b"}(X\x01\x00\x00\x00aK\x01ub.")
    with pytest.raises(DatasetError, match="x.pkl: it is no pickle of plain values.*alters a function"):
        read_plain_pickle(path)


PLAIN: list[Any] = [
    None,
    [1, -2.5, True, "text", b"bytes", (1, 2)],
    {"a": {"b": [10**30]}, 3: ()},
    collections.OrderedDict(a=1, b=2),
    [np.str_("000113"), np.int64(-5), np.uint8(200), np.float32(0.5), np.float64(1e300), np.bool_(True)],
    [np.array("abc", ">U3")[()], np.array(-7, ">i4")[()], np.array(0.25, ">f8")[()]],
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("content", PLAIN, ids=str)
def test_plain_values_are_read_as_they_are(tmp_path: Path, content: Any, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    assert read_plain_pickle(tmp_path / "x.pkl") == content


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_taken_note_of(tmp_path: Path, protocol: int) -> None:
    arrays = [
        np.eye(3),
        np.array(["Car", "Bus"]),
        np.zeros((2, 7), "<f4", order="F"),
        np.zeros(0),
        np.array([None]),
    ]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": arrays, "b": 7}, protocol=protocol))
    read = read_plain_pickle(tmp_path / "x.pkl")
    assert read["b"] == 7 and [type(value) for value in read["a"]] == [ArrayMark] * len(arrays)


def test_files_of_the_other_numpy_are_read(tmp_path: Path) -> None:
    content = pickle.dumps([np.eye(2), np.int32(4)], protocol=2)
    for there in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        other = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        (tmp_path / "x.pkl").write_bytes(other.replace(b"numpy.core.multiarray", there))
        assert read_plain_pickle(tmp_path / "x.pkl")[1] == 4


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.pkl", pickle.dumps([{"frame_id": "1", "pose": np.eye(4)}])
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match="x.pkl: it is no pickle of plain values"):
            read_plain_pickle(path)
    for start in range(2, len(whole) - 1):
        path.write_bytes(whole[:start] + b"\xff\xfe" + whole[start + 2 :])
        try:
            read_plain_pickle(path)
        except DatasetError as error:
            assert "x.pkl" in str(error)


def test_pointers_and_absent_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DatasetError, match="Git LFS pointer.*git lfs pull"):
        read_plain_pickle(tmp_path / "x.pkl")
    with pytest.raises(DatasetError, match="none.pkl: cannot be read"):
        read_plain_pickle(tmp_path / "none.pkl")

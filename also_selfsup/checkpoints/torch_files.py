"""Behind training: the two layouts of torch.save's files, read without running anything of them."""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from also_selfsup.checkpoints.restricted import RestrictedUnpickler, StorageRecord, plain

LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # torch.save before 1.6 begins with it


def read_zip(path: Path) -> tuple[Any, list[str]]:
    """Plain content of a file that torch.save wrote since torch 1.6, and the origins of what was left out.

    Raises:
        Exception: Of many kinds when the file is damaged or hostile; nothing of it has run then either.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next(name for name in names if name.rpartition("/")[2] == "data.pkl").removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        found: dict[str, StorageRecord] = {}

        def storage(key: str, dtype: torch.dtype, count: int) -> StorageRecord:
            if key not in found:
                content = _stored(archive, f"{root}data/{key}")
                found[key] = StorageRecord(_numbers(content, dtype=dtype, count=count))
            return found[key]

        unpickler = RestrictedUnpickler(io.BytesIO(_stored(archive, f"{root}data.pkl")), storage)
        return plain(unpickler.load()), sorted(unpickler.placeholders)


def read_legacy(path: Path) -> tuple[Any, list[str]]:
    """As `read_zip`, for files of torch before 1.6 (`LEGACY_START`): the numbers stand behind the pickle."""
    limit = path.stat().st_size
    found: dict[str, StorageRecord] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> StorageRecord:
        if not 0 <= count * dtype.itemsize <= limit:
            raise ValueError("a tensor larger than the file")
        return found.setdefault(key, StorageRecord(torch.zeros(count, dtype=dtype)))

    with path.open("rb") as file:
        for _ in range(3):  # magic number, protocol, byte sizes of the writer
            RestrictedUnpickler(file, storage).load()
        unpickler = RestrictedUnpickler(file, storage)
        content = unpickler.load()
        for key in RestrictedUnpickler(file, storage).load():
            values = found[key].values
            (count,) = struct.unpack("<q", file.read(8))
            if count != len(values):
                raise ValueError(f"storage {key} has {count} numbers, its tensors expect {len(values)}")
            values.copy_(_numbers(file.read(count * values.itemsize), dtype=values.dtype, count=count))
    return plain(content), sorted(unpickler.placeholders)


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member of the archive, whose checksum zipfile compares."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:  # torch never compresses; a bomb does
        raise ValueError(f"{name} is compressed")
    return archive.read(info)


def _numbers(content: bytes, *, dtype: torch.dtype, count: int) -> Tensor:
    """(count,) numbers of a storage's bytes."""
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes where {count} numbers of {dtype} should stand")
    # Not torch.frombuffer: when it refuses a buffer, it leaves it locked.
    if not count:
        return torch.zeros(0, dtype=dtype)
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy()).view(dtype)

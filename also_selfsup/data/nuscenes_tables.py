"""Before nuScenes scans are read: its tables, and the few rows of the largest one that are about the lidar.

`sample_data` of the full data set holds 2.6 million rows (1.3 GB), of which 34,149 are key frames of the
lidar; it is scanned in chunks, so that memory stays small.
"""

import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from also_selfsup.data.base import DatasetError
from also_selfsup.data.formats import LFS_SIGNATURE

logger = logging.getLogger(__name__)

# Small enough to stay in the processor's cache.
CHUNK = 1 << 20

Row: TypeAlias = dict[str, Any]


def read_pairs(path: Path, key: str, value: str) -> dict[str, str]:
    """Read two fields of every row of a table, as a dictionary in the order of the table.

    Raises:
        DatasetError: The table is missing or not what it should be.
    """
    rows = read_rows(path)
    try:
        pairs = {row[key]: row[value] for row in rows}
    except (KeyError, TypeError) as error:
        raise bad_table(path, f"a row lacks one of the fields {key}, {value} ({error})") from None
    odd = [text for pair in pairs.items() for text in pair if not is_text(text)]
    if odd:
        raise bad_table(path, f"a field {key} or {value} holds {str(odd[0])[:40]!r}, which is no text")
    return pairs


def read_rows(path: Path) -> list[Row]:
    """Read all rows of a table.

    Raises:
        DatasetError: The table is missing, or no list of rows.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise bad_table(path, f"it cannot be read ({error.strerror})") from None
    if data.startswith(LFS_SIGNATURE):
        cure = "Run `git lfs pull` where it came from"
        raise DatasetError(f"{path}: this is a Git LFS pointer, not the table itself. {cure}.")
    try:
        rows = json.loads(data)
    except ValueError as error:
        raise bad_table(path, f"it is no JSON ({error})") from None
    if not isinstance(rows, list):
        raise bad_table(path, "it is no list of rows")
    return rows


def read_key_frames(path: Path, *, sensors: Collection[str]) -> list[Row]:
    """Read the rows of `sample_data` that are key frames of some calibrated sensors.

    Args:
        path: The table.
        sensors: Tokens of rows of `calibrated_sensor`.

    Raises:
        DatasetError: The table is missing or not what it should be.
    """
    try:
        return [row for row in _scan(path) if row["calibrated_sensor_token"] in sensors]
    except (ValueError, KeyError, TypeError, OSError):
        logger.info("%s is laid out in an unusual way: reading it whole", path)
    try:
        return [
            row
            for row in read_rows(path)
            if row["is_key_frame"] is True and row["calibrated_sensor_token"] in sensors
        ]
    except (KeyError, TypeError) as error:
        raise bad_table(path, f"a row lacks a field ({error})") from None


def is_text(value: Any) -> bool:
    """Whether a value of a table is a text that can be a file's name; JSON allows halves of characters."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def bad_table(path: Path, finding: str) -> DatasetError:
    """Word the error about a table that cannot be used."""
    return DatasetError(f"{path}: {finding}. Fetch the data set's tables again.")


def _scan(path: Path) -> Iterator[Row]:
    """Give the rows whose `is_key_frame` is true, chunk by chunk, parsing only those that may be.

    Such a row has the literal `true` in it, and the official tables have no brace but those around the rows.
    Where there are others, what is cut out is no JSON (the newline put between two rows may not stand inside
    a string) or lacks the field: ValueError or KeyError then say that this way does not do.
    """
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            block = rest + chunk
            end = block.rfind(b"}") + 1
            rest = block[end:]
            rows = json.loads(b"[" + b"\n,\n".join(_candidates(block[:end])) + b"]")
            yield from (row for row in rows if row["is_key_frame"] is True)
    if rest.strip() != b"]":
        raise ValueError("the table does not end")


def _candidates(block: bytes) -> Iterator[bytes]:
    """Cut out what stands between the braces around each `true`."""
    found = block.find(b"true")
    while found >= 0:
        start, end = block.rfind(b"{", 0, found), block.find(b"}", found) + 1
        if start < 0:
            raise ValueError("a value outside any row")
        yield block[start:end]
        found = block.find(b"true", end)

"""Before frames are found: the lists of frames that come with the package, and what of a list is on disk.

F frames.
"""

import json
import logging
import os
import zlib
from base64 import b64decode
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError

logger = logging.getLogger(__name__)

SHOWN = 3  # missing files that a message names


def read_split_file(name: str) -> Any:
    """Read a JSON file of also_selfsup/data/splits."""
    return json.loads(resources.files("also_selfsup.data.splits").joinpath(name).read_text("utf-8"))


def expand_ranges(ranges: str) -> list[tuple[int, int]]:
    """Read "1-3 7" as the windows (1, 3) and (7, 7), first and last included."""
    ends = [[int(end) for end in part.split("-")] for part in ranges.split()]
    return [(end[0], end[-1]) for end in ends]


def unpack_bits(lines: Sequence[str], *, count: int) -> NDArray[np.uint8]:
    """Unpack one bit for each of `count` frames from base64 of zlib; (count,), 0 or 1."""
    packed = np.frombuffer(zlib.decompress(b64decode("".join(lines))), np.uint8)
    return np.unpackbits(packed, count=count)


def frames_on_disk(root: Path, names: Sequence[str], *, wanted: str, source: str) -> list[str]:
    """Keep the files of a list that are on disk, in the list's order; what is named twice is kept twice.

    Going without some is a warning that counts them and names the first: a part of a data set can be used.

    Args:
        root: Folder that the names are relative to.
        names: The files of the list.
        wanted: What they are, for the messages ("frames of the split val").
        source: Where to get them, for the messages.

    Raises:
        DatasetError: None of them is on disk.
    """
    there = cache(lambda folder: _files_in(root / folder))
    kept = [name for name in names if _split(name)[1] in there(_split(name)[0])]
    if len(kept) == len(names):
        return kept
    present = set(kept)
    missing = [name for name in names if name not in present]
    if not kept:
        raise DatasetError(
            f"{root}: none of the {len(names)} {wanted} is there, the first being {missing[0]}. "
            f"{source}, or set cfg.dataset_root."
        )
    logger.warning(
        "%s: %d of the %d %s are not there, such as %s: going without them",
        *(root, len(missing), len(names), wanted, ", ".join(missing[:SHOWN])),
    )
    return kept


def every_nth(names: Sequence[str], skip_ratio: int) -> NDArray[np.bytes_]:
    """Keep every `skip_ratio`-th of some files, beginning with the first; (F,)."""
    return np.array([name.encode() for name in names[::skip_ratio]], np.bytes_)


def _split(name: str) -> tuple[str, str]:
    folder, _, file = name.rpartition("/")
    return folder, file


def _files_in(folder: Path) -> frozenset[str]:
    """Names in a folder: asking once is much faster than asking for each of some thousand files."""
    return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()

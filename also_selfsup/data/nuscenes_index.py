"""Before nuScenes scans are read: which key frames there are, from the few tables that say so, or a cache.

F key frames, S scenes.
"""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError
from also_selfsup.data.file_names import refuse_outside
from also_selfsup.data.nuscenes_tables import bad_table, read_key_frames, read_pairs

logger = logging.getLogger(__name__)

TABLES = ("scene", "sample", "sample_data", "calibrated_sensor", "sensor")
CHANNEL = "LIDAR_TOP"
CACHE_FORMAT = 1

Names: TypeAlias = NDArray[np.bytes_]


@dataclass(frozen=True, eq=False)
class KeyFrames:
    """The lidar key frames of a version of nuScenes: by scene in the order of their table, then by time.

    Attributes:
        files: (F,) scan files, relative to the root.
        tokens: (F,) tokens of their rows in `sample_data`.
        scene_ids: (F,) row of the frame's scene in `scenes`.
        scenes: (S,) names of all scenes, in the order of their table.
    """

    files: Names
    tokens: Names
    scene_ids: NDArray[np.int64]
    scenes: Names

    def select(self, scenes: Sequence[str]) -> "KeyFrames":
        """Keep the frames of some scenes, in the same order."""
        kept = np.isin(self.scenes, _names(scenes))[self.scene_ids]
        return KeyFrames(self.files[kept], self.tokens[kept], self.scene_ids[kept], self.scenes)


def open_key_frames(root: Path, *, version: str) -> KeyFrames:
    """Find the lidar key frames: from the cache if it fits the tables, else from the tables.

    The cache lies in `.also_selfsup` in the root, or in the user's cache folder where that cannot be written.
    It is made anew when a table changes its size or time, or when it is damaged.

    Raises:
        DatasetError: A table is missing or not what it should be, or names files outside the root.
    """
    state = _state(root / version)
    places = _cache_places(root, version)
    frames = next(filter(None, (_read_cache(place, state=state) for place in places)), None)
    if frames is None:
        frames = build_key_frames(root / version)
        _write_cache(frames, places, state=state)
    refuse_outside(frames.files, origin=root / version / "sample_data.json")
    return frames


def build_key_frames(tables: Path) -> KeyFrames:
    """Find the lidar key frames in the tables of the folder `tables`.

    Raises:
        DatasetError: A table is missing or not what it should be.
    """
    channels = read_pairs(tables / "sensor.json", "token", "channel")
    placed = read_pairs(tables / "calibrated_sensor.json", "token", "sensor_token")
    lidars = {token for token, sensor in placed.items() if channels.get(sensor) == CHANNEL}
    scenes = read_pairs(tables / "scene.json", "token", "name")
    scene_ids = {token: row for row, token in enumerate(scenes)}
    samples = read_pairs(tables / "sample.json", "token", "scene_token")
    path = tables / "sample_data.json"
    rows = read_key_frames(path, sensors=lidars)
    if not rows:
        raise bad_table(path, f"it has no key frames of {CHANNEL}")
    try:
        ids = np.array([scene_ids[samples[row["sample_token"]]] for row in rows], np.int64)
        order = np.lexsort((np.array([row["timestamp"] for row in rows], np.int64), ids))
        files, tokens = (_names([row[field] for row in rows]) for field in ("filename", "token"))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        finding = (
            f"a row lacks a field, holds another kind of value, or names an unknown sample or scene: {error}"
        )
        raise bad_table(path, finding) from None
    return KeyFrames(files[order], tokens[order], ids[order], _names(list(scenes.values())))


def lidarseg_files(tables: Path, *, tokens: Names) -> Names:
    """Find the label file of each scan by the token of its row in `sample_data`; (F,), relative to the root.

    Raises:
        DatasetError: There is no table `lidarseg`, or it lacks a scan.
    """
    path = tables / "lidarseg.json"
    if not path.is_file():
        cure = "Unpack nuScenes-lidarseg into the root; the test scenes have no public labels"
        raise DatasetError(f"{path}: labels were asked for and there is no such table. {cure}.")
    by_token = read_pairs(path, "sample_data_token", "filename")
    try:
        names = _names([by_token[token.decode()] for token in tokens.tolist()])
    except KeyError as error:
        raise bad_table(path, f"it lacks the scan {error}") from None
    refuse_outside(names, origin=path)
    return names


def _names(texts: Sequence[str]) -> Names:
    """Hold texts as one array of bytes: small, and nothing for loader workers to copy one by one."""
    return np.array([text.encode() for text in texts], np.bytes_)


def _state(tables: Path) -> str:
    """Say by what a cache is recognised as fitting: format, sizes and times of the tables."""
    try:
        stats = [(tables / f"{table}.json").stat() for table in TABLES]
    except OSError as error:
        raise bad_table(Path(error.filename), f"it cannot be read ({error.strerror})") from None
    return json.dumps([CACHE_FORMAT, *((stat.st_size, stat.st_mtime_ns) for stat in stats)])


def _cache_places(root: Path, version: str) -> list[Path]:
    name = f"{version}_key_frames.npz"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    owner = sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return [root / ".also_selfsup" / name, home / "also_selfsup" / f"{owner}_{name}"]


def _read_cache(path: Path, *, state: str) -> KeyFrames | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if arrays["state"].item().decode() != state:
                logger.info("%s does not fit the tables any more: making it anew", path)
                return None
            frames = KeyFrames(**{part.name: arrays[part.name] for part in fields(KeyFrames)})
            _check(frames)
            return frames
    except Exception as error:  # a damaged zip file can fail in every way there is
        logger.warning("%s is damaged or may not be read (%s): making it anew", path, error)
        return None


def _check(frames: KeyFrames) -> None:
    """Refuse arrays that no cache of ours holds: the folder may be anyone's.

    Raises:
        ValueError: Other types or shapes, or frames of scenes that are not there.
    """
    names = (frames.files, frames.tokens, frames.scenes)
    ids = frames.scene_ids
    if not all(one.ndim == 1 and one.dtype.kind == "S" for one in names) or ids.dtype != np.int64:
        raise ValueError("arrays of other types")
    if not frames.files.shape == frames.tokens.shape == ids.shape:
        raise ValueError("arrays of different lengths")
    if ids.size and not 0 <= ids.min() <= ids.max() < len(frames.scenes):
        raise ValueError("frames of unknown scenes")


def _write_cache(frames: KeyFrames, places: Sequence[Path], *, state: str) -> None:
    """Write the cache to the first place that can be written, whole or not at all."""
    arrays = {part.name: getattr(frames, part.name) for part in fields(KeyFrames)}
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=place.parent) as folder:
                whole = Path(folder) / place.name
                np.savez(whole, state=np.array(state.encode()), **arrays)
                os.replace(whole, place)
        except OSError as error:
            logger.info("%s cannot be written (%s)", place, error.strerror)
        else:
            return
    logger.warning("no cache of the key frames could be written: every start reads the tables again")

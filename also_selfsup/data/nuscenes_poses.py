"""Beside nuScenes scans: where the lidar stood in each key frame, from the tables of poses.

F key frames.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError
from also_selfsup.data.nuscenes_tables import CHUNK, Row, bad_table, read_key_frames, read_rows

logger = logging.getLogger(__name__)


def read_lidar_poses(tables: Path, tokens: NDArray[np.bytes_]) -> NDArray[np.float64]:
    """Motions (F, 4, 4) from the lidar's frame to the world, of key frames by their tokens in `sample_data`.

    The lidar stands on the vehicle as `calibrated_sensor` says, the vehicle in the world as `ego_pose` says
    at the time of the scan. `ego_pose` of the full data set has 2.6 million rows, which takes some seconds.

    Raises:
        DatasetError: A table is missing or not what it should be, or lacks a frame's row.
    """
    path = tables / "sample_data.json"
    try:
        mounts = {row["token"]: row for row in read_rows(tables / "calibrated_sensor.json")}
        rows = {row["token"]: row for row in read_key_frames(path, sensors=mounts)}
        frames = [rows[token.decode()] for token in tokens.tolist()]
        wanted = {frame["ego_pose_token"] for frame in frames}
        vehicles = {
            row["token"]: row for row in _all_rows(tables / "ego_pose.json") if row["token"] in wanted
        }
        poses = [
            _motion(vehicles[frame["ego_pose_token"]]) @ _motion(mounts[frame["calibrated_sensor_token"]])
            for frame in frames
        ]
    except DatasetError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        finding = f"with ego_pose and calibrated_sensor it gives no pose of every frame ({error!r})"
        raise bad_table(path, finding) from None
    return np.array(poses).reshape(-1, 4, 4)


def _motion(row: Mapping[str, list[float]]) -> NDArray[np.float64]:
    """Motion (4, 4) of a row's `rotation`, a quaternion w, x, y, z, and `translation` in metres."""
    quaternion = np.array(row["rotation"], np.float64)
    length = np.linalg.norm(quaternion)
    if not 0.9 < length < 1.1:
        raise ValueError(f"a rotation of length {length}")
    w, x, y, z = quaternion / length
    motion = np.eye(4)
    motion[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    motion[:3, 3] = row["translation"]
    return motion


def _all_rows(path: Path) -> Iterator[Row]:
    """Every row of a table, chunk by chunk, so that memory stays small; whole if it is laid out unusually."""
    count = 0
    try:
        for row in _scan(path):
            count += 1
            yield row
        return
    except (ValueError, OSError):
        logger.info("%s is laid out in an unusual way: reading it whole", path)
    yield from read_rows(path)[count:]


def _scan(path: Path) -> Iterator[Row]:
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            block = rest + chunk
            end = block.rfind(b"}") + 1
            rest = block[end:]
            # Rows have no braces of their own: what ends with one is whole rows, parted by commas.
            yield from json.loads(b"[" + block[:end].lstrip(b"[, \t\r\n") + b"]")
    if rest.strip() != b"]":
        raise ValueError("the table does not end")

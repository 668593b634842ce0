"""Beside the scans of KITTI odometry and SemanticKITTI: where the sensor stood in each frame.

F frames of a sequence.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.base import DatasetError


def read_sensor_poses(folder: Path) -> NDArray[np.float64]:
    """Motions (F, 4, 4) from the lidar's frame to the world, one a frame of a sequence.

    `poses.txt` has twelve numbers a line, the upper part of the left camera's motion C to the world; `Tr` of
    `calib.txt` takes lidar points into that camera's frame. The lidar's own motion is inv(Tr) C Tr, in a
    world that is the lidar's first frame where C starts with the identity.

    Raises:
        DatasetError: One of the files is missing or holds something else.
    """
    cameras = _matrices(folder / "poses.txt", _lines(folder / "poses.txt"))
    path = folder / "calib.txt"
    rows = [line[3:] for line in _lines(path) if line.startswith("Tr:")]
    if len(rows) != 1:
        raise _bad(path, f"{len(rows)} lines begin with Tr: where one should")
    mount = _matrices(path, rows)[0]
    poses: NDArray[np.float64] = np.linalg.inv(mount) @ cameras @ mount
    return poses


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, f"it cannot be read ({error})") from None


def _matrices(path: Path, lines: list[str]) -> NDArray[np.float64]:
    try:
        upper = np.array([[float(word) for word in line.split()] for line in lines]).reshape(-1, 3, 4)
    except ValueError as error:
        raise _bad(path, f"it is no table of twelve numbers a line ({error})") from None
    if not np.isfinite(upper).all() or np.abs(np.linalg.det(upper[:, :, :3]) - 1).max(initial=0) > 1e-2:
        raise _bad(path, "its numbers are no rotations and translations")
    bottom = np.broadcast_to(np.array([0.0, 0.0, 0.0, 1.0]), (len(upper), 1, 4))
    return np.concatenate([upper, bottom], axis=1)


def _bad(path: Path, finding: str) -> DatasetError:
    return DatasetError(f"{path}: {finding}. Fetch the sequence's poses, or set cfg.data.query_frames=0.")

"""What the layouts of the KITTI family share: rows of scans, axes of a camera, matrices as lines of text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.arrays import Doubles
from also_selfsup.data.simulator.scene import Frame

# From lidar axes (x front, y left, z up) to those of a camera (x right, y down, z front) that sits in the
# lidar.
CAMERA = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
FOCAL_LENGTH = 700.0
# The HDL-64E answers a middling 0.3 for most of a street and saturates at 0.99.
GAIN, SATURATION = 0.84, 0.99


def points(frame: Frame) -> NDArray[np.float32]:
    """Rows (N, 4) of a scan file."""
    intensity = np.round(np.clip(GAIN * np.sqrt(frame.strength), 0, SATURATION), 2)
    rows: NDArray[np.float32] = np.column_stack([frame.pos, intensity]).astype("<f4")
    return rows


def rigid_motion(rotation: Doubles, position: Doubles) -> Doubles:
    """Matrix (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, position
    return matrix


def line(matrix: Doubles, *, digits: int) -> str:
    """The first three rows of a matrix on one line of text."""
    return " ".join(f"{value:.{digits}e}" for value in matrix[:3].ravel())

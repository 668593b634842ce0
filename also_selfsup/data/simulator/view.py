"""One turn of a lidar before anything is hit: its rays in the three frames that the simulator works in.

Sensor frame: that of the files. Level frame: origin in the sensor, z up, x along the sensor's x axis. World
frame: see `ground`. Letters: R rays, a row of the sensor's grid after the other (columns of K rings).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from also_selfsup.data.simulator.arrays import Axes, Doubles
from also_selfsup.data.simulator.sensors import SensorModel

# Beyond tilt: rays jitter about the sensor's regular grid.
JITTER_MARGIN = float(np.radians(0.1))


@dataclass(frozen=True)
class View:
    """Unit directions (R,) of a turn's rays in each frame, and where the sensor is."""

    sensor: SensorModel
    rays: Axes  # sensor frame
    level: Axes
    world: Axes
    rotation: Doubles  # (3, 3) from the sensor to the world frame
    position: Doubles  # (3,) of the sensor in the world
    heading: float  # of the level frame in the world

    @property
    def margin(self) -> float:
        """Radians by which directions in the level frame may deviate from the sensor's grid."""
        tilt = float(np.arccos(np.clip(self.rotation[2, 2], -1, 1)))
        return tilt + JITTER_MARGIN


def look(
    sensor: SensorModel, rotation: Doubles, *, position: Doubles, generator: np.random.Generator
) -> View:
    """The rays of one turn at a pose: `rotation` (3, 3) from sensor to world, `position` (3,)."""
    heading = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
    rays = sensor.directions(generator)
    return View(
        sensor=sensor,
        rays=rays,
        level=rotated(rays, turn("z", -heading) @ rotation),
        world=rotated(rays, rotation),
        rotation=rotation,
        position=position,
        heading=heading,
    )


def rotated(axes: Axes, matrix: Doubles) -> Axes:
    """Directions turned by a matrix (3, 3)."""
    x, y, z = axes
    rows = matrix.astype(np.float32)
    first, second, third = (row[0] * x + row[1] * y + row[2] * z for row in rows)
    return first, second, third


def turn(axis: str, angle: float) -> Doubles:
    """Rotation matrix (3, 3) about one axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    return matrix

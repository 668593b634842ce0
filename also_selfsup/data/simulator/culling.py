"""Which rays can meet which part: a sensor's grid cut down to a window of columns and rings for each part.

Letters: P parts, C columns (azimuth steps), K rings, R = C * K rays, ray = column * K + ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.sensors import SensorModel

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """For each part (P,): first column and number of columns, first ring and number of rings, nearest distance."""

    column: Ints
    columns: Ints
    ring: Ints
    rings: Ints
    nearest: NDArray[np.float32]

    @property
    def sizes(self) -> Ints:
        """Number (P,) of rays in each window."""
        return self.columns * self.rings

    def take(self, ids: Ints) -> Windows:
        """Windows of some parts."""
        return Windows(
            *(getattr(self, name)[ids] for name in ("column", "columns", "ring", "rings", "nearest"))
        )

    def pairs(self, columns: int, rings: int) -> tuple[Ints, Ints]:
        """All (part, ray) pairs of the windows as two flat arrays, on a grid of `columns` by `rings`."""
        sizes = self.sizes
        part = np.repeat(np.arange(len(sizes)), sizes)
        place = np.arange(len(part)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        step, ring = np.divmod(place, self.rings[part])
        column = self.column[part] + step
        column -= columns * (column >= columns)
        return part, column * rings + self.ring[part] + ring


def outlines(parts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Azimuths of middle (P,) and of the corners relative to it (P, 4) of the rectangles around parts, from the origin."""
    x, y, _ = parts["centre"].T.astype(np.float64)
    cos, sin = np.cos(parts["yaw"]), np.sin(parts["yaw"])
    sign_x, sign_y = np.array([1, 1, -1, -1]), np.array([1, -1, 1, -1])
    length, width = parts["half"][:, :1] * sign_x, parts["half"][:, 1:2] * sign_y
    corner_x = x[:, None] + cos[:, None] * length - sin[:, None] * width
    corner_y = y[:, None] + sin[:, None] * length + cos[:, None] * width
    middle = np.arctan2(y, x)
    relative = np.arctan2(corner_y, corner_x) - middle[:, None]
    return middle, (relative + np.pi) % (2 * np.pi) - np.pi


def distances(parts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest horizontal distance (P,) from the origin to the rectangle around each part; 0 inside it."""
    x, y, _ = parts["centre"].T.astype(np.float64)
    cos, sin = np.cos(parts["yaw"]), np.sin(parts["yaw"])
    across = np.abs(np.stack([cos * x + sin * y, cos * y - sin * x]))
    half = parts["half"][:, :2].T
    return np.hypot(*np.maximum(across - half, 0)), np.hypot(*(across + half))


def windows(parts: NDArray[Any], sensor: SensorModel, margin: float) -> Windows:
    """The part of the sensor's grid that can meet each part.

    Args:
        parts: Parts (P,) of dtype `PART`, sensor at the origin, z up.
        sensor: The sensor; the x axis of `parts` is that of its frame.
        margin: Radians by which rays may deviate from the sensor's grid (tilt, jitter).
    """
    least, greatest = distances(parts)
    middle, corners = outlines(parts)
    around = least <= 0
    low_azimuth = np.where(around, -np.pi, corners.min(1) - margin)
    high_azimuth = np.where(around, np.pi, corners.max(1) + margin)
    column, columns = _columns(middle, low_azimuth, high_azimuth, sensor)
    z, height = parts["centre"][:, 2].astype(np.float64), parts["half"][:, 2]
    top, bottom = z + height, z - height
    high = np.arctan2(top, np.where(top > 0, least, greatest)) + margin
    low = np.arctan2(bottom, np.where(bottom > 0, greatest, least)) - margin
    beams = np.radians(np.array(sensor.elevations))
    ring = np.searchsorted(beams, low, side="left")
    rings = np.maximum(np.searchsorted(beams, high, side="right") - ring, 0)
    columns = np.where(least > sensor.max_range, 0, columns)
    nearest = np.hypot(least, np.maximum(np.maximum(bottom, -top), 0)).astype(np.float32)
    return Windows(column, columns, ring, rings, nearest)


def _columns(
    middle: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], sensor: SensorModel
) -> tuple[Ints, Ints]:
    """First column and number of columns whose azimuth lies in [middle + low, middle + high]."""
    count, step = sensor.azimuth_steps, np.radians(sensor.azimuth_span / sensor.azimuth_steps)
    start = np.radians(sensor.azimuth_start)
    if sensor.wraps:
        ends = np.sort(np.stack([middle + low - start, middle + high - start]) / step, axis=0)
        first = np.ceil(ends[0]).astype(np.int64)
        number = np.clip(np.floor(ends[1]).astype(np.int64) - first + 1, 0, count)
        return first % count, number
    centre = start + step * (count - 1) / 2
    turned = (middle - centre + np.pi) % (2 * np.pi) - np.pi + centre
    ends = np.sort(np.stack([turned + low - start, turned + high - start]) / step, axis=0)
    first = np.clip(np.ceil(ends[0]), 0, count).astype(np.int64)
    last = np.clip(np.floor(ends[1]), -1, count - 1).astype(np.int64)
    return first, np.maximum(last - first + 1, 0)

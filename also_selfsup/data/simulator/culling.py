"""Which rays can meet which part: a sensor's grid cut down to a window of columns and rings for each part.

Letters: P parts, N ray-part pairs, C columns (azimuth steps), K rings; ray = column * K + ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.arrays import Doubles, Floats, Ints
from also_selfsup.data.simulator.sensors import SensorModel


@dataclass(frozen=True)
class Windows:
    """For each part (P,): first column and their number, first ring and their number, least distance."""

    column: Ints
    columns: Ints
    ring: Ints
    rings: Ints
    nearest: Floats

    @property
    def sizes(self) -> Ints:
        """Number (P,) of rays in each window."""
        return self.columns * self.rings

    def take(self, ids: Ints) -> Windows:
        """Windows of some parts."""
        return Windows(
            self.column[ids], self.columns[ids], self.ring[ids], self.rings[ids], self.nearest[ids]
        )

    def pairs(self, columns: int, rings: int) -> tuple[Ints, Ints]:
        """All pairs as row of the window (N,) and ray (N,), on a grid of `columns` by `rings`."""
        sizes = self.sizes
        row = np.repeat(np.arange(len(sizes)), sizes)
        place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        step, ring = np.divmod(place, self.rings[row])
        column = self.column[row] + step
        column -= columns * (column >= columns)
        return row, column * rings + self.ring[row] + ring


def windows(parts: NDArray[Any], sensor: SensorModel, *, margin: float) -> Windows:
    """The part of the sensor's grid that can meet each part.

    Args:
        parts: Parts (P,) of dtype `PART`, sensor at the origin, z up, x along the sensor's x axis.
        sensor: The sensor.
        margin: Radians by which rays may deviate from the sensor's grid (tilt, jitter).
    """
    least, greatest = distances(parts)
    middle, corners = outlines(parts)
    around = least <= 0
    spread = np.stack([corners.min(1) - margin, corners.max(1) + margin])
    spread = np.where(around, np.array([[-np.pi], [np.pi]]), spread)
    column, columns = _columns(middle, spread, sensor=sensor)
    bottom, top = parts["centre"][:, 2] + np.array([[-1], [1]]) * parts["half"][:, 2].astype(np.float64)
    low = np.arctan2(bottom, np.where(bottom > 0, greatest, least)) - margin
    high = np.arctan2(top, np.where(top > 0, least, greatest)) + margin
    beams = np.radians(np.array(sensor.elevations))
    ring = np.searchsorted(beams, low, side="left")
    rings = np.maximum(np.searchsorted(beams, high, side="right") - ring, 0)
    nearest = np.hypot(least, np.maximum(np.maximum(bottom, -top), 0))
    columns = np.where(nearest > sensor.max_range, 0, columns)
    return Windows(column, columns, ring, rings, nearest.astype(np.float32))


def outlines(parts: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Azimuth (P,) of each part's middle, and relative to it of its ground plan's corners (P, 4)."""
    x, y, _ = parts["centre"].T.astype(np.float64)
    cos, sin = np.cos(parts["yaw"])[:, None], np.sin(parts["yaw"])[:, None]
    length, width = (
        parts["half"][:, :1] * np.array([1, 1, -1, -1]),
        parts["half"][:, 1:2] * np.array([1, -1, 1, -1]),
    )
    corner = np.arctan2(y[:, None] + sin * length + cos * width, x[:, None] + cos * length - sin * width)
    middle: Doubles = np.arctan2(y, x)
    return middle, (corner - middle[:, None] + np.pi) % (2 * np.pi) - np.pi


def distances(parts: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Least and greatest horizontal distance (P,) from the origin to each part's ground plan; 0 inside it."""
    x, y, _ = parts["centre"].T.astype(np.float64)
    cos, sin = np.cos(parts["yaw"]), np.sin(parts["yaw"])
    apart = np.abs(np.stack([cos * x + sin * y, cos * y - sin * x]))
    half = parts["half"][:, :2].T
    return np.hypot(*np.maximum(apart - half, 0)), np.hypot(*(apart + half))


def _columns(middle: Doubles, spread: Doubles, *, sensor: SensorModel) -> tuple[Ints, Ints]:
    """First column and number of columns (P,) with azimuths from middle + spread[0] to middle + spread[1]."""
    count, step = sensor.azimuth_steps, np.radians(sensor.azimuth_span / sensor.azimuth_steps)
    start = np.radians(sensor.azimuth_start)
    if not sensor.wraps:
        # The turn of the circle in which the azimuth is nearest to the middle of the field of view.
        centre = start + step * (count - 1) / 2
        middle = (middle - centre + np.pi) % (2 * np.pi) - np.pi + centre
    first, last = np.sort((middle + spread - start) / step, axis=0)
    low, high = np.ceil(first).astype(np.int64), np.floor(last).astype(np.int64)
    if sensor.wraps:
        return low % count, np.clip(high - low + 1, 0, count)
    low, high = np.maximum(low, 0), np.minimum(high, count - 1)
    return np.minimum(low, count - 1), np.maximum(high - low + 1, 0)

"""First hits: every ray of a turn against every part of the world, in numpy without a loop over rays or parts.

Frame: the level frame, origin in the sensor, z up, x along the sensor's own x axis. Letters: P parts, R rays, N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator import intersections
from also_selfsup.data.simulator.culling import windows
from also_selfsup.data.simulator.parts import Shape
from also_selfsup.data.simulator.sensors import SensorModel

Array = NDArray[np.float32]
Ints = NDArray[np.int64]
# Pairs worked on at once: the temporaries of so many stay in a core's second-level cache.
CHUNK = 30_000


@dataclass(frozen=True)
class Hits:
    """For each ray (R,): distance (inf: none) and row of the part that was hit (-1: none)."""

    distance: Array
    part: Ints


class LocalFrames:
    """Parts as seen from their own frames: where the sensor is, and how to turn a direction."""

    def __init__(self, parts: NDArray[Any]) -> None:
        x, y, z = parts["centre"].T
        self.cos = np.cos(parts["yaw"]).astype(np.float32)
        self.sin = np.sin(parts["yaw"]).astype(np.float32)
        self.origin = np.stack([-(self.cos * x + self.sin * y), self.sin * x - self.cos * y, -z])
        self.half = np.ascontiguousarray(parts["half"].T)
        self.taper = np.ascontiguousarray(parts["taper"].T)
        self.shape = np.ascontiguousarray(parts["shape"])
        self.free_path = np.ascontiguousarray(parts["free_path"])

    def turned(self, ids: Ints, x: Array, y: Array) -> tuple[Array, Array]:
        """Horizontal directions (N,) of the common frame in the frames of parts `ids` (N,)."""
        cos, sin = self.cos[ids], self.sin[ids]
        return cos * x + sin * y, cos * y - sin * x

    def spans(self, shape: int, ids: Ints, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
        """Entry and exit (N,) of rays into parts `ids` (N,), all of one shape."""
        turned_x, turned_y = self.turned(ids, x, y)
        origin = (self.origin[0][ids], self.origin[1][ids], self.origin[2][ids])
        half = (self.half[0][ids], self.half[1][ids], self.half[2][ids])
        direction = (turned_x, turned_y, z)
        if shape == Shape.FRUSTUM:
            taper = (self.taper[0][ids], self.taper[1][ids], self.taper[2][ids])
            return intersections.frustum(origin, direction, half, taper)
        bodies = {
            Shape.BOX: intersections.box, Shape.CYLINDER: intersections.cylinder,
            Shape.ELLIPSOID: intersections.ellipsoid,
        }  # fmt: skip
        return bodies[Shape(shape)](origin, direction, half)


def cast(
    parts: NDArray[Any],
    sensor: SensorModel,
    *,
    directions: tuple[Array, Array, Array],
    background: Array,
    margin: float,
    generator: np.random.Generator,
) -> Hits:
    """Nearest hit of every ray.

    Args:
        parts: Parts (P,) of dtype `PART` in the level frame.
        sensor: Whose grid the rays are.
        directions: Unit directions as x, y, z of (R,) each, in the level frame.
        background: Distance (R,) of what lies behind all parts (the ground; inf: nothing).
        margin: Radians by which directions may deviate from the sensor's grid.
        generator: For how deep light gets into foliage.
    """
    window = windows(parts, sensor, margin)
    frames = LocalFrames(parts)
    distance, winner = background.copy(), np.full(len(background), -1, dtype=np.int64)
    # Near parts first: whatever they hide need not be intersected.
    order = np.argsort(window.nearest, kind="stable")
    order = order[window.sizes[order] > 0]
    for shape_ids in _chunks(order, window.sizes[order]):
        part, ray = window.take(shape_ids).pairs(sensor.azimuth_steps, sensor.ring_count)
        part = shape_ids[part]
        open_ = window.nearest[part] < distance[ray]
        part, ray = part[open_], ray[open_]
        for shape in Shape:
            chosen = np.flatnonzero(frames.shape[part] == shape)
            if len(chosen):
                _meet(
                    frames,
                    int(shape),
                    part[chosen],
                    ray[chosen],
                    directions,
                    sensor,
                    generator,
                    distance,
                    winner,
                )
    return Hits(distance=distance, part=winner)


def _chunks(order: Ints, sizes: Ints) -> list[Ints]:
    """Parts in order, cut into runs of about `CHUNK` pairs."""
    number = np.cumsum(sizes) // CHUNK
    return [run for run in np.split(order, np.flatnonzero(np.diff(number)) + 1) if len(run)]


def _meet(
    frames: LocalFrames,
    shape: int,
    part: Ints,
    ray: Ints,
    directions: tuple[Array, Array, Array],
    sensor: SensorModel,
    generator: np.random.Generator,
    distance: Array,
    winner: Ints,
) -> None:
    """Intersect pairs (N,) of one shape and keep the nearest hits in `distance` and `winner` (both changed in place)."""
    entry, exit_ = frames.spans(shape, part, *(axis[ray] for axis in directions))
    entry = np.maximum(entry, sensor.min_range)
    porous = np.flatnonzero((frames.free_path[part] > 0) & (entry <= exit_))
    entry[porous] += generator.exponential(frames.free_path[part[porous]]).astype(np.float32)
    hit = np.flatnonzero((entry <= exit_) & (entry < distance[ray]))
    # Far to near: of several values for one ray numpy keeps the last, which is the nearest.
    hit = hit[np.argsort(-entry[hit], kind="stable")]
    distance[ray[hit]] = entry[hit]
    winner[ray[hit]] = part[hit]

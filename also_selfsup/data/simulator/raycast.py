"""First hits: every ray of a turn against every part of the world, without a loop over rays or parts.

Everything is in the level frame (see `view`). Letters: P parts, R rays, N ray-part pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator import intersections
from also_selfsup.data.simulator.arrays import Axes, Floats, Ints
from also_selfsup.data.simulator.culling import windows
from also_selfsup.data.simulator.parts import LocalFrames, Shape, picked
from also_selfsup.data.simulator.view import View

# Pairs worked on at once: the temporaries of so many stay in a core's second-level cache.
CHUNK = 30_000


class Nearest:
    """The nearest hit of each ray so far: distance (R,) and row of the part (R,), -1 for the background."""

    def __init__(self, background: Floats) -> None:
        self.distance = background.copy()
        self.part: Ints = np.full(len(background), -1, dtype=np.int64)

    def keep(self, distance: Floats, *, ray: Ints, part: Ints) -> None:
        """Take in hits (N,) where they are nearer than what is known."""
        # Far to near: of several values for one ray numpy keeps the last, which is the nearest.
        order = np.argsort(-distance, kind="stable")
        order = order[distance[order] < self.distance[ray[order]]]
        self.distance[ray[order]] = distance[order]
        self.part[ray[order]] = part[order]


def cast(parts: NDArray[Any], view: View, *, background: Floats, generator: np.random.Generator) -> Nearest:
    """Nearest hit of every ray.

    Args:
        parts: Parts (P,) of dtype `PART` in the level frame.
        view: The rays.
        background: Distance (R,) of what lies behind all parts (the ground; inf: nothing).
        generator: For how deep light gets into foliage.
    """
    sensor, frames, nearest = view.sensor, LocalFrames(parts), Nearest(background)
    window = windows(parts, sensor, margin=view.margin)
    shapes, free_path = np.ascontiguousarray(parts["shape"]), np.ascontiguousarray(parts["free_path"])
    # Near parts first: whatever they hide need not be intersected.
    order = np.argsort(window.nearest, kind="stable")
    order = order[window.sizes[order] > 0]
    for ids in _runs(order, window.sizes[order]):
        row, ray = window.take(ids).pairs(sensor.azimuth_steps, sensor.ring_count)
        part = ids[row]
        open_ = window.nearest[part] < nearest.distance[ray]
        part, ray = part[open_], ray[open_]
        for shape in Shape:
            chosen = np.flatnonzero(shapes[part] == shape)
            if len(chosen):
                mine, rays = part[chosen], ray[chosen]
                entry, exit_ = _spans(shape, mine, frames=frames, direction=picked(view.level, rays))
                entry = _into_foliage(
                    np.maximum(entry, sensor.min_range), exit_, free_path=free_path[mine], generator=generator
                )
                hit = np.flatnonzero(entry <= exit_)
                nearest.keep(entry[hit], ray=rays[hit], part=mine[hit])
    return nearest


def _runs(order: Ints, sizes: Ints) -> list[Ints]:
    """Parts in order, cut into runs of about `CHUNK` pairs."""
    number = np.cumsum(sizes) // CHUNK
    return [run for run in np.split(order, np.flatnonzero(np.diff(number)) + 1) if len(run)]


def _spans(shape: Shape, part: Ints, *, frames: LocalFrames, direction: Axes) -> tuple[Floats, Floats]:
    """Entry and exit (N,) of rays into parts (N,), all of one shape."""
    turned, origin, half = (
        frames.turned(part, direction),
        picked(frames.origin, part),
        picked(frames.half, part),
    )
    if shape == Shape.FRUSTUM:
        return intersections.frustum(origin, turned, half=half, taper=picked(frames.taper, part))
    if shape == Shape.CYLINDER:
        return intersections.cylinder(origin, turned, half=half)
    if shape == Shape.ELLIPSOID:
        return intersections.ellipsoid(origin, turned, half=half)
    return intersections.box(origin, turned, half=half)


def _into_foliage(
    entry: Floats, exit_: Floats, *, free_path: Floats, generator: np.random.Generator
) -> Floats:
    """Where (N,) light meets something: at once in solid parts, at random depth in porous ones."""
    porous = np.flatnonzero((free_path > 0) & (entry <= exit_))
    entry[porous] += generator.exponential(free_path[porous]).astype(np.float32)
    return entry

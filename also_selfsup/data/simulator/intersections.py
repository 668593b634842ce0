"""Where rays enter and leave simple bodies, pair by pair.

Every function takes origins and directions as three arrays (P,) each, in the body's own frame (middle at 0, axes along
the body), and half sizes likewise, for P ray-body pairs; it answers (P,) distances of entry and exit along the ray.
A ray misses where exit < entry. Directions need not have length one: distances are in their unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Triple = tuple[Array, Array, Array]
TINY = np.float32(1e-9)


def _nonzero(values: Array) -> Array:
    return np.where(np.abs(values) < TINY, TINY, values)


def box(origin: Triple, direction: Triple, half: Triple) -> tuple[Array, Array]:
    """Entry and exit of axis-aligned boxes (slabs)."""
    entry: Array | None = None
    exit_: Array | None = None
    for start, speed, size in zip(origin, direction, half, strict=True):
        inverse = 1 / _nonzero(speed)
        middle, reach = -start * inverse, size * np.abs(inverse)
        near, far = middle - reach, middle + reach
        entry = near if entry is None else np.maximum(entry, near)
        exit_ = far if exit_ is None else np.minimum(exit_, far)
    assert entry is not None and exit_ is not None
    return entry, exit_


def frustum(origin: Triple, direction: Triple, half: Triple, taper: Triple) -> tuple[Array, Array]:
    """Entry and exit of boxes whose front, rear and sides give way by `taper` metres per metre above the bottom."""
    x, y, z = origin
    dx, dy, dz = direction
    length, width, height = half
    front, rear, side = taper
    height_above = z + height
    entry, exit_ = box((z, z, z), (dz, dz, dz), (height, height, height))
    planes = (
        (length - x - front * height_above, dx + front * dz),
        (length + x - rear * height_above, rear * dz - dx),
        (width - y - side * height_above, dy + side * dz),
        (width + y - side * height_above, side * dz - dy),
    )
    for room, approach in planes:
        approach = _nonzero(approach)
        crossing = room / approach
        entry = np.where(approach < 0, np.maximum(entry, crossing), entry)
        exit_ = np.where(approach > 0, np.minimum(exit_, crossing), exit_)
    return entry, exit_


def _quadric(start: tuple[Array, ...], speed: tuple[Array, ...]) -> tuple[Array, Array]:
    # The closest point to the middle first: the textbook discriminant b*b - a*c loses all digits for thin poles far away.
    a = np.maximum(sum(v * v for v in speed), TINY)
    nearest = -sum(s * v for s, v in zip(start, speed, strict=True)) / a
    offset = sum((s + nearest * v) ** 2 for s, v in zip(start, speed, strict=True))
    reach = np.sqrt(np.maximum(1 - offset, 0) / a)
    missed = offset > 1
    return np.where(missed, np.inf, nearest - reach), np.where(missed, -np.inf, nearest + reach)


def cylinder(origin: Triple, direction: Triple, half: Triple) -> tuple[Array, Array]:
    """Entry and exit of upright cylinders with caps; half length and half width may differ (elliptic)."""
    length, width, height = half
    entry, exit_ = _quadric(
        (origin[0] / length, origin[1] / width), (direction[0] / length, direction[1] / width)
    )
    low, high = box((origin[2],) * 3, (direction[2],) * 3, (height,) * 3)
    return np.maximum(entry, low), np.minimum(exit_, high)


def ellipsoid(origin: Triple, direction: Triple, half: Triple) -> tuple[Array, Array]:
    """Entry and exit of ellipsoids."""
    start = tuple(o / h for o, h in zip(origin, half, strict=True))
    speed = tuple(d / h for d, h in zip(direction, half, strict=True))
    return _quadric(start, speed)

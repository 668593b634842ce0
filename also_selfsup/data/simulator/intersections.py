"""Where rays enter and leave simple bodies, pair by pair.

Every function takes origins and directions as three arrays (N,) each, in the body's own frame (middle at 0,
axes along the body), and half sizes likewise, for N ray-body pairs; it answers (N,) distances of entry and
exit along the ray. A ray misses where exit < entry. Directions need not have length one: distances are in
their unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from also_selfsup.data.simulator.arrays import Axes, Floats

TINY = np.float32(1e-9)


def _nonzero(values: Floats) -> Floats:
    return np.where(np.abs(values) < TINY, TINY, values)


def _slab(start: Floats, speed: Floats, *, half: Floats) -> tuple[Floats, Floats]:
    inverse = 1 / _nonzero(speed)
    middle, reach = -start * inverse, half * np.abs(inverse)
    return middle - reach, middle + reach


def box(origin: Axes, direction: Axes, *, half: Axes) -> tuple[Floats, Floats]:
    """Entry and exit of axis-aligned boxes."""
    (x, x_), (y, y_), (z, z_) = (_slab(o, d, half=h) for o, d, h in zip(origin, direction, half, strict=True))
    return np.maximum(np.maximum(x, y), z), np.minimum(np.minimum(x_, y_), z_)


def frustum(origin: Axes, direction: Axes, *, half: Axes, taper: Axes) -> tuple[Floats, Floats]:
    """Entry and exit of boxes whose front, rear and sides lean inwards.

    `taper` is, for front, rear and both sides, how many metres they give way per metre above the bottom.
    """
    x, y, z = origin
    dx, dy, dz = direction
    length, width, height = half
    front, rear, side = taper
    above = z + height
    entry, exit_ = _slab(z, dz, half=height)
    planes = (
        (length - x - front * above, dx + front * dz),
        (length + x - rear * above, rear * dz - dx),
        (width - y - side * above, dy + side * dz),
        (width + y - side * above, side * dz - dy),
    )
    for room, approach in planes:
        approach = _nonzero(approach)
        crossing = room / approach
        entry = np.where(approach < 0, np.maximum(entry, crossing), entry)
        exit_ = np.where(approach > 0, np.minimum(exit_, crossing), exit_)
    return entry, exit_


def _unit_ball(start: Sequence[Floats], speed: Sequence[Floats]) -> tuple[Floats, Floats]:
    # The point nearest to the middle first: the textbook b * b - a * c loses all digits for thin poles far
    # away.
    square = np.maximum(sum(v * v for v in speed), TINY)
    nearest = -sum(s * v for s, v in zip(start, speed, strict=True)) / square
    offset = sum((s + nearest * v) ** 2 for s, v in zip(start, speed, strict=True))
    reach = np.sqrt(np.maximum(1 - offset, 0) / square)
    missed = offset > 1
    return np.where(missed, np.inf, nearest - reach), np.where(missed, -np.inf, nearest + reach)


def cylinder(origin: Axes, direction: Axes, *, half: Axes) -> tuple[Floats, Floats]:
    """Entry and exit of upright cylinders with caps; half length and half width may differ (elliptic)."""
    start = [o / h for o, h in zip(origin[:2], half[:2], strict=True)]
    speed = [d / h for d, h in zip(direction[:2], half[:2], strict=True)]
    entry, exit_ = _unit_ball(start, speed)
    low, high = _slab(origin[2], direction[2], half=half[2])
    return np.maximum(entry, low), np.minimum(exit_, high)


def ellipsoid(origin: Axes, direction: Axes, *, half: Axes) -> tuple[Floats, Floats]:
    """Entry and exit of ellipsoids."""
    start = [o / h for o, h in zip(origin, half, strict=True)]
    speed = [d / h for d, h in zip(direction, half, strict=True)]
    return _unit_ball(start, speed)

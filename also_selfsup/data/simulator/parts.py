"""Parts and objects: the simulated world before any ray is cast, as two flat tables.

An object (car, tree, house) stands on the street and may move; its parts are simple bodies in the object's own frame
(x front, y left, z up, origin on the ground below its middle). Metres, radians, seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.kinds import Kind

Array = NDArray[np.float32]


class Shape(IntEnum):
    """Simple bodies; a frustum is a box whose front, rear and sides lean inwards, a cylinder stands upright."""

    BOX = 0
    FRUSTUM = 1
    CYLINDER = 2
    ELLIPSOID = 3


PART = np.dtype(
    [
        ("centre", "f4", 3),
        ("half", "f4", 3),  # half length, width, height; a cylinder may be elliptic
        (
            "taper",
            "f4",
            3,
        ),  # metres that front, rear and both sides of a frustum give way per metre of height
        ("yaw", "f4"),
        ("reflectance", "f4"),  # 0..1 diffuse; above 1 a retro-reflector
        ("dropout", "f4"),  # chance that light is mirrored away (glass, wet paint)
        ("free_path", "f4"),  # mean metres light travels inside before it meets a leaf or a wire; 0: solid
        ("shape", "i1"),
        ("kind", "i1"),
        ("object", "i4"),
    ]
)

OBJECT = np.dtype(
    [
        ("along", "f8"),  # metres along the street at time 0
        ("across", "f8"),  # metres to the left of the street's middle at time 0
        ("yaw", "f8"),  # relative to the street's direction
        ("speed_along", "f8"),
        ("speed_across", "f8"),
        ("lift", "f8"),  # metres above the ground
        ("size", "f8", 3),  # length, width, height of the bounding box
        ("kind", "i1"),
    ]
)


@dataclass(frozen=True)
class Part:
    """One body of an object; the fields are those of `PART`."""

    shape: Shape
    centre: Sequence[float]
    half: Sequence[float]
    kind: Kind
    reflectance: float = 0.2
    yaw: float = 0.0
    taper: Sequence[float] = (0.0, 0.0, 0.0)
    dropout: float = 0.0
    free_path: float = 0.0


@dataclass(frozen=True)
class Thing:
    """One object with its parts; `annotated` size comes from the parts."""

    kind: Kind
    parts: Sequence[Part]
    along: float = 0.0
    across: float = 0.0
    yaw: float = 0.0
    speed: tuple[float, float] = (0.0, 0.0)
    lift: float = 0.0


@dataclass(frozen=True)
class World:
    """All parts (P,) of dtype `PART` and all objects (O,) of dtype `OBJECT`."""

    parts: NDArray[Any] = field(default_factory=lambda: np.zeros(0, PART))
    objects: NDArray[Any] = field(default_factory=lambda: np.zeros(0, OBJECT))


def bounding_size(parts: Sequence[Part]) -> tuple[float, float, float]:
    """Length, width, height of a box around solid parts that stands on the ground, as annotators draw it."""
    length = max(abs(p.centre[0]) + p.half[0] for p in parts) * 2
    width = max(abs(p.centre[1]) + p.half[1] for p in parts) * 2
    return length, width, max(p.centre[2] + p.half[2] for p in parts)


def assemble(things: Sequence[Thing]) -> World:
    """Put things into the two tables."""
    objects = np.array(
        [(t.along, t.across, t.yaw, *t.speed, t.lift, bounding_size(t.parts), int(t.kind)) for t in things],
        OBJECT,
    )
    parts = np.array(
        [
            (p.centre, p.half, p.taper, p.yaw, p.reflectance, p.dropout, p.free_path, p.shape, p.kind, number)
            for number, thing in enumerate(things)
            for p in thing.parts
        ],
        PART,
    )
    return World(parts=parts, objects=objects)


def placed(parts: NDArray[Any], position: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[Any]:
    """Parts (P,) moved from their objects' frames to the frame in which objects have `position` (O, 3) and `yaw` (O,)."""
    owner = parts["object"]
    cos, sin = np.cos(yaw)[owner], np.sin(yaw)[owner]
    x, y, z = parts["centre"].T
    moved = parts.copy()
    moved["centre"] = np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1) + position[owner]
    moved["yaw"] += yaw[owner]
    return moved

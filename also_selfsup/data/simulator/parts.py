"""Parts and objects: the simulated world before any ray is cast, as two flat tables.

An object (car, tree, house) stands on the street and may move; its parts are simple bodies in the object's
own frame (x front, y left, z up, origin on the ground below its middle). Metres, radians, seconds. Letters: P
parts, O objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.arrays import Axes, Doubles, Floats, Ints
from also_selfsup.data.simulator.kinds import Kind


class Shape(IntEnum):
    """Simple bodies: a frustum is a box whose front, rear and sides lean inwards; cylinders stand."""

    BOX = 0
    FRUSTUM = 1
    CYLINDER = 2
    ELLIPSOID = 3


PART = np.dtype(
    [
        ("centre", "f4", 3),
        ("half", "f4", 3),  # half length, width, height
        (
            "taper",
            "f4",
            3,
        ),  # metres that front, rear and both sides of a frustum give way per metre of height
        ("yaw", "f4"),
        ("reflectance", "f4"),  # 0..1 diffuse; above 1 a retro-reflector
        ("dropout", "f4"),  # chance that light does not come back (glass, black paint, gaps between leaves)
        (
            "free_path",
            "f4",
        ),  # mean metres that light travels inside before it meets a leaf or a wire; 0: solid
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
        ("size", "f8", 3),  # length, width, height of the bounding box
        ("kind", "i1"),
    ]
)


class Part(NamedTuple):
    """One body of an object; the fields are those of `PART`."""

    shape: Shape
    centre: Sequence[float]
    half: Sequence[float]
    kind: Kind
    reflectance: float = 0.2
    taper: Sequence[float] = (0.0, 0.0, 0.0)
    dropout: float = 0.0
    free_path: float = 0.0


class Pose(NamedTuple):
    """Where a thing stands: along and across the street, and heading relative to the street."""

    along: float
    across: float
    yaw: float = 0.0


STANDING = (0.0, 0.0)


@dataclass(frozen=True)
class Thing:
    """One object with its parts; `speed` is along and across the street."""

    kind: Kind
    parts: Sequence[Part]
    pose: Pose
    speed: tuple[float, float] = STANDING


@dataclass(frozen=True)
class World:
    """All parts (P,) of dtype `PART` and all objects (O,) of dtype `OBJECT`."""

    parts: NDArray[Any]
    objects: NDArray[Any]


def bounding_size(parts: Sequence[Part]) -> tuple[float, float, float]:
    """Length, width, height of a box around the parts that stands on the ground, as annotators draw it."""
    if not parts:
        return 0.0, 0.0, 0.0
    length = max(abs(p.centre[0]) + p.half[0] for p in parts) * 2
    width = max(abs(p.centre[1]) + p.half[1] for p in parts) * 2
    return length, width, max(p.centre[2] + p.half[2] for p in parts)


def assemble(things: Sequence[Thing]) -> World:
    """Put things into the two tables."""
    objects = np.array([(*t.pose, *t.speed, bounding_size(t.parts), int(t.kind)) for t in things], OBJECT)
    parts = np.array(
        [
            (p.centre, p.half, p.taper, 0.0, p.reflectance, p.dropout, p.free_path, p.shape, p.kind, number)
            for number, thing in enumerate(things)
            for p in thing.parts
        ],
        PART,
    )
    return World(parts=parts, objects=objects)


def placed(parts: NDArray[Any], position: Doubles, *, yaw: Doubles) -> NDArray[Any]:
    """Parts (P,) in the frame where their objects have `position` (O, 3) and `yaw` (O,)."""
    owner = parts["object"]
    cos, sin = np.cos(yaw)[owner], np.sin(yaw)[owner]
    x, y, z = parts["centre"].T
    moved = parts.copy()
    moved["centre"] = np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1) + position[owner]
    moved["yaw"] += yaw[owner]
    return moved


class LocalFrames:
    """Parts' own frames (P): where the common frame's origin is in them, how directions turn."""

    def __init__(self, parts: NDArray[Any]) -> None:
        x, y, z = parts["centre"].T
        self.cos: Floats = np.cos(parts["yaw"])
        self.sin: Floats = np.sin(parts["yaw"])
        self.origin: Axes = (-(self.cos * x + self.sin * y), self.sin * x - self.cos * y, -z)
        half, taper = np.ascontiguousarray(parts["half"].T), np.ascontiguousarray(parts["taper"].T)
        self.half: Axes = (half[0], half[1], half[2])
        self.taper: Axes = (taper[0], taper[1], taper[2])

    def turned(self, ids: Ints, direction: Axes) -> Axes:
        """Directions (N,) of the common frame in the frames of parts `ids` (N,)."""
        x, y, z = direction
        cos, sin = self.cos[ids], self.sin[ids]
        return cos * x + sin * y, cos * y - sin * x, z


def picked(axes: Axes, ids: Ints) -> Axes:
    """Entries `ids` of each axis."""
    return axes[0][ids], axes[1][ids], axes[2][ids]

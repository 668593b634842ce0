"""Pedestrians, bicycles and motorcycles, with and without riders. Metres; x front, z up."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import STANDING, Part, Pose, Shape, Thing

SKIN = 0.25


def body(
    generator: np.random.Generator, kind: Kind, *, height: float, seat: float, spread: float
) -> list[Part]:
    """Torso, head and arms above `seat` metres, two legs below, feet `spread` metres apart along x."""
    cloth, trousers = (float(v) for v in np.clip(generator.lognormal(-1.6, 0.6, 2), 0.03, 0.7))
    torso = height * 0.19
    legs = [(side * spread / 2, side * 0.1, seat / 2) for side in (-1, 1)]
    arms = [(0.06, side * 0.26, seat + torso) for side in (-1, 1)]
    return [
        *(Part(Shape.CYLINDER, place, (0.09, 0.08, seat / 2), kind, trousers) for place in legs),
        *(Part(Shape.ELLIPSOID, place, (0.07, 0.06, 0.3), kind, cloth) for place in arms),
        Part(Shape.ELLIPSOID, (0, 0, seat + torso), (0.15, 0.22, torso * 1.15), kind, cloth),
        Part(Shape.ELLIPSOID, (0, 0, seat + 2 * torso + 0.13), (0.11, 0.09, 0.13), kind, SKIN),
    ]


def pedestrian(generator: np.random.Generator, pose: Pose, *, speed: tuple[float, float] = STANDING) -> Thing:
    """An adult, or now and then a child."""
    adult = generator.random() < 0.88
    kind = Kind.PEDESTRIAN if adult else Kind.CHILD
    height = float(generator.uniform(1.58, 1.9) if adult else generator.uniform(1.05, 1.45))
    step = 0.35 if np.any(speed) else 0.05
    return Thing(kind, body(generator, kind, height=height, seat=height * 0.48, spread=step), pose, speed)


def two_wheels(
    kind: Kind, *, radius: float, base: float, tyre: float, metal: float, free_path: float
) -> list[Part]:
    """Wheels, frame and handlebar of a cycle; spokes let light through by `free_path`."""
    wheel = (radius, tyre, radius)
    ends = [(side * base / 2, 0, radius) for side in (-1, 1)]
    bar, frame = (0.04, 0.28, 0.14), (base * 0.42, tyre + 0.01, 0.17)
    return [
        *(
            Part(Shape.FRUSTUM, end, wheel, kind, 0.08, taper=(0.15, 0.15, 0), free_path=free_path)
            for end in ends
        ),
        Part(Shape.BOX, (0, 0, radius + 0.15), frame, kind, metal, free_path=free_path),
        Part(Shape.BOX, (base * 0.36, 0, radius + 0.5), bar, kind, metal, free_path=free_path / 2),
    ]


def bicycle(
    generator: np.random.Generator, pose: Pose, *, speed: tuple[float, float] = STANDING, ridden: bool = False
) -> Thing:
    """A bicycle, parked or with its rider."""
    kind = Kind.BICYCLIST if ridden else Kind.BICYCLE
    parts = two_wheels(kind, radius=0.35, base=1.05, tyre=0.03, metal=0.3, free_path=0.15)
    if ridden:
        parts += body(generator, kind, height=float(generator.uniform(1.6, 1.85)), seat=0.92, spread=0.25)
    return Thing(kind, parts, pose, speed)


def motorcycle(
    generator: np.random.Generator, pose: Pose, *, speed: tuple[float, float] = STANDING, ridden: bool = False
) -> Thing:
    """A motorcycle or scooter, parked or with its rider."""
    kind, metal = Kind.MOTORCYCLIST if ridden else Kind.MOTORCYCLE, float(generator.uniform(0.1, 0.5))
    parts = two_wheels(kind, radius=0.3, base=1.35, tyre=0.07, metal=metal, free_path=0.0)
    parts += [
        Part(Shape.BOX, (-0.05, 0, 0.62), (0.5, 0.17, 0.2), kind, float(generator.uniform(0.1, 0.5))),
        Part(Shape.BOX, (-0.72, 0, 0.55), (0.02, 0.1, 0.07), kind, 1.5),
    ]
    if ridden:
        parts += body(generator, kind, height=float(generator.uniform(1.6, 1.85)), seat=0.78, spread=0.3)
    return Thing(kind, parts, pose, speed)

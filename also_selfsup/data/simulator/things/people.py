"""Pedestrians, bicycles and motorcycles, with and without riders. Metres in the thing's own frame: x front, z up."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Shape, Thing
from also_selfsup.data.simulator.things.vehicles import STILL, Pose


def _body(
    generator: np.random.Generator, kind: Kind, height: float, *, seat: float, spread: float
) -> list[Part]:
    """Torso, head and arms from `seat` upwards, two legs below; `spread` is how far the feet are apart along x."""
    cloth, trousers = (float(v) for v in np.clip(generator.lognormal(-1.6, 0.6, 2), 0.03, 0.7))
    torso = height * 0.19
    legs = [
        Part(
            Shape.CYLINDER, (side * spread / 2, side * 0.1, seat / 2), (0.09, 0.08, seat / 2), kind, trousers
        )
        for side in (-1, 1)
    ]
    arms = [
        Part(Shape.ELLIPSOID, (0.06, side * 0.26, seat + torso), (0.07, 0.06, 0.3), kind, cloth)
        for side in (-1, 1)
    ]
    return [
        *legs, *arms,
        Part(Shape.ELLIPSOID, (0, 0, seat + torso), (0.15, 0.22, torso * 1.15), kind, cloth),
        Part(Shape.ELLIPSOID, (0, 0, seat + 2 * torso + 0.13), (0.11, 0.09, 0.13), kind, 0.25),
    ]  # fmt: skip


def pedestrian(generator: np.random.Generator, pose: Pose, speed: tuple[float, float] = STILL) -> Thing:
    """An adult, or now and then a child."""
    kind = Kind.PEDESTRIAN if generator.random() < 0.88 else Kind.CHILD
    height = generator.uniform(1.58, 1.9) if kind == Kind.PEDESTRIAN else generator.uniform(1.05, 1.45)
    walking = 0.35 if speed != STILL else 0.05
    return Thing(kind, _body(generator, kind, height, seat=height * 0.48, spread=walking), *pose, speed)


def _two_wheels(kind: Kind, radius: float, base: float, metal: float) -> list[Part]:
    tyre = 0.03 if radius > 0.33 else 0.07
    # Spokes let most of the light through a bicycle's wheel; a motorcycle's is nearly solid.
    free = 0.15 if radius > 0.33 else 0.0
    return [
        *(
            Part(Shape.FRUSTUM, (side * base / 2, 0, radius), (radius, tyre, radius), kind, 0.08, taper=(0.15, 0.15, 0), free_path=free)
            for side in (-1, 1)
        ),
        Part(Shape.BOX, (0, 0, radius + 0.15), (base * 0.42, tyre + 0.01, 0.17), kind, metal, free_path=free),
        Part(Shape.BOX, (base * 0.36, 0, radius + 0.5), (0.04, 0.28, 0.14), kind, metal, free_path=free / 2),
    ]  # fmt: skip


def bicycle(
    generator: np.random.Generator, pose: Pose, speed: tuple[float, float] = STILL, *, ridden: bool = False
) -> Thing:
    """A bicycle, parked or with its rider."""
    kind = Kind.BICYCLIST if ridden else Kind.BICYCLE
    parts = _two_wheels(kind, 0.35, 1.05, 0.3)
    if ridden:
        parts += _body(generator, kind, generator.uniform(1.6, 1.85), seat=0.92, spread=0.25)
    return Thing(kind, parts, *pose, speed)


def motorcycle(
    generator: np.random.Generator, pose: Pose, speed: tuple[float, float] = STILL, *, ridden: bool = False
) -> Thing:
    """A motorcycle or scooter, parked or with its rider."""
    kind = Kind.MOTORCYCLIST if ridden else Kind.MOTORCYCLE
    parts = _two_wheels(kind, 0.3, 1.35, float(generator.uniform(0.1, 0.5)))
    parts += [
        Part(Shape.BOX, (-0.05, 0, 0.62), (0.5, 0.17, 0.2), kind, float(generator.uniform(0.1, 0.5))),
        Part(Shape.BOX, (-0.72, 0, 0.55), (0.02, 0.1, 0.07), kind, 1.5),
    ]
    if ridden:
        parts += _body(generator, kind, generator.uniform(1.6, 1.85), seat=0.78, spread=0.3)
    return Thing(kind, parts, *pose, speed)

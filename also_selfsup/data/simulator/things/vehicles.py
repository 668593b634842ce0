"""Cars, vans, trucks, buses, trailers and diggers as a few leaning boxes each, with wheels, windows and number plates.

Metres in the vehicle's own frame: x front, y left, z up, origin on the ground below its middle.
"""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Shape, Thing

GLASS = 0.75
Pose = tuple[float, float, float]  # along, across, yaw
STILL = (0.0, 0.0)


def box(kind: Kind, centre: Pose, half: Pose, reflectance: float, *, dropout: float = 0.0) -> Part:
    """An upright box."""
    return Part(Shape.BOX, centre, half, kind, reflectance, dropout=dropout)


def wheels(kind: Kind, axles: list[float], half_width: float, radius: float) -> list[Part]:
    """A pair of tyres at each axle; black rubber."""
    return [
        Part(
            Shape.FRUSTUM,
            (x, side * (half_width - 0.1), radius),
            (radius, 0.1, radius),
            kind,
            0.06,
            taper=(0.2, 0.2, 0.0),
        )
        for x in axles
        for side in (-1, 1)
    ]


def plates(kind: Kind, half_length: float, height: float) -> list[Part]:
    """Retro-reflecting number plates front and rear."""
    return [box(kind, (side * (half_length - 0.005), 0, height), (0.02, 0.25, 0.06), 1.6) for side in (-1, 1)]


def car(generator: np.random.Generator, pose: Pose, speed: tuple[float, float] = STILL) -> Thing:
    """A hatchback, saloon, estate car or van."""
    kind = Kind.CAR
    length, width = generator.uniform(3.9, 4.9) / 2, generator.uniform(1.7, 1.92) / 2
    height = generator.uniform(1.42, 1.75)
    paint = float(np.clip(generator.lognormal(-1.4, 0.7), 0.03, 0.8))
    shiny = 0.25 if paint < 0.12 else 0.08
    waist, clearance = height * 0.6, 0.22
    boot = generator.choice([0.1, 0.55, 1.0], p=[0.5, 0.2, 0.3])
    cabin_front, cabin_rear = length * 0.42, -length + boot
    middle, reach = (cabin_front + cabin_rear) / 2, (cabin_front - cabin_rear) / 2
    rise = (height - waist) / 2
    parts = [
        Part(Shape.FRUSTUM, (0, 0, (waist + clearance) / 2), (length, width, (waist - clearance) / 2), kind, paint,
             taper=(0.25, 0.15, 0.05), dropout=shiny),
        Part(Shape.FRUSTUM, (middle, 0, waist + rise), (reach, width * 0.93, rise), kind, paint * 0.5,
             taper=(1.2, 0.6, 0.25), dropout=GLASS * 0.7),
        box(kind, (middle - 0.15, 0, height - 0.03), (reach * 0.55, width * 0.72, 0.04), paint, dropout=shiny),
        *wheels(kind, [length * 0.62, -length * 0.6], width, 0.32),
        *plates(kind, length, 0.5),
    ]  # fmt: skip
    return Thing(kind, parts, *pose, speed)


def truck(generator: np.random.Generator, pose: Pose, speed: tuple[float, float] = STILL) -> Thing:
    """A van-sized to heavy lorry: cabin, gap, box body."""
    kind = Kind.TRUCK
    length, width = generator.uniform(5.8, 10.5) / 2, generator.uniform(2.0, 2.5) / 2
    height, cabin = generator.uniform(2.5, 3.7), 1.0
    paint = float(generator.uniform(0.15, 0.6))
    body = (-length, length - 2 * cabin - 0.25)
    parts = [
        Part(Shape.FRUSTUM, (length - cabin, 0, 0.75), (cabin, width, 0.4), kind, paint, taper=(0.05, 0, 0)),
        Part(Shape.FRUSTUM, (length - cabin, 0, 1.15 + height * 0.17), (cabin, width, height * 0.17), kind, paint * 0.6,
             taper=(0.3, 0, 0.05), dropout=GLASS * 0.5),
        box(kind, ((body[0] + body[1]) / 2, 0, (height + 0.9) / 2), ((body[1] - body[0]) / 2, width, (height - 0.9) / 2), paint),
        *wheels(kind, [length - cabin, -length * 0.55], width, 0.48),
        *plates(kind, length, 0.6),
    ]  # fmt: skip
    return Thing(kind, parts, *pose, speed)


def bus(generator: np.random.Generator, pose: Pose, speed: tuple[float, float] = STILL) -> Thing:
    """A city bus with a band of windows."""
    kind, length, width = Kind.BUS, generator.uniform(10, 12.5) / 2, 1.27
    height, paint = generator.uniform(2.9, 3.2), float(generator.uniform(0.2, 0.5))
    parts = [
        box(kind, (0, 0, 0.85), (length, width, 0.55), paint),
        box(kind, (0, 0, 1.9), (length - 0.03, width - 0.03, 0.5), 0.08, dropout=GLASS),
        box(kind, (0, 0, (2.4 + height) / 2), (length, width, (height - 2.4) / 2), paint),
        *wheels(kind, [length * 0.55, -length * 0.5], width, 0.48),
        *plates(kind, length, 0.7),
    ]
    return Thing(kind, parts, *pose, speed)


def trailer(generator: np.random.Generator, pose: Pose) -> Thing:
    """A parked semi-trailer."""
    kind, length, width = Kind.TRAILER, generator.uniform(7, 12) / 2, 1.25
    height, paint = generator.uniform(3.0, 3.9), float(generator.uniform(0.2, 0.6))
    parts = [
        box(kind, (0, 0, (height + 1.1) / 2), (length, width, (height - 1.1) / 2), paint),
        box(kind, (length * 0.6, 0, 0.55), (0.1, 0.6, 0.55), 0.1),
        *wheels(kind, [-length * 0.5, -length * 0.75], width, 0.5),
    ]
    return Thing(kind, parts, *pose)


def digger(generator: np.random.Generator, pose: Pose) -> Thing:
    """An excavator at rest: tracks, cabin, counterweight, boom and bucket."""
    kind, paint = Kind.CONSTRUCTION, float(generator.uniform(0.3, 0.6))
    parts = [
        *(box(kind, (0, side * 1.0, 0.4), (1.7, 0.3, 0.4), 0.1) for side in (-1, 1)),
        box(kind, (-0.6, 0, 1.4), (1.1, 1.2, 0.6), paint),
        box(kind, (0.4, 0.6, 1.9), (0.7, 0.5, 1.0), 0.15, dropout=0.4),
        Part(Shape.FRUSTUM, (2.2, -0.1, 2.0), (1.9, 0.22, 0.9), kind, paint, taper=(0.0, 1.5, 0)),
        box(kind, (3.9, -0.1, 0.7), (0.4, 0.6, 0.5), 0.12),
    ]
    return Thing(kind, parts, *pose)

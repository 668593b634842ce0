"""Cars, trucks, buses, trailers and diggers as a few leaning boxes each, with wheels and plates.

Metres in the vehicle's own frame: x front, y left, z up, origin on the ground below its middle.
"""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import STANDING, Part, Pose, Shape, Thing

Triple = tuple[float, float, float]
GLASS = 0.75
RUBBER = 0.06
PLATE = 1.6


def wheels(kind: Kind, axles: list[float], *, half_width: float, radius: float) -> list[Part]:
    """A pair of tyres at each axle."""
    half = (radius, 0.1, radius)
    places = [(x, side * (half_width - 0.1), radius) for x in axles for side in (-1, 1)]
    return [Part(Shape.FRUSTUM, place, half, kind, RUBBER, taper=(0.2, 0.2, 0.0)) for place in places]


def plates(kind: Kind, half_length: float, *, height: float) -> list[Part]:
    """Retro-reflecting number plates front and rear."""
    places = [(side * (half_length - 0.005), 0, height) for side in (-1, 1)]
    return [Part(Shape.BOX, place, (0.02, 0.25, 0.06), kind, PLATE) for place in places]


def car(generator: np.random.Generator, pose: Pose, *, speed: tuple[float, float] = STANDING) -> Thing:
    """A hatchback, saloon, estate car or van."""
    kind, draw = Kind.CAR, generator.uniform
    length, width, height = float(draw(1.95, 2.45)), float(draw(0.85, 0.96)), float(draw(1.42, 1.75))
    paint = float(np.clip(generator.lognormal(-1.4, 0.7), 0.03, 0.8))
    # Dark glossy paint mirrors most of the light away.
    gloss = 0.25 if paint < 0.12 else 0.08
    boot = float(generator.choice([0.1, 0.55, 1.0], p=[0.5, 0.2, 0.3]))
    front, rear, waist, clearance = length * 0.42, -length + boot, height * 0.6, 0.22
    middle, reach, rise = (front + rear) / 2, (front - rear) / 2, (height - waist) / 2
    body: Triple = (length, width, (waist - clearance) / 2)
    cabin: Triple = (reach, width * 0.93, rise)
    parts = [
        Part(
            Shape.FRUSTUM,
            (0, 0, clearance + body[2]),
            body,
            kind,
            paint,
            taper=(0.25, 0.15, 0.05),
            dropout=gloss,
        ),
        Part(
            Shape.FRUSTUM,
            (middle, 0, waist + rise),
            cabin,
            kind,
            paint / 2,
            taper=(1.2, 0.6, 0.25),
            dropout=GLASS,
        ),
        Part(Shape.BOX, (middle - 0.15, 0, height - 0.03), (reach * 0.55, width * 0.72, 0.04), kind, paint),
        *wheels(kind, [length * 0.62, -length * 0.6], half_width=width, radius=0.32),
        *plates(kind, length, height=0.5),
    ]
    return Thing(kind, parts, pose, speed)


def truck(generator: np.random.Generator, pose: Pose, *, speed: tuple[float, float] = STANDING) -> Thing:
    """A delivery van to heavy lorry: bonnet, cabin, box body."""
    kind, draw, paint = Kind.TRUCK, generator.uniform, float(generator.uniform(0.15, 0.6))
    length, width, height = float(draw(2.9, 5.2)), float(draw(1.0, 1.25)), float(draw(2.5, 3.7))
    nose, glass, front = length - 1.0, height * 0.17, length - 2.25
    box: Triple = ((front + length) / 2, width, (height - 0.9) / 2)
    parts = [
        Part(Shape.FRUSTUM, (nose, 0, 0.75), (1.0, width, 0.4), kind, paint, taper=(0.05, 0, 0)),
        Part(
            Shape.FRUSTUM,
            (nose, 0, 1.15 + glass),
            (1.0, width, glass),
            kind,
            paint,
            taper=(0.3, 0, 0.05),
            dropout=0.4,
        ),
        Part(Shape.BOX, (front - box[0], 0, (height + 0.9) / 2), box, kind, paint),
        *wheels(kind, [nose, -length * 0.55], half_width=width, radius=0.48),
        *plates(kind, length, height=0.6),
    ]
    return Thing(kind, parts, pose, speed)


def bus(generator: np.random.Generator, pose: Pose, *, speed: tuple[float, float] = STANDING) -> Thing:
    """A city bus with a band of windows."""
    kind, width, length = Kind.BUS, 1.27, float(generator.uniform(5, 6.2))
    height, paint = float(generator.uniform(2.9, 3.2)), float(generator.uniform(0.2, 0.5))
    parts = [
        Part(Shape.BOX, (0, 0, 0.85), (length, width, 0.55), kind, paint),
        Part(Shape.BOX, (0, 0, 1.9), (length - 0.03, width - 0.03, 0.5), kind, 0.08, dropout=GLASS),
        Part(Shape.BOX, (0, 0, (2.4 + height) / 2), (length, width, (height - 2.4) / 2), kind, paint),
        *wheels(kind, [length * 0.55, -length * 0.5], half_width=width, radius=0.48),
        *plates(kind, length, height=0.7),
    ]
    return Thing(kind, parts, pose, speed)


def trailer(generator: np.random.Generator, pose: Pose) -> Thing:
    """A parked semi-trailer."""
    kind, width, length = Kind.TRAILER, 1.25, float(generator.uniform(3.5, 6))
    height, paint = float(generator.uniform(3.0, 3.9)), float(generator.uniform(0.2, 0.6))
    parts = [
        Part(Shape.BOX, (0, 0, (height + 1.1) / 2), (length, width, (height - 1.1) / 2), kind, paint),
        Part(Shape.BOX, (length * 0.6, 0, 0.55), (0.1, 0.6, 0.55), kind, 0.1),
        *wheels(kind, [-length * 0.5, -length * 0.75], half_width=width, radius=0.5),
    ]
    return Thing(kind, parts, pose)


def digger(generator: np.random.Generator, pose: Pose) -> Thing:
    """An excavator at rest: tracks, counterweight, cabin, boom and bucket."""
    kind, paint = Kind.CONSTRUCTION, float(generator.uniform(0.3, 0.6))
    parts = [
        *(Part(Shape.BOX, (0, side, 0.4), (1.7, 0.3, 0.4), kind, 0.1) for side in (-1.0, 1.0)),
        Part(Shape.BOX, (-0.6, 0, 1.4), (1.1, 1.2, 0.6), kind, paint),
        Part(Shape.BOX, (0.4, 0.6, 1.9), (0.7, 0.5, 1.0), kind, 0.15, dropout=0.4),
        Part(Shape.FRUSTUM, (2.2, -0.1, 2.0), (1.9, 0.22, 0.9), kind, paint, taper=(0, 1.5, 0)),
        Part(Shape.BOX, (3.9, -0.1, 0.7), (0.4, 0.6, 0.5), kind, 0.12),
    ]
    return Thing(kind, parts, pose)

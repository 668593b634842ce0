"""Street furniture: lamp posts, traffic lights and signs, bollards, bins, barriers, cones. Metres, z up."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Pose, Shape, Thing

METAL = 0.25


def _pole(height: float, radius: float) -> Part:
    return Part(Shape.CYLINDER, (0, 0, height / 2), (radius, radius, height / 2), Kind.POLE, METAL)


def lamp(generator: np.random.Generator, pose: Pose) -> Thing:
    """A lamp post with its arm over the road."""
    height, inwards = float(generator.uniform(6, 9)), -np.sign(pose.across)
    arm = Part(Shape.BOX, (0, inwards * 0.9, height), (0.06, 0.9, 0.05), Kind.POLE, METAL)
    return Thing(Kind.POLE, [_pole(height, 0.09), arm], pose)


def sign(generator: np.random.Generator, pose: Pose) -> Thing:
    """A retro-reflecting traffic sign that faces the traffic of its side."""
    height, retro = float(generator.uniform(2.1, 2.7)), float(generator.uniform(1.3, 2.5))
    plate = Part(Shape.BOX, (0.05 * np.sign(pose.across), 0, height), (0.015, 0.33, 0.33), Kind.SIGN, retro)
    return Thing(Kind.SIGN, [_pole(height + 0.2, 0.035), plate], pose)


def traffic_light(generator: np.random.Generator, pose: Pose) -> Thing:
    """A mast with a signal head at eye level and one over the road."""
    inwards, reach = -np.sign(pose.across), float(generator.uniform(2.5, 4.5))
    head = (0.15, 0.18, 0.5)
    parts = [
        _pole(6.0, 0.1),
        Part(Shape.BOX, (0, inwards * reach / 2, 5.8), (0.07, reach / 2, 0.07), Kind.POLE, METAL),
        Part(Shape.BOX, (0, inwards * reach, 5.4), head, Kind.SIGN, 0.15),
        Part(Shape.BOX, (0, inwards * 0.2, 2.7), head, Kind.SIGN, 0.15),
    ]
    return Thing(Kind.POLE, parts, pose)


def bollard(pose: Pose) -> Thing:
    """A low post at the kerb."""
    return Thing(Kind.POLE, [_pole(0.9, 0.08)], pose)


def clutter(generator: np.random.Generator, pose: Pose) -> Thing:
    """A dustbin, electricity box or the like."""
    half = generator.uniform([0.25, 0.2, 0.45], [0.7, 0.4, 0.75]).tolist()
    body = Part(Shape.BOX, (0, 0, float(half[2])), half, Kind.CLUTTER, float(generator.uniform(0.1, 0.4)))
    return Thing(Kind.CLUTTER, [body], pose._replace(yaw=float(generator.uniform(0, np.pi))))


def roadworks(generator: np.random.Generator, pose: Pose) -> list[Thing]:
    """A row of barriers with cones before it."""
    fence = Part(Shape.FRUSTUM, (0, 0, 0.5), (0.9, 0.25, 0.5), Kind.BARRIER, 0.4, taper=(0, 0, 0.15))
    barriers, cones = int(generator.integers(3, 7)), int(generator.integers(2, 6))
    row = [pose._replace(along=pose.along + 2.1 * step) for step in range(barriers)]
    before = [pose._replace(along=pose.along - 2 - 1.8 * step) for step in range(cones)]
    return [Thing(Kind.BARRIER, [fence], place) for place in row] + [cone(place) for place in before]


def cone(pose: Pose) -> Thing:
    """A traffic cone with a reflecting ring."""
    parts = [
        Part(Shape.FRUSTUM, (0, 0, 0.37), (0.19, 0.19, 0.35), Kind.CONE, 0.35, taper=(0.22, 0.22, 0.22)),
        Part(Shape.CYLINDER, (0, 0, 0.5), (0.11, 0.11, 0.06), Kind.CONE, 1.4),
        Part(Shape.BOX, (0, 0, 0.02), (0.22, 0.22, 0.02), Kind.CONE, 0.1),
    ]
    return Thing(Kind.CONE, parts, pose)

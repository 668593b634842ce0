"""Street furniture: lamp posts, traffic lights and signs, bollards, bins, barriers, cones. Metres, z up."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Shape, Thing


def _pole(height: float, radius: float, reflectance: float = 0.25) -> Part:
    return Part(Shape.CYLINDER, (0, 0, height / 2), (radius, radius, height / 2), Kind.POLE, reflectance)


def lamp(generator: np.random.Generator, along: float, across: float) -> Thing:
    """A lamp post with its arm over the road."""
    height, side = float(generator.uniform(6, 9)), -np.sign(across)
    arm = Part(Shape.BOX, (0, side * 0.9, height), (0.06, 0.9, 0.05), Kind.POLE, 0.25)
    return Thing(Kind.POLE, [_pole(height, 0.09), arm], along, across)


def sign(generator: np.random.Generator, along: float, across: float) -> Thing:
    """A retro-reflecting traffic sign that faces the traffic of its side."""
    height = float(generator.uniform(2.1, 2.7))
    plate = Part(
        Shape.BOX,
        (0.05 * np.sign(across), 0, height),
        (0.015, 0.33, 0.33),
        Kind.SIGN,
        float(generator.uniform(1.3, 2.5)),
    )
    return Thing(Kind.SIGN, [_pole(height + 0.2, 0.035), plate], along, across)


def traffic_light(generator: np.random.Generator, along: float, across: float) -> Thing:
    """A mast with a signal head at eye level and one over the road."""
    side = -np.sign(across)
    reach = float(generator.uniform(2.5, 4.5))
    parts = [
        _pole(6.0, 0.1),
        Part(Shape.BOX, (0, side * reach / 2, 5.8), (0.07, reach / 2, 0.07), Kind.POLE, 0.25),
        Part(Shape.BOX, (0, side * reach, 5.4), (0.15, 0.18, 0.5), Kind.SIGN, 0.15),
        Part(Shape.BOX, (0, side * 0.2, 2.7), (0.15, 0.18, 0.5), Kind.SIGN, 0.15),
    ]
    return Thing(Kind.POLE, parts, along, across)


def bollard(along: float, across: float) -> Thing:
    """A low post at the kerb."""
    return Thing(Kind.POLE, [_pole(0.9, 0.08, 0.3)], along, across)


def bin_(generator: np.random.Generator, along: float, across: float) -> Thing:
    """A dustbin, electricity box or the like."""
    half = generator.uniform([0.25, 0.2, 0.45], [0.7, 0.4, 0.75])
    body = Part(
        Shape.BOX, (0, 0, float(half[2])), tuple(half), Kind.CLUTTER, float(generator.uniform(0.1, 0.4))
    )
    return Thing(Kind.CLUTTER, [body], along, across, float(generator.uniform(0, np.pi)))


def roadworks(generator: np.random.Generator, along: float, across: float) -> list[Thing]:
    """A row of barriers and cones round a closed piece of road."""
    things = []
    for step in range(int(generator.integers(3, 7))):
        body = Part(Shape.FRUSTUM, (0, 0, 0.5), (0.9, 0.25, 0.5), Kind.BARRIER, 0.4, taper=(0, 0, 0.15))
        things.append(Thing(Kind.BARRIER, [body], along + step * 2.1, across))
    for step in range(int(generator.integers(2, 6))):
        things.append(cone(along - 2 - step * 1.8, across - np.sign(across) * 0.15 * step))
    return things


def cone(along: float, across: float) -> Thing:
    """A traffic cone with a reflecting ring."""
    body = Part(Shape.FRUSTUM, (0, 0, 0.37), (0.19, 0.19, 0.35), Kind.CONE, 0.35, taper=(0.22, 0.22, 0.22))
    ring = Part(Shape.CYLINDER, (0, 0, 0.5), (0.11, 0.11, 0.06), Kind.CONE, 1.4)
    foot = Part(Shape.BOX, (0, 0, 0.02), (0.22, 0.22, 0.02), Kind.CONE, 0.1)
    return Thing(Kind.CONE, [body, ring, foot], along, across)

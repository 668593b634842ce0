"""Trees, bushes and hedges: solid trunks and porous crowns in which light gets some way before it meets a leaf."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Shape, Thing


def _leaves(
    centre: tuple[float, float, float], half: tuple[float, float, float], free_path: float, green: float
) -> Part:
    return Part(Shape.ELLIPSOID, centre, half, Kind.VEGETATION, green, dropout=0.25, free_path=free_path)


def tree(generator: np.random.Generator, along: float, across: float) -> Thing:
    """A street tree: trunk, a few limbs' worth of crown blobs, 4 to 13 metres high."""
    height = float(generator.uniform(4.5, 13))
    radius, stem = height * generator.uniform(0.22, 0.36), height * generator.uniform(0.15, 0.3)
    green, thickness = float(generator.uniform(0.15, 0.45)), 0.05 + height * generator.uniform(0.008, 0.016)
    free_path = float(generator.uniform(0.8, 2.2))
    parts = [
        Part(Shape.CYLINDER, (0, 0, height * 0.3), (thickness, thickness, height * 0.3), Kind.TRUNK, 0.2)
    ]
    for _ in range(int(generator.integers(6, 11))):
        angle, out = generator.uniform(0, 2 * np.pi), radius * np.sqrt(generator.random()) * 0.85
        rise = generator.uniform(stem + radius * 0.4, height - radius * 0.3)
        size = radius * generator.uniform(0.35, 0.7)
        centre = (out * np.cos(angle), out * np.sin(angle), float(rise))
        parts.append(
            _leaves(
                centre,
                (size, size * generator.uniform(0.8, 1.1), size * generator.uniform(0.7, 1.2)),
                free_path,
                green,
            )
        )
    return Thing(Kind.VEGETATION, parts, along, across)


def bush(generator: np.random.Generator, along: float, across: float) -> Thing:
    """A bush of three blobs, up to two metres."""
    green, size = float(generator.uniform(0.15, 0.45)), generator.uniform(0.4, 1.0)
    parts = [
        _leaves(
            (*(generator.uniform(-0.5, 0.5, 2) * size), size * 0.6),
            tuple(size * generator.uniform(0.6, 1.1, 3)),
            0.2,
            green,
        )
        for _ in range(3)
    ]
    return Thing(Kind.VEGETATION, parts, along, across)


def hedge(generator: np.random.Generator, along: float, across: float, length: float) -> Thing:
    """A clipped hedge along the street."""
    height, green = float(generator.uniform(0.8, 2.0)), float(generator.uniform(0.15, 0.45))
    body = Part(
        Shape.BOX,
        (0, 0, height / 2),
        (length / 2, generator.uniform(0.3, 0.6), height / 2),
        Kind.VEGETATION,
        green,
        free_path=0.12,
    )
    return Thing(Kind.VEGETATION, [body], along, across)

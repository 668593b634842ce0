"""Trees, bushes and hedges: solid trunks, porous crowns where light gets some way to a leaf."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Pose, Shape, Thing

BARK = 0.2
# Chance that light that should meet a leaf slips through: most beams are wider than a leaf.
SLIP = 0.4


def tree(generator: np.random.Generator, pose: Pose) -> Thing:
    """A tree of 4 to 13 metres: trunk and a crown of some overlapping blobs."""
    draw = generator.uniform
    height = float(draw(4.5, 13))
    radius, stem = height * draw(0.22, 0.36), height * draw(0.15, 0.3)
    green, free_path, girth = (
        float(draw(0.15, 0.45)),
        float(draw(0.8, 2.2)),
        0.05 + height * draw(0.008, 0.016),
    )
    parts = [Part(Shape.CYLINDER, (0, 0, height * 0.3), (girth, girth, height * 0.3), Kind.TRUNK, BARK)]
    angle, out, rise, size, length, width, tall = draw(size=(7, int(generator.integers(6, 11))))
    angle, out = angle * 2 * np.pi, np.sqrt(out) * radius * 0.85
    low, high = stem + radius * 0.4, height - radius * 0.3
    centres = np.stack([out * np.cos(angle), out * np.sin(angle), low + rise * (high - low)], axis=1)
    stretch = np.stack([0.9 + 0.2 * length, 0.9 + 0.2 * width, 0.7 + 0.5 * tall], axis=1)
    halves = radius * (0.35 + 0.35 * size)[:, None] * stretch
    for centre, half in zip(centres.tolist(), halves.tolist(), strict=True):
        parts.append(
            Part(Shape.ELLIPSOID, centre, half, Kind.VEGETATION, green, dropout=SLIP, free_path=free_path)
        )
    return Thing(Kind.VEGETATION, parts, pose)


def bush(generator: np.random.Generator, pose: Pose) -> Thing:
    """A bush of three blobs, up to two metres."""
    green, size = float(generator.uniform(0.15, 0.45)), float(generator.uniform(0.4, 1.0))
    parts = []
    for _ in range(3):
        x, y = generator.uniform(-0.5, 0.5, 2) * size
        half: list[float] = (size * generator.uniform(0.6, 1.1, 3)).tolist()
        parts.append(Part(Shape.ELLIPSOID, (x, y, size * 0.6), half, Kind.VEGETATION, green, free_path=0.25))
    return Thing(Kind.VEGETATION, parts, pose)


def hedge(generator: np.random.Generator, pose: Pose, *, length: float) -> Thing:
    """A clipped hedge along the street."""
    height, green = float(generator.uniform(0.8, 2.0)), float(generator.uniform(0.15, 0.45))
    half = (length / 2, float(generator.uniform(0.3, 0.6)), height / 2)
    return Thing(
        Kind.VEGETATION,
        [Part(Shape.BOX, (0, 0, half[2]), half, Kind.VEGETATION, green, free_path=0.12)],
        pose,
    )

"""House fronts with depth (bays, balconies, steps, roofs), walls and fences. Metres; x along the street, y into the lot."""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Shape, Thing


def _block(centre: tuple[float, float, float], half: tuple[float, float, float], reflectance: float) -> Part:
    return Part(Shape.BOX, centre, half, Kind.BUILDING, reflectance)


def _front(
    generator: np.random.Generator, half_length: float, height: float, depth: float, paint: float
) -> list[Part]:
    """What stands out of a front at y = -depth: bays, balconies, a canopy, steps."""
    parts = []
    for place in np.arange(-half_length + 2, half_length - 1.5, 4.0) + generator.uniform(0, 1):
        style = generator.random()
        if style < 0.25:
            out = generator.uniform(0.15, 0.6)
            parts.append(
                _block(
                    (place, -depth - out / 2, height / 2),
                    (generator.uniform(0.6, 1.6), out / 2, height / 2),
                    paint * 1.1,
                )
            )
        elif style < 0.45:
            for storey in np.arange(3.3, height - 1.5, 3.1):
                parts.append(_block((place, -depth - 0.5, storey + 0.5), (1.3, 0.5, 0.5), paint * 0.9))
        elif style < 0.6:
            parts.append(_block((place, -depth - 0.6, 2.9), (1.5, 0.6, 0.1), paint))
        elif style < 0.75:
            parts.append(_block((place, -depth - 0.4, 0.25), (0.9, 0.4, 0.25), paint * 0.8))
    return parts


def building(
    generator: np.random.Generator, along: float, front: float, length: float, *, tall: float
) -> Thing:
    """A house whose front stands `front` metres from the street's middle (negative: on the right-hand side).

    Args:
        generator: Source of its looks.
        along: Position of its middle.
        front: Position of its front.
        length: Metres along the street.
        tall: Mean height of the neighbourhood.
    """
    depth, paint = float(generator.uniform(4, 7)), float(np.clip(generator.lognormal(-1.0, 0.5), 0.08, 0.9))
    height = float(np.clip(generator.gamma(8, tall / 8), 3, 40))
    yaw = float(generator.normal(0, 0.02) + (0.0 if front > 0 else np.pi))
    recess = generator.uniform(0, 1.2) if generator.random() < 0.5 else 0.0
    split = float(generator.uniform(-0.3, 0.3)) * length
    left, right = (-length / 2, split), (split, length / 2)
    parts = [
        _block(((a + b) / 2, shift / 2, height / 2), ((b - a) / 2, depth - shift / 2, height / 2), paint)
        for (a, b), shift in ((left, 0.0), (right, recess))
    ]
    parts += _front(generator, length / 2, height, depth, paint)
    if height < 12 and generator.random() < 0.6:
        lean = depth / 2.2
        parts.append(
            Part(
                Shape.FRUSTUM,
                (0, 0, height + 1.1),
                (length / 2 + 0.3, depth + 0.4, 1.1),
                Kind.BUILDING,
                0.2,
                taper=(0, 0, lean),
            )
        )
    return Thing(Kind.BUILDING, parts, along, front + np.sign(front) * depth, yaw)


def wall(generator: np.random.Generator, along: float, across: float, length: float) -> Thing:
    """A garden wall, or a see-through fence."""
    height = float(generator.uniform(0.7, 2.2))
    solid = generator.random() < 0.5
    thickness = 0.12 if solid else 0.03
    body = Part(
        Shape.BOX, (0, 0, height / 2), (length / 2, thickness, height / 2), Kind.FENCE if not solid else Kind.BUILDING,
        float(generator.uniform(0.15, 0.45)), free_path=0.0 if solid else 0.08,
    )  # fmt: skip
    return Thing(body.kind, [body], along, across)

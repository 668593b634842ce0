"""House fronts with depth (bays, balconies, canopies, steps, roofs), walls and fences.

Metres; x along the street, y into the lot, z up.
"""

from __future__ import annotations

import numpy as np

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Pose, Shape, Thing

STOREY = 3.1


def building(
    generator: np.random.Generator, along: float, *, front: float, length: float, tall: float
) -> Thing:
    """A house.

    Args:
        generator: Source of its looks.
        along: Position of its middle.
        front: Position across of its front; negative on the right-hand side.
        length: Metres along the street.
        tall: Mean height of the neighbourhood.
    """
    depth, paint = float(generator.uniform(4, 7)), float(np.clip(generator.lognormal(-1.0, 0.5), 0.08, 0.9))
    height = float(np.clip(generator.gamma(8, tall / 8), 3, 40))
    # Two blocks, one of them often set back, so that few fronts are one plane.
    recess = float(generator.uniform(0, 1.2)) if generator.random() < 0.5 else 0.0
    split = float(generator.uniform(-0.3, 0.3)) * length
    parts = [
        _block(
            (start + end) / 2,
            set_back / 2,
            half=((end - start) / 2, depth - set_back / 2, height / 2),
            paint=paint,
        )
        for start, end, set_back in ((-length / 2, split, 0.0), (split, length / 2, recess))
    ]
    for place in np.arange(2 - length / 2, length / 2 - 1.5, 4.0) + generator.uniform(0, 1):
        parts += _relief(generator, float(place), height=height, depth=depth, paint=paint)
    if height < 12 and generator.random() < 0.6:
        roof = (length / 2 + 0.3, depth + 0.4, 1.1)
        parts.append(
            Part(Shape.FRUSTUM, (0, 0, height + 1.1), roof, Kind.BUILDING, 0.2, taper=(0, 0, depth / 2.2))
        )
    yaw = float(generator.normal(0, 0.02)) + (0.0 if front > 0 else np.pi)
    return Thing(Kind.BUILDING, parts, Pose(along, front + float(np.sign(front)) * depth, yaw))


def _block(
    x: float, y: float, *, half: tuple[float, float, float], paint: float, bottom: float = 0.0
) -> Part:
    return Part(Shape.BOX, (x, y, bottom + half[2]), half, Kind.BUILDING, paint)


def _relief(
    generator: np.random.Generator, place: float, *, height: float, depth: float, paint: float
) -> list[Part]:
    """What stands out of a front (at y = -depth) at a place: a bay, balconies, a canopy, steps or nothing."""
    style = generator.random()
    if style < 0.25:
        out, wide = float(generator.uniform(0.08, 0.3)), float(generator.uniform(0.6, 1.6))
        return [_block(place, -depth - out, half=(wide, out, height / 2), paint=paint * 1.1)]
    if style < 0.45:
        storeys = np.arange(STOREY + 0.2, height - 1.5, STOREY)
        return [
            _block(place, -depth - 0.5, half=(1.3, 0.5, 0.5), paint=paint, bottom=float(z)) for z in storeys
        ]
    if style < 0.6:
        return [_block(place, -depth - 0.6, half=(1.5, 0.6, 0.1), paint=paint, bottom=2.8)]
    if style < 0.75:
        return [_block(place, -depth - 0.4, half=(0.9, 0.4, 0.25), paint=paint * 0.8)]
    return []


def wall(generator: np.random.Generator, pose: Pose, *, length: float) -> Thing:
    """A garden wall, or a see-through fence."""
    height, paint = float(generator.uniform(0.7, 2.2)), float(generator.uniform(0.15, 0.45))
    if generator.random() < 0.5:
        return Thing(Kind.BUILDING, [_block(0, 0, half=(length / 2, 0.12, height / 2), paint=paint)], pose)
    fence = Part(
        Shape.BOX, (0, 0, height / 2), (length / 2, 0.03, height / 2), Kind.FENCE, paint, free_path=0.08
    )
    return Thing(Kind.FENCE, [fence], pose)

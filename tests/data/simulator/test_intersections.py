"""Entry and exit of rays against dense sampling of what is inside each body."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from also_selfsup.data.simulator import intersections

RAYS, REACH, STEP = 400, 14.0, 0.01
HALF = np.array([1.5, 0.8, 1.1])
TAPER = np.array([0.7, 0.2, 0.15])

Inside = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


def in_box(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (np.abs(p) <= HALF).all(-1)


def in_frustum(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    above = p[..., 2] + HALF[2]
    front, rear, side = HALF[0] - TAPER[0] * above, HALF[0] - TAPER[1] * above, HALF[1] - TAPER[2] * above
    return in_box(p) & (p[..., 0] <= front) & (p[..., 0] >= -rear) & (np.abs(p[..., 1]) <= side)


def in_cylinder(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (((p[..., :2] / HALF[:2]) ** 2).sum(-1) <= 1) & (np.abs(p[..., 2]) <= HALF[2])


def in_ellipsoid(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    return ((p / HALF) ** 2).sum(-1) <= 1


def axes(rows: NDArray[np.float64]) -> intersections.Axes:
    x, y, z = np.ascontiguousarray(rows.T.astype(np.float32))
    return x, y, z


@pytest.mark.parametrize(
    ("name", "inside"),
    [("box", in_box), ("frustum", in_frustum), ("cylinder", in_cylinder), ("ellipsoid", in_ellipsoid)],
)
def test_entry_and_exit_are_where_dense_samples_go_in_and_out(name: str, inside: Inside) -> None:
    generator = np.random.default_rng(3)
    origin = generator.normal(size=(RAYS, 3))
    origin *= (5 / np.linalg.norm(origin, axis=1))[:, None]
    direction = generator.uniform(-1, 1, (RAYS, 3)) * HALF * 1.3 - origin
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    # Rays along the axes are where divisions go wrong.
    origin[:3], direction[:3] = -5 * np.eye(3), np.eye(3)
    extra = {"taper": axes(np.tile(TAPER, (RAYS, 1)))} if name == "frustum" else {}
    meet = getattr(intersections, name)
    entry, exit_ = meet(axes(origin), axes(direction), half=axes(np.tile(HALF, (RAYS, 1))), **extra)
    distance = np.arange(0, REACH, STEP)
    sampled = inside(origin[:, None] + distance[:, None] * direction[:, None])
    hit = sampled.any(1)
    assert 0.3 < hit.mean() < 0.98
    # A ray that only grazes a body may slip between samples.
    assert ((exit_ >= entry) >= hit).all()
    assert (exit_ - entry)[~hit].max() < 2 * STEP
    np.testing.assert_allclose(entry[hit], distance[sampled[hit].argmax(1)], atol=1.1 * STEP)
    np.testing.assert_allclose(
        exit_[hit], distance[len(distance) - 1 - sampled[hit, ::-1].argmax(1)], atol=1.1 * STEP
    )


def test_a_thin_pole_far_away_is_hit_where_it_stands() -> None:
    """In float32: a pole of 3 cm at 90 m."""
    half = axes(np.array([[0.03, 0.03, 4.0]]))
    start = axes(np.array([[-90.0, 0.02, 0.0]]))
    entry, exit_ = intersections.cylinder(start, axes(np.array([[1.0, 0, 0]])), half=half)
    chord = np.sqrt(0.03**2 - 0.02**2)
    np.testing.assert_allclose([entry[0], exit_[0]], [90 - chord, 90 + chord], atol=1e-3)
    assert (
        intersections.cylinder(axes(np.array([[-90.0, 0.031, 0]])), axes(np.array([[1.0, 0, 0]])), half=half)[
            1
        ]
        < 0
    )

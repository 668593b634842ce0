"""Nearest hits with culling against all rays times all parts, and against samples along the rays."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from also_selfsup.data.simulator import intersections
from also_selfsup.data.simulator.culling import windows
from also_selfsup.data.simulator.parts import PART, LocalFrames, Shape
from also_selfsup.data.simulator.raycast import cast
from also_selfsup.data.simulator.scene import Scene
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.data.simulator.view import View, look, turn


def random_parts(generator: np.random.Generator, count: int) -> NDArray[Any]:
    """Solid bodies of all shapes around, some of them large, some near."""
    parts = np.zeros(count, PART)
    parts["centre"] = generator.uniform([-40, -40, -2], [40, 40, 3], (count, 3))
    parts["half"] = generator.uniform(0.2, 2.5, (count, 3))
    parts["half"][::7, 0] *= 6
    parts["shape"], parts["yaw"] = generator.integers(0, 4, count), generator.uniform(-4, 4, count)
    parts["taper"] = generator.uniform(0, 0.3, (count, 3))
    return parts


def all_pairs(parts: NDArray[Any], view: View) -> NDArray[np.float32]:
    """Distance (R,) of the nearest hit, by trying every part on every ray."""
    frames, best = LocalFrames(parts), np.full(len(view.level[0]), np.inf, np.float32)
    for row, part in enumerate(parts):
        ids = np.full(len(best), row)
        origin, half, taper = (
            tuple(axis[ids] for axis in axes) for axes in (frames.origin, frames.half, frames.taper)
        )
        extra = {"taper": taper} if part["shape"] == Shape.FRUSTUM else {}
        meet = getattr(intersections, Shape(part["shape"]).name.lower())
        entry, exit_ = meet(origin, frames.turned(ids, view.level), half=half, **extra)
        entry = np.maximum(entry, view.sensor.min_range)
        best = np.where((entry <= exit_) & (entry < best), entry, best)
    return best


@pytest.mark.parametrize("tilt", [0.0, 0.04])
@pytest.mark.parametrize("sensor", ["hdl32e", "hdl64e", "solid_state"])
def test_culling_loses_no_hit(sensor: str, tilt: float) -> None:
    generator = np.random.default_rng(7)
    model = SENSORS[sensor].with_columns(90)
    rotation = turn("z", 0.7) @ turn("x", tilt) @ turn("y", -tilt)
    view = look(model, rotation, position=np.zeros(3), generator=generator)
    parts = random_parts(generator, 120)
    background = np.full(len(view.level[0]), 35.0, np.float32)
    hits = cast(parts, view, background=background, generator=generator)
    np.testing.assert_array_equal(hits.distance, np.minimum(all_pairs(parts, view), background))
    assert 0.2 < (hits.part >= 0).mean() < 0.99
    assert ((hits.part >= 0) == (hits.distance < 35)).all()


def test_culling_tries_few_pairs(scene: Scene) -> None:
    view = scene.view(1.0, generator=np.random.default_rng(0))
    parts = scene.parts_around(1.0, view)
    tried = windows(parts, scene.sensor, margin=view.margin).sizes.sum()
    assert 0 < tried < 0.06 * len(parts) * len(view.level[0])


def test_nothing_solid_lies_before_a_hit(scene: Scene) -> None:
    """Samples along rays, before the reported hit, are in no solid part and not under the ground."""
    generator = np.random.default_rng(1)
    view = scene.view(0.5, generator=generator)
    parts = scene.parts_around(0.5, view)
    solid = parts[(parts["free_path"] == 0) & (np.hypot(*parts["centre"].T[:2]) < 40)]
    hits = cast(solid, view, background=np.full(len(view.level[0]), np.inf, np.float32), generator=generator)
    rays = generator.choice(np.flatnonzero(hits.part >= 0), 40)
    share = np.linspace(0.0, 1.0, 400)[1:-1]
    reach = scene.sensor.min_range + share * (hits.distance[rays][:, None] - 0.01 - scene.sensor.min_range)
    points = np.stack([axis[rays][:, None] * reach for axis in view.level], axis=-1).reshape(-1, 3)
    assert not _inside_any(points, solid)
    behind = hits.distance[rays] + 0.004
    assert _inside_any(np.stack([axis[rays] * behind for axis in view.level], axis=-1), solid)


def _inside_any(points: NDArray[np.floating[Any]], parts: NDArray[Any]) -> bool:
    found = False
    for part in parts:
        local = (points - part["centre"]) @ turn("z", float(part["yaw"])) / part["half"]
        above = (local[:, 2] + 1) * part["half"][2]
        front, rear, side = (part["taper"] * above[:, None] / part["half"][[0, 0, 1]]).T
        square = local**2
        inside = {
            Shape.BOX: (np.abs(local) < 1).all(1),
            Shape.FRUSTUM: (np.abs(local) < 1).all(1)
            & (local[:, 0] < 1 - front) & (-local[:, 0] < 1 - rear) & (np.abs(local[:, 1]) < 1 - side),
            Shape.CYLINDER: (square[:, :2].sum(1) < 1) & (square[:, 2] < 1),
            Shape.ELLIPSOID: square.sum(1) < 1,
        }  # fmt: skip
        found |= bool(inside[Shape(part["shape"])].any())
    return found

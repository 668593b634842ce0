"""The ground: heights, kinds and where rays meet it."""

from collections.abc import Callable

import numpy as np
import pytest

from also_selfsup.data.simulator.ground import Street, first_ground
from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.sensors import SENSORS


@pytest.mark.parametrize(
    "shape", [{}, {"hills": 0.8, "kerb": 0.15}, {"hills": 0.5, "kerb": 0.12, "bank": 0.1}]
)
def test_rays_meet_the_ground_where_fine_steps_first_get_below_it(
    shape: dict[str, float], make_street: Callable[..., Street]
) -> None:
    street = make_street(**shape)
    sensor = SENSORS["hdl32e"].with_columns(16)
    origin = np.array([3.0, 0.5, 1.84 + float(street.height(np.array(3.0), np.array(0.5)))])
    directions = sensor.directions(np.random.default_rng(0))
    got = first_ground(street, origin, directions=directions, reach=60.0)
    distance = np.arange(0.5, 60.0, 0.01)
    x, y, z = (o + distance * d[:, None] for o, d in zip(origin, directions, strict=True))
    below = z < street.height(x, y)
    hit = below.any(1)
    first = distance[below.argmax(1)]
    assert (np.isfinite(got) == hit).mean() > 0.99
    both = hit & np.isfinite(got)
    # Steep rays agree to the step; a flat one may slip under the crest of a wave by its length, seldom.
    assert np.mean(np.abs(got[both] - first[both]) < 0.03) > 0.97
    x, y, z = (o + got[both] * d[both] for o, d in zip(origin, directions, strict=True))
    gap = np.abs(z - street.height(x, y))
    # On the face of a kerb, four times as steep as its step is deep, a few are less exact.
    assert np.quantile(gap, 0.97) < 2e-3 and gap.max() < 0.03


def test_layout_across_the_street(make_street: Callable[..., Street]) -> None:
    street = make_street(kerb=0.15)
    across = np.array([2.0, 4.95, 5.1, 5.5, 7.0, 9.5])
    kinds, _ = street.surface(np.full(6, 20.0), across)
    assert [Kind(k) for k in kinds] == [
        Kind.ROAD, Kind.LANE_MARKING, Kind.SIDEWALK, Kind.TERRAIN, Kind.SIDEWALK, Kind.TERRAIN,
    ]  # fmt: skip
    heights = street.height(np.full(2, 20.0), np.array([4.99, 5.2]))
    assert heights[1] - heights[0] == pytest.approx(0.15, abs=0.03)
    # In the mouth of the crossing street there is road where elsewhere there is pavement.
    assert street.surface(np.array([60.0]), np.array([7.0]))[0][0] == Kind.ROAD


def test_lanes_are_inside_the_kerbs_and_the_rightmost_comes_first(make_street: Callable[..., Street]) -> None:
    np.testing.assert_allclose(make_street().lanes(), [-2.5, 2.5])


def test_all_ground_lies_within_its_bounds(make_street: Callable[..., Street]) -> None:
    street = make_street(hills=0.8, kerb=0.17, bank=-0.06)
    place = np.random.default_rng(0).uniform(-110, 110, (2, 20_000))
    height = street.height(*place)
    low, high = street.bounds()
    assert low <= height.min() < height.max() <= high

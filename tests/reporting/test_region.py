"""Which space is asked about: whole cells, their centres, and boxes and planes that fit a scan."""

import numpy as np
import pytest

from also_selfsup.data.scan import Scan
from also_selfsup.reporting.region import corners_around, ground_height, make_region, planes_of
from also_selfsup.settings.names import UserError


def make_scan(sensor: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Scan:
    """A road 1.8 m below the sensor, a wall of 3 m at x = 8 m, and a vehicle's roof around the sensor."""
    generator = np.random.default_rng(0)
    road = np.column_stack([generator.uniform(-30, 30, (4000, 2)), generator.normal(-1.8, 0.02, 4000)])
    wall = np.column_stack(
        [np.full(800, 8.0), generator.uniform(-9, 9, 800), generator.uniform(-1.8, 1.2, 800)]
    )
    roof = np.column_stack([generator.uniform(-1, 1, (3000, 2)), np.full(3000, -0.4)])
    pos = (np.concatenate([road, wall, roof]) + sensor).astype(np.float32)
    return Scan(pos, np.zeros((len(pos), 1), np.float32), np.array(sensor, np.float32), "scan")


def test_cells_and_their_centres() -> None:
    region = make_region([-1, 0, 2, 1, 3, 4], 0.5)
    assert region.shape == (4, 6, 4) and region.count == 96
    assert region.high == (1.0, 3.0, 4.0)
    queries = region.queries().reshape(*region.shape, 3)
    assert queries[0, 0, 0].tolist() == [-0.75, 0.25, 2.25]
    assert queries[3, 1, 2].tolist() == [0.75, 0.75, 3.25]
    assert region.holds(np.array([[0, 1, 3], [0, 1, 4.1], [-1, 0, 2]], np.float32)).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("corners", "cell", "said"),
    [
        ([0, 0, 0, 1, 1, 1], 0.0, "--cell 0"),
        ([0, 0, 0, 1, 1, 1], float("nan"), "--cell nan"),
        ([0, 5, 0, 1, 5, 1], 0.1, "y goes from 5 to 5 m"),
        ([0, 0, 0, 1, float("inf"), 1], 0.1, "six finite numbers"),
        ([-200, -200, -5, 200, 200, 5], 0.05, "take larger cells"),
    ],
)
def test_refuses_what_is_no_region(corners: list[float], cell: float, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_region(corners, cell)


@pytest.mark.parametrize("sensor", [(0.0, 0.0, 0.0), (3.0, -2.0, 1.8)])
def test_box_around_the_sensor(sensor: tuple[float, float, float]) -> None:
    scan = make_scan(sensor)
    low, high = np.split(np.array(corners_around(scan)) - [*sensor, *sensor], 2)
    np.testing.assert_allclose(low[:2], -20, atol=1e-5)
    np.testing.assert_allclose(high[:2], 20, atol=1e-5)
    assert low[2] == pytest.approx(-2.44, abs=0.1) and high[2] == pytest.approx(1.7, abs=0.2)


def test_box_stays_in_what_a_birds_eye_view_sees() -> None:
    corners = corners_around(make_scan(), extent=[0, -40, -2, 70.4, 40, 1])
    assert corners == [0, -20, -2, 40, 20, 1]
    small = corners_around(make_scan(), extent=[0, -2, -3, 8, 2, 1])
    assert [small[axis] for axis in (0, 1, 3, 4)] == [0, -2, 8, 2]


def test_ground_is_the_road_not_the_vehicles_roof() -> None:
    assert ground_height(make_scan()) == pytest.approx(-1.8, abs=0.05)


def test_planes_cut_cars_and_the_sensor() -> None:
    scan = make_scan((1.0, 2.0, 0.0))
    region = make_region(corners_around(scan), 0.2)
    planes = {plane.across: plane for plane in planes_of(region, scan)}
    assert planes["z"].at == pytest.approx(-1.0, abs=0.1)
    assert planes["x"].at == 1.0 and planes["y"].at == 2.0
    assert planes["x"].horizontal == pytest.approx((-18, 22))
    assert all(plane.cell == 0.1 for plane in planes.values())
    beside = make_region([5, -3, -2, 9, 3, 2], 0.2)  # the sensor is not in it
    assert next(p for p in planes_of(beside, scan) if p.across == "x").at == pytest.approx(7.0)

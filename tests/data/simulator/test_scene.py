"""Scans of scenes: what is where, seen from several places; what hides what; what the returns look like."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.parts import Part, Pose, Shape, Thing
from also_selfsup.data.simulator.scene import Frame, Scene, make_scene
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.data.simulator.things import plants, vehicles

GROUND = (Kind.ROAD, Kind.LANE_MARKING, Kind.SIDEWALK)


def in_world(frame: Frame) -> NDArray[np.float64]:
    return frame.pos @ frame.rotation.T + frame.position


def block(kind: Kind, along: float, *, width: float, height: float, speed: float = 0.0) -> Thing:
    body = Part(Shape.BOX, (0, 0, height / 2), (0.3, width, height / 2), kind, 0.5)
    return Thing(kind, [body], Pose(along, 0.0), (speed, 0.0))


def test_points_turned_by_the_pose_lie_on_the_ground_of_the_world(scene: Scene) -> None:
    for number in (0, 3):
        frame = scene.scan(0.5 * number, number)
        ground = np.isin(frame.kind, GROUND)
        x, y, z = in_world(frame)[ground].T
        gap = np.abs(z - scene.street.height(x, y))
        assert ground.sum() > 100
        # Noise along flat rays moves points sideways onto kerbs, a few of them.
        assert np.quantile(gap, 0.9) < 0.03
        assert np.median(gap) < 0.012


def test_points_of_things_lie_in_their_boxes_at_every_moment(scene: Scene) -> None:
    """Vehicles and people in every frame, moving ones where they have got to."""
    seen = 0
    for number in (0, 4):
        time = 0.5 * number
        frame, (position, heading) = scene.scan(time, number), scene.object_poses(time)
        chosen = np.flatnonzero((frame.object >= 0) & (frame.kind >= Kind.CAR) & (frame.kind <= Kind.CHILD))
        owner = frame.object[chosen]
        away = in_world(frame)[chosen] - position[owner]
        cos, sin = np.cos(heading[owner]), np.sin(heading[owner])
        local = np.stack([cos * away[:, 0] + sin * away[:, 1], cos * away[:, 1] - sin * away[:, 0]], axis=1)
        size = scene.world.objects["size"][owner]
        inside = (np.abs(local) <= size[:, :2] / 2 + 0.12).all(1) & (away[:, 2] <= size[:, 2] + 0.12)
        assert (inside & (away[:, 2] > -0.25)).mean() > 0.98 if len(chosen) else True
        seen += len(chosen)
    assert seen > 20


def test_later_frames_see_the_same_walls() -> None:
    """Points of a later frame, turned by the poses, lie by those of the first; unturned they do not."""
    scene = make_scene(SENSORS["hdl32e"].with_columns(400), seed=(4, 0), duration=1.0)
    first, later = scene.scan(0.0, 0), scene.scan(1.0, 1)
    static = [frame.kind == Kind.BUILDING for frame in (first, later)]
    assert all(chosen.sum() > 200 for chosen in static)
    tree = cKDTree(in_world(first)[static[0]][:, :2])
    turned, _ = tree.query(in_world(later)[static[1]][:, :2])
    unturned, _ = tree.query((later.pos @ first.rotation.T + first.position)[static[1]][:, :2])
    assert np.median(turned) < 0.25 < 2 * np.median(turned) < np.median(unturned)


def test_a_wall_hides_what_stands_behind_it(put_on_street: Callable[..., Scene]) -> None:
    wall, hidden = block(Kind.BUILDING, 10, width=3, height=4), block(Kind.CAR, 20, width=2, height=2)
    beside = block(Kind.TRUCK, -15, width=2, height=2)
    scene = put_on_street([wall, hidden, beside])
    frame = scene.scan(0.0, 0)
    counts = np.bincount(frame.kind, minlength=len(Kind))
    assert counts[Kind.BUILDING] > 100
    assert counts[Kind.CAR] == 0
    assert counts[Kind.TRUCK] > 20
    # The shadow: no return at all beyond the wall in its azimuths, below its top.
    x, y, z = in_world(frame).T
    offset = scene.drive.mounting(scene.sensor)[1]
    shadow = (x > 10.8) & (np.abs(y / (x - offset[0])) < 2.9 / 10) & (z < 1.8)
    assert not shadow.any()
    without = in_world(put_on_street([hidden, beside]).scan(0.0, 0))
    assert ((without[:, 0] > 10.8) & (np.abs(without[:, 1]) < 2)).sum() > 50


def test_moving_things_move_between_frames(put_on_street: Callable[..., Scene]) -> None:
    scene = put_on_street([block(Kind.CAR, 12, width=2, height=1.5, speed=4.0)], speed=1.0)
    backs = []
    for number in (0, 1):
        frame = scene.scan(number * 0.5, number)
        car = frame.kind == Kind.CAR
        assert frame.moving[car].all()
        backs.append(in_world(frame)[car, 0].min())
    assert backs[1] - backs[0] == pytest.approx(2.0, abs=0.06)
    assert backs[0] == pytest.approx(11.7, abs=0.06)


def test_crowns_scatter_returns_in_depth_and_let_light_through(put_on_street: Callable[..., Scene]) -> None:
    tree = plants.tree(np.random.default_rng(2), Pose(9.0, 0.0))
    frame = put_on_street([tree, block(Kind.BUILDING, 25, width=12, height=12)], steps=1084).scan(0.0, 0)
    leaves = frame.kind == Kind.VEGETATION
    assert leaves.sum() > 100
    assert np.std(in_world(frame)[leaves, 0]) > 0.5
    behind = frame.pos[frame.kind == Kind.BUILDING]
    azimuth = [np.arctan2(pos[:, 0], pos[:, 1]) for pos in (behind, frame.pos[leaves])]
    above = behind[:, 2] / np.linalg.norm(behind, axis=1) > 0.0
    through = above & (np.abs(azimuth[0]) < np.quantile(np.abs(azimuth[1]), 0.5))
    assert through.sum() > 10


def test_strength_falls_with_incidence_and_plates_shine(put_on_street: Callable[..., Scene]) -> None:
    car = vehicles.car(np.random.default_rng(0), Pose(7.0, 0.0))
    frame = put_on_street([car], steps=2000).scan(0.0, 0)
    road, distance = frame.kind == Kind.ROAD, np.linalg.norm(frame.pos, axis=1)
    near, far = (
        np.median(frame.strength[road & (distance > a) & (distance < b)]) for a, b in ((3, 5), (12, 18))
    )
    assert near > 2 * far
    shining = (frame.strength > 1) & (frame.kind == Kind.CAR)
    assert shining.sum() >= 3
    np.testing.assert_allclose(in_world(frame)[shining, 2] - scene_ground(frame, shining), 0.5, atol=0.15)


def scene_ground(frame: Frame, chosen: NDArray[np.bool_]) -> float:
    """Height of the road beside a thing."""
    return float(np.median(in_world(frame)[frame.kind == Kind.ROAD, 2]))


def test_a_scan_follows_from_its_seed_and_number(scene: Scene) -> None:
    first, again = scene.scan(0.5, 1), scene.scan(0.5, 1)
    np.testing.assert_array_equal(first.pos, again.pos)
    np.testing.assert_array_equal(first.strength, again.strength)
    other = scene.scan(0.5, 2)
    assert first.pos.shape != other.pos.shape or not np.array_equal(first.pos, other.pos)


def test_the_order_of_points_is_that_of_the_real_files() -> None:
    """nuScenes: ring after ring of a column, turning right; KITTI: highest ring first, turning left."""
    spins = {}
    for name in ("hdl32e", "hdl64e"):
        scene = make_scene(SENSORS[name].with_columns(200), seed=(3, 1), duration=1.0)
        frame = scene.scan(0.0, 0)
        if name == "hdl32e":
            np.testing.assert_array_equal(frame.ring, np.tile(np.arange(32), 200))
        else:
            assert (np.diff(frame.ring) <= 0).all() and frame.ring[0] > 55
        one = frame.pos[(frame.ring == 20) & (np.linalg.norm(frame.pos, axis=1) > 2.5)]
        turn = np.diff(np.unwrap(np.arctan2(one[:, 1], one[:, 0])))
        spins[name] = np.sign(np.median(turn))
        front = np.array([0, 1, 0]) if name == "hdl32e" else np.array([1, 0, 0])
        ahead = scene.drive.pose(scene.street, 0.0)[0][:, 0]
        assert frame.rotation @ front @ ahead > 0.99
    assert spins == {"hdl32e": -1, "hdl64e": 1}


def test_measurements_without_return_lie_on_the_way_just_driven(put_on_street: Callable[..., Scene]) -> None:
    frame = put_on_street([], speed=8.0).scan(0.0, 0)
    nothing = frame.pos[frame.kind == Kind.NOTHING]
    assert len(nothing) > 1000
    assert np.abs(nothing[:, 0]).max() < 1e-6
    assert -0.4001 < nothing[:, 1].min() and nothing[:, 1].max() <= 0
    # One and the same for all rings of a column: exact duplicates, as in real files.
    assert len(np.unique(nothing, axis=0)) <= 512


def test_a_street_has_the_shares_of_a_street() -> None:
    """Shares of points over scenes, against what real nuScenes scans and their statistics say."""
    frames = [
        make_scene(SENSORS["hdl32e"].with_columns(200), seed=(s, 0), duration=1.0).scan(0, 0)
        for s in range(10)
    ]
    kind, pos = np.concatenate([f.kind for f in frames]), np.concatenate([f.pos for f in frames])
    share = np.bincount(kind, minlength=len(Kind)) / len(kind)
    near = (np.linalg.norm(pos, axis=1) < 2.5).mean()
    assert 0.2 < near < 0.4
    assert 0.08 < share[Kind.NOTHING] < 0.3
    assert 0.15 < share[Kind.ROAD] + share[Kind.LANE_MARKING] < 0.4
    assert 0.03 < share[Kind.SIDEWALK] < 0.2
    assert 0.04 < share[Kind.BUILDING] < 0.3
    assert 0.01 < share[Kind.VEGETATION] < 0.2
    assert 0.01 < share[Kind.CAR] < 0.15
    assert all(share[kind] > 0 for kind in (Kind.POLE, Kind.SIGN, Kind.TRUNK, Kind.PEDESTRIAN, Kind.FENCE))

"""The kinds of things in the simulated street, and what each is called in the real data sets."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """Kind of a point; `NOTHING` marks a measurement that did not come back."""

    NOTHING = 0
    EGO = 1
    ROAD = 2
    LANE_MARKING = 3
    OTHER_GROUND = 4
    SIDEWALK = 5
    TERRAIN = 6
    BUILDING = 7
    FENCE = 8
    VEGETATION = 9
    TRUNK = 10
    POLE = 11
    SIGN = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    TRAILER = 16
    CONSTRUCTION = 17
    MOTORCYCLE = 18
    BICYCLE = 19
    MOTORCYCLIST = 20
    BICYCLIST = 21
    PEDESTRIAN = 22
    CHILD = 23
    BARRIER = 24
    CONE = 25
    CLUTTER = 26


class KindFacts(NamedTuple):
    """Facts of one kind: ids in real label sets, roughness in metres, category of nuScenes' boxes."""

    nuscenes: int
    kitti: int
    kitti_moving: int
    roughness: float
    category: str | None = None


FACTS: dict[Kind, KindFacts] = {
    Kind.NOTHING: KindFacts(0, 0, 0, 0.0),
    Kind.EGO: KindFacts(31, 1, 1, 0.002),
    Kind.ROAD: KindFacts(24, 40, 40, 0.003),
    Kind.LANE_MARKING: KindFacts(24, 60, 60, 0.003),
    Kind.OTHER_GROUND: KindFacts(25, 49, 49, 0.004),
    Kind.SIDEWALK: KindFacts(26, 48, 48, 0.003),
    Kind.TERRAIN: KindFacts(27, 72, 72, 0.02),
    Kind.BUILDING: KindFacts(28, 50, 50, 0.006),
    Kind.FENCE: KindFacts(28, 51, 51, 0.01),
    Kind.VEGETATION: KindFacts(30, 70, 70, 0.02),
    Kind.TRUNK: KindFacts(30, 71, 71, 0.01),
    Kind.POLE: KindFacts(28, 80, 80, 0.004),
    Kind.SIGN: KindFacts(28, 81, 81, 0.004),
    Kind.CAR: KindFacts(17, 10, 252, 0.006, "vehicle.car"),
    Kind.TRUCK: KindFacts(23, 18, 258, 0.006, "vehicle.truck"),
    Kind.BUS: KindFacts(16, 13, 257, 0.006, "vehicle.bus.rigid"),
    Kind.TRAILER: KindFacts(22, 20, 259, 0.006, "vehicle.trailer"),
    Kind.CONSTRUCTION: KindFacts(18, 20, 259, 0.008, "vehicle.construction"),
    Kind.MOTORCYCLE: KindFacts(21, 15, 255, 0.015, "vehicle.motorcycle"),
    Kind.BICYCLE: KindFacts(14, 11, 253, 0.015, "vehicle.bicycle"),
    Kind.MOTORCYCLIST: KindFacts(21, 32, 255, 0.02, "vehicle.motorcycle"),
    Kind.BICYCLIST: KindFacts(14, 31, 253, 0.02, "vehicle.bicycle"),
    Kind.PEDESTRIAN: KindFacts(2, 30, 254, 0.02, "human.pedestrian.adult"),
    Kind.CHILD: KindFacts(3, 30, 254, 0.02, "human.pedestrian.child"),
    Kind.BARRIER: KindFacts(9, 51, 51, 0.01, "movable_object.barrier"),
    Kind.CONE: KindFacts(12, 99, 99, 0.01, "movable_object.trafficcone"),
    Kind.CLUTTER: KindFacts(10, 99, 99, 0.02, "movable_object.debris"),
}

NUSCENES_CATEGORIES: tuple[str, ...] = (
    "noise", "animal", "human.pedestrian.adult", "human.pedestrian.child",
    "human.pedestrian.construction_worker", "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer", "human.pedestrian.stroller", "human.pedestrian.wheelchair",
    "movable_object.barrier", "movable_object.debris", "movable_object.pushable_pullable",
    "movable_object.trafficcone", "static_object.bicycle_rack", "vehicle.bicycle", "vehicle.bus.bendy",
    "vehicle.bus.rigid", "vehicle.car", "vehicle.construction", "vehicle.emergency.ambulance",
    "vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer", "vehicle.truck",
    "flat.driveable_surface", "flat.other", "flat.sidewalk", "flat.terrain", "static.manmade", "static.other",
    "static.vegetation", "vehicle.ego",
)  # fmt: skip


def column(field: str) -> NDArray[np.float32]:
    """One numeric field of `FACTS` as an array indexed by kind."""
    return np.array([getattr(FACTS[kind], field) for kind in Kind], dtype=np.float32)


NUSCENES_IDS = column("nuscenes").astype(np.uint8)
KITTI_IDS = column("kitti").astype(np.uint32)
KITTI_MOVING_IDS = column("kitti_moving").astype(np.uint32)
ROUGHNESS = column("roughness")

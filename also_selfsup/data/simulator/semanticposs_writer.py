"""Simulated scenes in SemanticPOSS' native layout: that of SemanticKITTI, with classes of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.scene import Frame
from also_selfsup.data.simulator.semantickitti_writer import SemanticKittiWriter, instances
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.settings.names import choose

SEQUENCES = {"train": ("00", "01", "02", "04", "05"), "val": ("03",)}
# Raw classes; a rider counts with what is ridden, lorries and buses as cars, all of the ground as one.
POSS_CLASSES = {
    4: (Kind.PEDESTRIAN, Kind.CHILD),
    6: (Kind.MOTORCYCLIST, Kind.BICYCLIST),
    7: (Kind.CAR, Kind.TRUCK, Kind.BUS, Kind.TRAILER, Kind.CONSTRUCTION),
    8: (Kind.TRUNK,),
    9: (Kind.VEGETATION,),
    10: (Kind.SIGN,),
    13: (Kind.POLE,),
    14: (Kind.CLUTTER,),
    15: (Kind.BUILDING,),
    16: (Kind.CONE,),
    17: (Kind.FENCE, Kind.BARRIER),
    21: (Kind.BICYCLE, Kind.MOTORCYCLE),
    22: (Kind.ROAD, Kind.LANE_MARKING, Kind.OTHER_GROUND, Kind.SIDEWALK, Kind.TERRAIN),
}
POSS_IDS = np.zeros(len(Kind), np.uint32)
for _raw, _kinds in POSS_CLASSES.items():
    POSS_IDS[list(_kinds)] = _raw


class SemanticPossWriter(SemanticKittiWriter):
    """SemanticPOSS; scenes beyond the number of a split's sequences continue the first ones."""

    sensor = SENSORS["pandora"]
    versions = {"": {"train": 0.8, "val": 0.2}}

    def names(self, split: str, count: int, *, version: str) -> list[str]:
        """See `Layout`."""
        known = choose(SEQUENCES, split, "split of SemanticPOSS")
        return [known[number % len(known)] for number in range(count)]

    def labels(self, frame: Frame) -> NDArray[np.uint32]:
        """Values (N,) of a label file; classes do not tell whether a thing moves."""
        packed: NDArray[np.uint32] = (POSS_IDS[frame.kind] | (instances(frame) << 16)).astype("<u4")
        return packed

"""Where raw classes of a data set become training labels, and predictions become raw classes again.

Training label 0 means "ignored" everywhere. n points of one scan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The classes of one benchmark: names, and tables from raw classes to training labels and back.

    Attributes:
        names: Name of each training label, in the published order; `names[0]` is "ignore".
        to_training: Training label of each raw class that the data set defines; ignored ones map to 0.
        to_raw: Raw class that a submission holds for each training label.
        largest: The largest value that a label file can hold.
    """

    names: tuple[str, ...]
    to_training: Mapping[int, int]
    to_raw: tuple[int, ...]
    largest: int
    _table: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        table = np.full(self.largest + 1, UNKNOWN, np.int64)
        table[list(self.to_training)] = list(self.to_training.values())
        object.__setattr__(self, "_table", table)

    def training(self, raw: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Translate raw classes (n,) to training labels (n,) int64.

        Raises:
            ValueError: A class that the data set does not define; the message lists those found.
        """
        labels: NDArray[np.int64] = self._table[raw]
        if labels.size and labels.min() == UNKNOWN:
            found = ", ".join(str(value) for value in np.unique(raw[labels == UNKNOWN])[:5])
            raise ValueError(f"raw class {found} is none of the {len(self.to_training)} of the data set")
        return labels

    def raw(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Translate training labels (n,) to the raw classes (n,) that a submission holds.

        Raises:
            ValueError: A label that is no training label.
        """
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.names):
            raise ValueError(
                f"predictions reach from {labels.min()} to {labels.max()}, "
                f"training labels from 0 to {len(self.names) - 1}"
            )
        raw: NDArray[np.int64] = np.asarray(self.to_raw, np.int64)[labels]
        return raw


# lidarseg has 32 classes; the challenge, and so its submissions, 16 of them joined from some, and 0.
NUSCENES = LabelMap(
    names=(
        "ignore",
        "barrier",
        "bicycle",
        "bus",
        "car",
        "construction_vehicle",
        "motorcycle",
        "pedestrian",
        "traffic_cone",
        "trailer",
        "truck",
        "driveable_surface",
        "other_flat",
        "sidewalk",
        "terrain",
        "manmade",
        "vegetation",
    ),
    to_training={
        **dict.fromkeys(range(32), 0),
        **{9: 1, 14: 2, 15: 3, 16: 3, 17: 4, 18: 5, 21: 6, 2: 7, 3: 7, 4: 7, 6: 7, 12: 8, 22: 9, 23: 10},
        **{24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 30: 16},
    },
    to_raw=tuple(range(17)),
    largest=0xFF,
)

# The single-scan task: moving classes (252 and up) count as their resting ones.
SEMANTICKITTI = LabelMap(
    names=(
        "ignore",
        "car",
        "bicycle",
        "motorcycle",
        "truck",
        "other-vehicle",
        "person",
        "bicyclist",
        "motorcyclist",
        "road",
        "parking",
        "sidewalk",
        "other-ground",
        "building",
        "fence",
        "vegetation",
        "trunk",
        "terrain",
        "pole",
        "traffic-sign",
    ),
    to_training={
        **{0: 0, 1: 0, 52: 0, 99: 0},
        **{10: 1, 11: 2, 13: 5, 15: 3, 16: 5, 18: 4, 20: 5, 30: 6, 31: 7, 32: 8},
        **{40: 9, 44: 10, 48: 11, 49: 12, 50: 13, 51: 14, 60: 9, 70: 15, 71: 16, 72: 17, 80: 18, 81: 19},
        **{252: 1, 253: 7, 254: 6, 255: 8, 256: 5, 257: 5, 258: 4, 259: 5},
    },
    to_raw=(0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81),
    largest=0xFFFF,
)

# Raw classes that are not named here (unlabelled, and numbers without a meaning) are ignored.
SEMANTICPOSS = LabelMap(
    names=(
        "ignore",
        "person",
        "rider",
        "car",
        "trunk",
        "plants",
        "traffic-sign",
        "pole",
        "garbage-can",
        "building",
        "cone-stone",
        "fence",
        "bike",
        "ground",
    ),
    to_training={
        **dict.fromkeys(range(0x10000), 0),
        **{4: 1, 5: 1, 6: 2, 7: 3, 8: 4, 9: 5, 10: 6, 11: 6, 12: 6, 13: 7, 14: 8, 15: 9, 16: 10, 17: 11},
        **{21: 12, 22: 13},
    },
    to_raw=(0, 4, 6, 7, 8, 9, 10, 13, 14, 15, 16, 17, 21, 22),
    largest=0xFFFF,
)

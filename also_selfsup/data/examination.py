"""Before a long run: one file of a data set read and described by a few numbers, in a loader's worker.

n points of one scan, C classes.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.formats import ScanError
from also_selfsup.data.scan import Scan
from also_selfsup.settings.names import UserError

# Bins of the histograms; what lies beyond the last edge falls into the last bin.
RANGE_EDGES = np.arange(0.0, 202.0, 2.0)  # metres
INTENSITY_EDGES = np.linspace(0.0, 1.0, 52)
# Two returns within such an angle (degrees) are of one direction: no more than one of them is seen.
DIRECTION = 0.2

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examined:
    """What a file holds, or what is wrong with it.

    Attributes:
        name: Of the frame.
        seconds: That reading it took.
        finding: What is wrong; empty for a sound file, otherwise the rest is empty.
        cure: What to do about it.
        count: n.
        digest: Of the positions: equal for equal scans.
        range_counts: Points by distance from the sensor, bins of `RANGE_EDGES`.
        farthest: Metres.
        intensity_counts: Points by intensity, bins of `INTENSITY_EDGES`.
        intensities: Least and largest.
        label_counts: (C,) points of each training label; None without labels.
        height: Of the sensor above the ground near it, metres.
        hidden: Share of the returns that lie clearly behind another one in the same direction.
        inside: Share of the points in the box that the network sees; 1 where it sees everything.
    """

    name: str
    seconds: float
    finding: str = ""
    cure: str = ""
    count: int = 0
    digest: bytes = b""
    range_counts: Counts | None = None
    farthest: float = 0.0
    intensity_counts: Counts | None = None
    intensities: tuple[float, float] = (0.0, 0.0)
    label_counts: Counts | None = None
    height: float = 0.0
    hidden: float = 0.0
    inside: float = 1.0


class Examination(Dataset[Examined]):
    """The frames of a split, each read and described; a bad one is described too, and never raised.

    Args:
        dataset: The split.
        extent: Box that the network sees, six numbers in metres; None: it sees everything.
    """

    def __init__(self, dataset: LidarDataset, *, extent: Sequence[float] | None = None) -> None:
        self.dataset = dataset
        self.extent = extent

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Examined:
        """Read and describe a frame."""
        name, begun = self.dataset.name(index), time.perf_counter()
        try:
            scan = self.dataset.read(index)
        except ScanError as error:
            file = error.file.removeprefix(f"{self.dataset.root}/")
            said = error.finding if file == name else f"{file}: {error.finding}"
            return Examined(name, time.perf_counter() - begun, finding=said, cure=error.cure)
        except UserError as error:  # of what a frame needs besides its file, such as poses
            return Examined(name, time.perf_counter() - begun, finding=str(error))
        seconds = time.perf_counter() - begun
        class_count = len(self.dataset.class_names) if self.dataset.labels else None
        return describe(scan, seconds=seconds, extent=self.extent, class_count=class_count)


def describe(
    scan: Scan, *, seconds: float, extent: Sequence[float] | None, class_count: int | None
) -> Examined:
    """Describe a scan of at least one point; `class_count` is C, None without labels."""
    way = scan.pos - scan.sensor
    depth = np.sqrt((way.astype(np.float64) ** 2).sum(axis=1))
    strengths = scan.intensities[:, 0]
    labels = None
    if scan.labels is not None and class_count is not None:
        labels = np.bincount(scan.labels, minlength=class_count)
    return Examined(
        name=scan.name,
        seconds=seconds,
        count=len(scan.pos),
        digest=hashlib.blake2b(np.ascontiguousarray(scan.pos).tobytes(), digest_size=16).digest(),
        range_counts=histogram(depth, RANGE_EDGES),
        farthest=float(depth.max()),
        intensity_counts=histogram(strengths, INTENSITY_EDGES),
        intensities=(float(strengths.min()), float(strengths.max())),
        label_counts=labels,
        height=float(scan.sensor[2]) - ground_height(scan.pos, scan.sensor),
        hidden=hidden_share(way, depth),
        inside=1.0 if extent is None else inside_share(scan.pos, extent),
    )


def histogram(values: NDArray[np.floating], edges: NDArray[np.float64]) -> Counts:  # type: ignore[type-arg]
    """Count values between edges; those beyond the ends go into the outermost bins."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]


def ground_height(pos: NDArray[np.float32], sensor: NDArray[np.float32]) -> float:
    """Height of the ground near the sensor, metres: the z that one point in twenty lies below.

    Args:
        pos: (n, 3) metres, n > 0. Points 3 to 25 m away count, or all where there are none.
        sensor: (3,) metres.
    """
    away = np.hypot(pos[:, 0] - sensor[0], pos[:, 1] - sensor[1])
    near = pos[(away > 3) & (away < 25), 2]
    return float(np.quantile(near if len(near) else pos[:, 2], 0.05))


def hidden_share(way: NDArray[np.float32], depth: NDArray[np.float64]) -> float:
    """Share of returns that a ray from the sensor could not have reached, because another one is before it.

    A return counts if it lies a metre and a fifth farther than the nearest one of its direction. Scans of one
    sensor at its true origin have 0 to 2 %; clouds of several sensors, or seen from a wrong place, have more.

    Args:
        way: (n, 3) from the sensor to the points, metres.
        depth: (n,) its length.
    """
    kept = depth > 0.5
    if not kept.any():
        return 0.0
    (x, y, z), depth = way[kept].T, depth[kept]
    columns = np.floor(np.degrees(np.arctan2(y, x)) / DIRECTION).astype(np.int64)
    rows = np.floor(np.degrees(np.arcsin(np.clip(z / depth, -1, 1))) / DIRECTION).astype(np.int64)
    _, direction = np.unique(columns * 10_000 + rows, return_inverse=True)
    nearest = np.full(direction.max() + 1, np.inf)
    np.minimum.at(nearest, direction, depth)
    return float(np.mean(depth > 1.2 * nearest[direction] + 1.0))


def inside_share(pos: NDArray[np.float32], extent: Sequence[float]) -> float:
    """Share of the points (n, 3) in a box x_min, y_min, z_min, x_max, y_max, z_max; metres."""
    low, high = np.array(extent[:3]), np.array(extent[3:])
    return float(((pos >= low) & (pos < high)).all(axis=1).mean())

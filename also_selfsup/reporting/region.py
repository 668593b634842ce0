"""After pre-training: which box of space around a scan is asked about, cell by cell, and which planes of it.

X, Y, Z cells along each axis; n points of the scan. Metres in the sensor frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from also_selfsup.data.scan import Scan
from also_selfsup.reporting.occupancy import Plane
from also_selfsup.settings.names import UserError

REACH = 20.0  # half an edge of the box seen from above, metres
TALLEST = 9.0  # metres
MARGIN = 0.6  # metres above and below the points
CAR_HEIGHT = 0.8  # metres above the ground, where a plane cuts through cars and people
AROUND = (3.0, 15.0)  # metres from the sensor; nearer ones may be the vehicle's own
MOST_CELLS = 40_000_000  # about 1 GB of queries and answers


@dataclass(frozen=True)
class Region:
    """A box of cubic cells; questions are asked at their centres.

    Attributes:
        low: Its lowest corner, metres.
        cell: Edge of a cell, metres.
        shape: X, Y, Z.
    """

    low: tuple[float, float, float]
    cell: float
    shape: tuple[int, int, int]

    @property
    def high(self) -> tuple[float, float, float]:
        """Its highest corner, metres."""
        x, y, z = (low + self.cell * count for low, count in zip(self.low, self.shape, strict=True))
        return x, y, z

    @property
    def count(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    def centres(self, axis: int) -> NDArray[np.float32]:
        """Centres of the cells along an axis, (X,), (Y,) or (Z,)."""
        places = self.low[axis] + self.cell * (np.arange(self.shape[axis]) + 0.5)
        return places.astype(np.float32)

    def queries(self) -> Tensor:
        """Centres of all cells, (X * Y * Z, 3) float32; z runs fastest."""
        axes = [torch.from_numpy(self.centres(axis)) for axis in range(3)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)

    def holds(self, pos: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the points (n, 3) lie inside, (n,)."""
        inside: NDArray[np.bool_] = ((pos >= self.low) & (pos < self.high)).all(1)
        return inside


def make_region(corners: Sequence[float], cell: float) -> Region:
    """Make a region of whole cells from [x_min, y_min, z_min, x_max, y_max, z_max].

    Raises:
        UserError: It is empty along an axis, the cell is not positive, or there are too many cells.
    """
    if not (cell > 0 and math.isfinite(cell)):
        raise UserError(f"--cell {cell:g}: the edge of a cell is a length above 0 m.")
    shown = " ".join(f"{value:g}" for value in corners)
    if not all(math.isfinite(value) for value in corners):
        raise UserError(f"--region {shown}: six finite numbers, metres.")
    for axis, low, high in zip("xyz", corners[:3], corners[3:], strict=True):
        if not high > low:
            raise UserError(
                f"--region {shown}: {axis} goes from {low:g} to {high:g} m, which is empty; give "
                "X_MIN Y_MIN Z_MIN X_MAX Y_MAX Z_MAX."
            )
    x, y, z = (max(1, round((h - low) / cell)) for low, h in zip(corners[:3], corners[3:], strict=True))
    if x * y * z > MOST_CELLS:
        raise UserError(
            f"--region {shown} holds {x} x {y} x {z} cells of --cell {cell:g} m, more than {MOST_CELLS}: "
            "take larger cells or a smaller region."
        )
    return Region((corners[0], corners[1], corners[2]), cell, (x, y, z))


def corners_around(scan: Scan, *, extent: Sequence[float] | None = None) -> list[float]:
    """Six numbers of a box around the sensor, as high as the points in it; all of it inside the extent.

    Args:
        scan: Of at least one point.
        extent: What a bird's-eye-view network sees; the box moves to where that is.
    """
    low, high = [], []
    for axis in range(2):
        place, first, last = float(scan.sensor[axis]), -math.inf, math.inf
        if extent is not None:
            first, last = extent[axis], extent[axis + 3]
        start = max(first, min(place - REACH, last - 2 * REACH))
        low.append(start)
        high.append(min(last, start + 2 * REACH))
    inside = ((scan.pos[:, :2] >= low) & (scan.pos[:, :2] < high)).all(1)
    heights = scan.pos[inside if inside.any() else slice(None), 2]
    bottom, top = np.percentile(heights, (0.5, 99.9))
    floor = float(bottom) - MARGIN
    ceiling = min(float(top) + MARGIN, floor + TALLEST)
    if extent is not None:
        floor, ceiling = max(floor, extent[2]), min(ceiling, extent[5])
    return [*low, floor, *high, ceiling]


def ground_height(scan: Scan) -> float:
    """About where the ground is, metres: of the points around the vehicle many lie on it, and few below."""
    away = np.hypot(*(scan.pos[:, :2] - scan.sensor[:2]).T)
    around = (away > AROUND[0]) & (away < AROUND[1])
    return float(np.percentile(scan.pos[around if around.any() else slice(None), 2], 20))


def planes_of(region: Region, scan: Scan) -> list[Plane]:
    """A plane at the height of cars, and the two vertical ones through the sensor, or through the middle.

    Cells are half as wide as the region's.
    """
    spans = list(zip(region.low, region.high, strict=True))
    cell = region.cell / 2
    height = min(max(ground_height(scan) + CAR_HEIGHT, region.low[2]), region.high[2])
    places = [
        float(place) if low <= place <= high else (low + high) / 2
        for place, (low, high) in zip(scan.sensor, spans, strict=True)
    ]
    return [
        Plane(across="z", at=round(height, 2), horizontal=spans[0], vertical=spans[1], cell=cell),
        Plane(across="y", at=places[1], horizontal=spans[0], vertical=spans[2], cell=cell),
        Plane(across="x", at=places[0], horizontal=spans[1], vertical=spans[2], cell=cell),
    ]

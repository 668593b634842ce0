"""While a run is drawn: planes on which a scan of any data set is asked for its occupancy.

n points of one scan.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from also_selfsup.data.examination import ground_height
from also_selfsup.data.scan import Scan
from also_selfsup.reporting.occupancy import Plane, encode, occupancy
from also_selfsup.training.pretraining import PretrainingModule

REACH = 20.0  # metres around the sensor, beyond which points lie too far apart to know much
CELL = 0.25  # metres
ABOVE_GROUND = 0.8  # metres: cuts through cars and people
DEPTH, HEIGHT = 1.0, 5.0  # metres below and above the ground that the vertical slice shows
CHUNK = 4096  # queries between two looks at the clock


def planes_of(scan: Scan, *, extent: Sequence[float] | None = None) -> tuple[Plane, Plane]:
    """A slice parallel to the ground, and a vertical one along the axis in which the scan reaches farther.

    Args:
        scan: Of at least one point.
        extent: The box that the network sees, six numbers in metres; None: it sees everything.
    """
    x, y = (_window(float(scan.sensor[axis]), axis, extent=extent) for axis in (0, 1))
    ground = round(ground_height(scan.pos, scan.sensor), 2)
    spread_x, spread_y = np.quantile(np.abs(scan.pos[:, :2] - scan.sensor[:2]), 0.8, axis=0)
    along_x = bool(spread_x >= spread_y)
    across: Literal["x", "y"] = "y" if along_x else "x"
    return (
        Plane(across="z", at=round(ground + ABOVE_GROUND, 2), horizontal=x, vertical=y, cell=CELL),
        Plane(
            across=across,
            at=float(scan.sensor[1 if along_x else 0]),
            horizontal=x if along_x else y,
            vertical=(ground - DEPTH, ground + HEIGHT),
            cell=CELL,
        ),
    )


def ask(
    module: PretrainingModule, scan: Scan, planes: Sequence[Plane], *, check: Callable[[], None]
) -> list[NDArray[np.float32]]:
    """Occupancy on each plane, as `ask_planes` gives it, without a trace in the training.

    The modules' modes are what they were afterwards; no global random number is drawn.

    Args:
        module: In training, of any precision.
        scan: Of at least one point.
        planes: Where to ask.
        check: Called between chunks; what it raises ends the asking.
    """
    dtype = next(module.parameters()).dtype
    modes = {part: part.training for part in module.modules()}
    try:
        fields = encode(module, _as(scan, dtype))
        check()
        answers = []
        for plane in planes:
            parts = []
            for queries in torch.split(plane.queries().to(dtype), CHUNK):
                parts.append(occupancy(module, fields, queries=queries, chunk=CHUNK))
                check()
            answers.append(torch.cat(parts).reshape(plane.shape).numpy())
        return answers
    finally:
        for part, mode in modes.items():
            part.training = mode


def _window(sensor: float, axis: int, *, extent: Sequence[float] | None) -> tuple[float, float]:
    """As wide everywhere: around the sensor, moved into what the network sees."""
    low = sensor - REACH
    if extent is not None:
        low = min(max(low, extent[axis]), max(extent[axis], extent[axis + 3] - 2 * REACH))
    return low, low + 2 * REACH


def _as(scan: Scan, dtype: torch.dtype) -> Scan:
    """The scan in the precision of the weights, without points of other frames, which queries need."""
    kind: Any = np.float64 if dtype == torch.float64 else np.float32
    pos, intensities, sensor = (array.astype(kind) for array in (scan.pos, scan.intensities, scan.sensor))
    return Scan(pos=pos, intensities=intensities, sensor=sensor, name=scan.name)

"""After pre-training: what the network believes about the space of one scan, asked on a grid.

Only the prediction is used; where rays ran is not. N points, Q queries, P query-support pairs, L latent size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from also_selfsup.data.scan import Batch, Scan, collate
from also_selfsup.reporting.dense import CHUNK, answer
from also_selfsup.training.pretraining import PretrainingModule

AXES = "xyz"


@dataclass(frozen=True)
class Plane:
    """A rectangle parallel to two axes, sampled at the centres of square cells.

    Attributes:
        across: The axis that the plane is normal to.
        at: Where it cuts that axis, metres in the sensor frame.
        horizontal: Lowest and highest value of the picture's axis to the right, metres.
        vertical: The same for the picture's axis upwards.
        cell: Edge of a cell, metres.
    """

    across: Literal["x", "y", "z"]
    at: float
    horizontal: tuple[float, float]
    vertical: tuple[float, float]
    cell: float

    @property
    def axes(self) -> tuple[int, int]:
        """Numbers of the two axes that the plane spans: to the right, upwards."""
        first, second = (axis for axis in range(3) if AXES[axis] != self.across)
        return first, second

    @property
    def shape(self) -> tuple[int, int]:
        """Cells upwards, cells to the right."""
        counts = [max(1, round((high - low) / self.cell)) for low, high in (self.vertical, self.horizontal)]
        return counts[0], counts[1]

    def queries(self) -> Tensor:
        """Centres of the cells, (rows * columns, 3) float32 metres; row by row, the lowest row first."""
        rows, columns = self.shape
        right = self.horizontal[0] + self.cell * (torch.arange(columns) + 0.5)
        up = self.vertical[0] + self.cell * (torch.arange(rows) + 0.5)
        pos = torch.full((rows, columns, 3), self.at)
        pos[:, :, self.axes[0]] = right
        pos[:, :, self.axes[1]] = up[:, None]
        return pos.reshape(-1, 3)

    def near(self, pos: NDArray[np.float32], distance: float) -> NDArray[np.float32]:
        """Those points (n, 3) that lie within `distance` metres of the plane, as (m, 2): right, up."""
        close = np.flatnonzero(np.abs(pos[:, AXES.index(self.across)] - self.at) <= distance)
        found: NDArray[np.float32] = pos[close][:, self.axes]
        return found


def encode(module: PretrainingModule, scan: Scan) -> dict[str, Any]:
    """Run the backbone on one scan, without augmentation.

    Args:
        module: Pre-trained; it is left in evaluation mode.
        scan: Of at least one point.

    Returns:
        The batch's fields with `latents`, ready for `occupancy`.
    """
    module.eval()
    device = module.device
    batch: Batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in collate([scan]).items()}
    with torch.no_grad():
        fields = module.transforms(batch, module.generator(0, training=False), training=False)
        return {**fields, **module.backbone(fields)}


def occupancy(
    module: PretrainingModule, fields: Mapping[str, Any], *, queries: Tensor, chunk: int = CHUNK
) -> Tensor:
    """Probability that space is occupied: the mean over the predictions of each query's pairs.

    Args:
        module: As in `encode`.
        fields: What `encode` gave; one scan.
        queries: (Q, 3) metres, in the sensor frame.
        chunk: Queries answered at a time, which bounds the memory.

    Returns:
        (Q,) float32 in [0, 1] on the CPU; NaN (unknown) for a query without a support within the radius.
    """
    return answer(module, fields, queries=queries, chunk=chunk).occupancy


def ask_planes(module: PretrainingModule, scan: Scan, planes: Sequence[Plane]) -> list[NDArray[np.float32]]:
    """Occupancy on each plane, (rows, columns) with the lowest row first; NaN where it is unknown."""
    fields = encode(module, scan)
    return [
        occupancy(module, fields, queries=plane.queries()).reshape(plane.shape).numpy() for plane in planes
    ]

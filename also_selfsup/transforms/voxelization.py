"""Last of the transforms: the occupied voxels of each scan, and the voxel of each point.

B scans, N points, V voxels, C channels.
"""

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.cells import CellSize, continuous_cells, order_by_cell
from also_selfsup.transforms.rows import marked_rows, running_count, scan_starts, take_rows


def voxelize(batch: Batch, *, voxel_size: CellSize) -> dict[str, Tensor]:
    """Find the voxels that hold points: cells are round(pos / size), counted from each scan's smallest.

    The first point of a voxel gives its input; thinning has shuffled the points, so that is a random one. One
    read by the host.

    Args:
        batch: `pos` (N, 3) metres, `x` (N, C), `batch` (N,) ascending, `sensor` (B, 3).
        voxel_size: Edge of the voxels in metres, or one for each of x, y, z.

    Returns:
        `voxel_coords` (V, 3) int32 from 0, ordered by scan and then by x, y, z; `voxel_coords_batch` (V,)
        int64; `voxel_x` (V, C); `voxel_to_pc_id` (N,) int64, row of each point's voxel among the V.
    """
    index, scan_count = batch["batch"], batch["sensor"].shape[0]
    cells = continuous_cells(batch["pos"], voxel_size, scan_count=scan_count).round_()
    rows, leads = order_by_cell(cells, index, scan_count=scan_count)
    voxel_of_sorted = running_count(leads) - 1

    firsts, sizes = marked_rows(leads, scan_starts(index, scan_count))
    points = rows.index_select(0, firsts)
    scan = index.index_select(0, points)
    occupied = cells.index_select(1, points)
    lows = _lowest(occupied, scan_starts(scan, scan_count), longest=max(sizes, default=0))
    coords = torch.empty(points.shape[0], 3, dtype=torch.int32, device=cells.device)
    for axis in range(3):
        coords[:, axis] = occupied[axis] - lows[axis].index_select(0, scan)
    return {
        "voxel_coords": coords,
        "voxel_coords_batch": scan,
        "voxel_x": take_rows(batch["x"], points),
        "voxel_to_pc_id": torch.empty_like(rows).scatter_(0, rows, voxel_of_sorted),
    }


def _lowest(cells: Tensor, starts: Tensor, *, longest: int) -> Tensor:
    """Smallest number of each axis in each scan, (3, B), of cells (3, V); meaningless in empty scans."""
    if longest == 0:
        return cells.new_zeros(3, starts.shape[0] - 1)
    # Scans side by side, short ones repeating their last row, make one dense minimum: on a GPU the atomics
    # of a scatter would all meet in a few addresses.
    places = torch.arange(longest, device=cells.device) + starts[:-1, None]
    places = torch.minimum(places, (starts[1:, None] - 1).clamp_(min=0))
    return cells.index_select(1, places.flatten()).view(3, -1, longest).amin(2)

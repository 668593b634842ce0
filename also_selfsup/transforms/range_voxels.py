"""Last of the transforms for bird's-eye-view backbones: the voxels of a box, means of their points.

B scans, N points, V voxels, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.settings.extent import grid_cells
from also_selfsup.transforms.cells import CellSize, continuous_cells
from also_selfsup.transforms.rows import marked_rows, sort_rows, take_rows

# As OpenPCDet's and the published recipes: the mean of a voxel takes no more points than this.
MOST_POINTS = 5


def voxelize_range(batch: Batch, *, voxel_size: CellSize, extent: Sequence[float]) -> dict[str, Tensor]:
    """Find the voxels of a box that hold points; points outside it are in none.

    The cell of a point is floor((pos - minimum) / size); the box holds its minimum, not its maximum. A
    voxel's input is the mean over its first five points in storage order, which thinning has shuffled. One
    read by the host.

    Args:
        batch: `pos` (N, 3) metres, `x` (N, C), `batch` (N,) ascending, `sensor` (B, 3).
        voxel_size: Edge of the voxels in metres, or one for each of x, y, z.
        extent: The box, [x_min, y_min, z_min, x_max, y_max, z_max] in metres.

    Returns:
        `voxel_coords` (V, 3) int32 from 0 at the box's minimum, ordered by scan and then by x, y, z;
        `voxel_coords_batch` (V,) int64; `voxel_x` (V, C).

    Raises:
        ExtentError: The box does not hold a whole number of voxels.
    """
    index, scan_count = batch["batch"], batch["sensor"].shape[0]
    grid = grid_cells(extent, voxel_size)
    cells = _cells(batch["pos"], voxel_size, low=extent[:3], scan_count=scan_count)
    keys, cells_a_scan = _keys(cells, index, grid=grid, scan_count=scan_count)
    outside = scan_count * cells_a_scan
    keys, rows = sort_rows(keys, bound=outside + 1)
    leads = keys < outside
    leads[1:] &= keys[1:] != keys[:-1]
    starts = torch.searchsorted(keys, torch.arange(scan_count + 1, device=keys.device) * cells_a_scan)
    firsts, _ = marked_rows(leads, starts)

    points = rows.index_select(0, firsts)
    ends = torch.cat([firsts[1:], starts[-1:]])
    return {
        "voxel_coords": cells.index_select(1, points).t().to(torch.int32).contiguous(),
        "voxel_coords_batch": index.index_select(0, points),
        "voxel_x": _means(batch["x"], rows, firsts=firsts, counts=(ends - firsts).clamp_(max=MOST_POINTS)),
    }


def _cells(pos: Tensor, size: CellSize, *, low: Sequence[float], scan_count: int) -> Tensor:
    """(3, N) whole numbers, of points outside the box too."""
    shifted = torch.empty_like(pos)
    for axis in range(3):
        torch.sub(pos[:, axis], float(low[axis]), out=shifted[:, axis])
    return continuous_cells(shifted, size, scan_count=scan_count).floor_()


def _keys(cells: Tensor, index: Tensor, *, grid: Sequence[int], scan_count: int) -> tuple[Tensor, int]:
    """Sort keys (N,) by scan and cell, those outside the box last; and how many cells a scan has."""
    keys, inside = index.clone(), torch.ones_like(index, dtype=torch.bool)
    cells_a_scan = 1
    for axis, count in enumerate(grid):
        inside &= (cells[axis] >= 0) & (cells[axis] < count)
        keys = torch.add(cells[axis].long(), keys, alpha=count)
        cells_a_scan *= count
    return torch.where(inside, keys, scan_count * cells_a_scan), cells_a_scan


def _means(x: Tensor, rows: Tensor, *, firsts: Tensor, counts: Tensor) -> Tensor:
    """Mean of x (N, C) over `counts` (V,) points from place `firsts` (V,) on in the order `rows` (N,)."""
    total = take_rows(x, rows.index_select(0, firsts))
    for number in range(1, MOST_POINTS):
        places = (firsts + number).clamp_(max=max(rows.shape[0] - 1, 0))
        more = take_rows(x, rows.index_select(0, places))
        total = total + more.masked_fill_((counts <= number)[:, None], 0)
    return total / counts[:, None]

"""Before decimation and voxelisation: the cell of each point, and points in the order of their cells.

B scans, N points.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from also_selfsup.transforms.rows import on_cpu, sort_rows

CellSize = float | Sequence[float]


def farthest_cell(scan_count: int) -> int:
    """Largest cell number per axis whose sort key fits in 62 bits: 800,000 for 16 scans, 400,000 for 120."""
    return int((2**62 / (scan_count + 1)) ** (1 / 3) / 2) - 1


def edges_of(size: CellSize) -> list[float]:
    """Edges of a cell along x, y, z.

    Raises:
        ValueError: `size` is not one or three positive numbers.
    """
    edges = [float(edge) for edge in size] if isinstance(size, Sequence) else [float(size)] * 3
    if len(edges) != 3 or not all(edge > 0 and math.isfinite(edge) for edge in edges):
        raise ValueError(f"Cell size {size!r} m: give one positive number, or three for x, y, z.")
    return edges


def continuous_cells(pos: Tensor, size: CellSize, *, scan_count: int) -> Tensor:
    """Positions in units of the cell, axis by axis, still to be truncated or rounded.

    Points beyond `farthest_cell` (8 km at 1 cm) count as lying in the outermost cell.

    Args:
        pos: (N, 3) floating, metres.
        size: Edge of a cell in metres, or one edge for each of x, y, z.
        scan_count: B.

    Returns:
        (3, N), type of `pos`, the caller's to overwrite.

    Raises:
        ValueError: `size` is not one or three positive numbers.
    """
    # A tensor filled on the device: a number would divide by its rounded reciprocal on a GPU, and copying a
    # list there would wait for it.
    divisors = pos.new_empty(3, 1)
    for axis, edge in enumerate(edges_of(size)):
        divisors[axis].fill_(edge)
    cells = pos.new_empty(3, pos.shape[0])
    torch.div(pos.t(), divisors, out=cells)
    limit = farthest_cell(scan_count)
    return cells.clamp_(-limit, limit)


def order_by_cell(cells: Tensor, batch: Tensor, *, scan_count: int) -> tuple[Tensor, Tensor]:
    """Sort points by scan, then by cell in x, y, z; points of one cell keep their order.

    Args:
        cells: (3, N) whole numbers (floating type), as `continuous_cells` limits them.
        batch: (N,) int64, scan of each point, ascending.
        scan_count: B.

    Returns:
        rows: (N,) int64, the points in that order.
        leads: (N,) bool, at this place in the order a new cell begins.

    Raises:
        ValueError: A coordinate is not a number (seen on the CPU only; readers refuse such files).
    """
    side = _side(cells, scan_count)
    keys = cells[0].long()
    for axis in (1, 2):
        keys = torch.add(cells[axis].long(), keys, alpha=side)
    keys.add_(batch, alpha=side**3)
    keys, rows = sort_rows(keys, bound=(scan_count + 1) * side**3)
    leads = torch.ones(rows.shape[0], dtype=torch.bool, device=rows.device)
    torch.ne(keys[1:], keys[:-1], out=leads[1:])
    return rows, leads


def _side(cells: Tensor, scan_count: int) -> int:
    """Cells along an axis of a cube that holds all points and the origin; on a GPU the largest there is."""
    if not on_cpu(cells.device):
        return 2 * farthest_cell(scan_count) + 1
    # Reading costs nothing here, and small keys leave room for row numbers beside them (see sort_rows).
    if cells.numel() == 0:
        return 1
    low, high = (float(end) for end in cells.aminmax())
    if math.isnan(low):
        raise ValueError("A point has a coordinate that is not a number: check the reader of this data set.")
    return int(max(high, 0.0) - min(low, 0.0)) + 1

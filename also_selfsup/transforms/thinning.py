"""First steps on a collated batch: one point a cell (decimation), then a random subset (thinning).

B scans, N points before, K points after.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.cells import CellSize, continuous_cells, order_by_cell
from also_selfsup.transforms.randomness import random_order
from also_selfsup.transforms.rows import leading_rows, marked_rows, read_sizes, scan_starts, take_rows

# Fields with one row a point: those that a choice of points has to go through.
POINT_FIELDS = ("pos", "intensities", "y", "batch")


def decimate(pos: Tensor, batch: Tensor, *, size: CellSize, scan_count: int) -> tuple[Tensor, list[int]]:
    """Keep the first point, in storage order, of every occupied cell of every scan.

    The cell is pos / size truncated towards zero, as in the published code: cells around the sensor's planes
    are twice as wide as the others. Which point stands for a cell is no matter of chance, so this step draws
    nothing. One read by the host.

    Args:
        pos: (N, 3) floating, metres.
        batch: (N,) int64, scan of each point, ascending.
        size: Edge of the cells in metres, or three of them; 0 keeps every point.
        scan_count: B.

    Returns:
        (K,) int64 rows to keep, by scan and then by cell in x, y, z; and how many of each scan, B numbers.
    """
    starts = scan_starts(batch, scan_count)
    if size == 0:
        return torch.arange(pos.shape[0], device=pos.device), read_sizes(starts.diff())
    cells = continuous_cells(pos, size, scan_count=scan_count).trunc_()
    rows, leads = order_by_cell(cells, batch, scan_count=scan_count)
    firsts, sizes = marked_rows(leads, starts)
    return rows.index_select(0, firsts), sizes


def thin(batch: Tensor, *, sizes: Sequence[int], count: int | None, generator: torch.Generator) -> Tensor:
    """Choose at most `count` points of each scan, uniformly without replacement, in random order.

    No read by the host: the sizes are known.

    Args:
        batch: (N,) int64, scan of each point, ascending.
        sizes: Points of each scan, B numbers that sum to N.
        count: Most points of a scan; None takes all of them, in random order.
        generator: On the device of `batch`.

    Returns:
        (K,) int64 rows; those of a scan are contiguous and in random order, scans in order.
    """
    order = random_order(batch, group_count=len(sizes), generator=generator)
    if count is None or all(size <= count for size in sizes):
        return order
    starts = scan_starts(batch, len(sizes))
    taken = starts.diff().clamp_(max=count)
    total = sum(min(size, count) for size in sizes)
    return order.index_select(0, leading_rows(starts[:-1], taken, total))


def select(batch: Batch, ids: Tensor) -> Batch:
    """Keep the rows `ids` (K,) of every field that has one row a point, and all other fields as they are."""
    chosen = {name: take_rows(batch[name], ids) for name in POINT_FIELDS if name in batch}
    return {**batch, **chosen}

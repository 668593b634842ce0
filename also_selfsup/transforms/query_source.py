"""Between decimation and queries: the points that queries are drawn from, those of other frames among them.

B scans, N points, M points of other frames, K points of both.
"""

import torch

from also_selfsup.data.scan import Batch
from also_selfsup.transforms.cells import CellSize
from also_selfsup.transforms.rows import take_rows
from also_selfsup.transforms.thinning import decimate

OTHERS = ("query_pos", "query_intensities", "query_origins", "query_batch")


def query_source(batch: Batch, *, size: CellSize) -> Batch:
    """Join the decimated points of each scan with those of its neighbouring frames, one point a cell.

    A scan's own points all stay: another frame's point is kept where the scan itself has none. One read by
    the host; without points of other frames (doc/data.md) the batch is answered as it is.

    Args:
        batch: Decimated, by scan.
        size: Edge of the cells in metres, or three of them; 0 keeps every point.

    Returns:
        `pos` (K, 3), `intensities` (K, 1), `batch` (K,) ascending, `sensor` (B, 3), and `origins` (K, 3),
        where the ray of each point starts.
    """
    if "query_pos" not in batch:
        return batch
    own = take_rows(batch["sensor"], batch["batch"])
    scan = torch.cat([batch["batch"], batch["query_batch"]])
    order = torch.sort(scan, stable=True).indices  # own points first: the first of a cell is the one kept
    joined = {
        "pos": torch.cat([batch["pos"], batch["query_pos"]]),
        "intensities": torch.cat([batch["intensities"], batch["query_intensities"]]),
        "origins": torch.cat([own, batch["query_origins"]]),
        "batch": scan,
    }
    joined = {name: take_rows(values, order) for name, values in joined.items()}
    scan_count = batch["sensor"].shape[0]
    ids, _ = decimate(joined["pos"], joined["batch"], size=size, scan_count=scan_count)
    return {"sensor": batch["sensor"], **{name: take_rows(values, ids) for name, values in joined.items()}}


def without_other_frames(batch: Batch) -> Batch:
    """The batch without the points that only served for queries."""
    return {name: values for name, values in batch.items() if name not in OTHERS}

"""After the last layer: predictions on the thinned cloud are carried to every point of the original scan.

Letters: B scans, N points kept, N_original points of the original scans.
"""

from importlib.util import find_spec

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional


def carry_over(
    predictions: Tensor, pos: Tensor, *, batch: Tensor, original_pos: Tensor, original_batch: Tensor
) -> Tensor:
    """Give each original point the prediction of its nearest kept point of the same scan.

    On a CPU exact: one k-d tree over the whole batch, in float64, with the scan number as a fourth coordinate
    so far apart that no point of another scan can be nearer. On a GPU all distances, in float32. Among kept
    points equally near any may answer.

    Args:
        predictions: (N, ...) of the kept points.
        pos: (N, 3) metres.
        batch: (N,) scan of each kept point.
        original_pos: (N_original, 3) metres, in the same frame.
        original_batch: (N_original,) scan of each original point.

    Returns:
        (N_original, ...) on the device of `predictions`.

    Raises:
        ValueError: a scan has original points but no kept one, so nothing can answer for them.
    """
    scans = int(torch.cat([batch, original_batch]).max()) + 1 if len(batch) + len(original_batch) else 0
    kept_counts = torch.bincount(batch, minlength=scans)
    unanswered = (torch.bincount(original_batch, minlength=scans) > 0) & (kept_counts == 0)
    if unanswered.any():
        found = unanswered.nonzero()[:, 0].tolist()
        raise ValueError(
            f"scans {found} of the batch have original points but none was kept: thin to at least one point "
            "a scan"
        )
    if original_pos.shape[0] == 0:
        return predictions[:0]
    if pos.is_cuda and find_spec("triton"):
        from also_selfsup.evaluation.nearest_triton import nearest

        order = batch.argsort(stable=True)
        starts = functional.pad(kept_counts.cumsum(0), (1, 0))
        rows = nearest(original_pos, pos[order], original_batch=original_batch, starts=starts)
        return predictions[order[rows].to(predictions.device)]
    rows = _by_tree(pos, original_pos, batch=batch, original_batch=original_batch)
    return predictions[rows.to(predictions.device)]


def _by_tree(pos: Tensor, original_pos: Tensor, *, batch: Tensor, original_batch: Tensor) -> Tensor:
    """(N_original,) int64 rows of the nearest kept points, on the CPU."""
    kept, original = _as_float64(pos), _as_float64(original_pos)
    everything = np.concatenate([kept, original])
    apart = 1.0 + 2.0 * float(np.linalg.norm(everything.max(axis=0) - everything.min(axis=0)))
    tree = cKDTree(np.column_stack([kept, apart * _as_float64(batch)]))
    _, nearest = tree.query(np.column_stack([original, apart * _as_float64(original_batch)]), workers=-1)
    return torch.from_numpy(nearest)


def _as_float64(values: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Move values to the host, in the precision of the tree."""
    return values.detach().cpu().double().numpy()

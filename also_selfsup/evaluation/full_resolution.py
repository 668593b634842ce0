"""After the last layer: predictions on the thinned cloud are carried to every point of the original scan.

Letters: B scans, N points kept, N_original points of the original scans.
"""

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor


def carry_over(
    predictions: Tensor, pos: Tensor, *, batch: Tensor, original_pos: Tensor, original_batch: Tensor
) -> Tensor:
    """Give each original point the prediction of its nearest kept point of the same scan.

    Exact: one k-d tree over the whole batch, in float64, with the scan number as a fourth coordinate so far
        apart that
    no point of another scan can be nearer. Among kept points equally near any may answer.

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
    unanswered = np.setdiff1d(original_batch.cpu().numpy(), batch.cpu().numpy()).tolist()
    if unanswered:
        raise ValueError(
            f"scans {unanswered} of the batch have original points but none was kept: "
            "thin to at least one point a scan"
        )
    if original_pos.shape[0] == 0:
        return predictions[:0]
    kept, original = _as_float64(pos), _as_float64(original_pos)
    everything = np.concatenate([kept, original])
    apart = 1.0 + 2.0 * float(np.linalg.norm(everything.max(axis=0) - everything.min(axis=0)))
    tree = cKDTree(np.column_stack([kept, apart * _as_float64(batch)]))
    _, nearest = tree.query(np.column_stack([original, apart * _as_float64(original_batch)]), workers=-1)
    return predictions[torch.from_numpy(nearest).to(predictions.device)]


def _as_float64(values: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Move values to the host, in the precision of the tree."""
    return values.detach().cpu().double().numpy()

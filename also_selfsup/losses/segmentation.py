"""After the downstream network: the losses of semantic segmentation; class 0 is ignored.

Letters: N points, C classes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from also_selfsup.losses.weighting import Loss, Share, at_least_single, weighted_sum


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled points.

    Args:
        logits: (N, C) raw.
        y: (N,) int64 classes, 0 = ignored.

    Returns:
        Scalar, in float32 at least; 0 with a zero gradient when every point is ignored.
    """
    total = functional.cross_entropy(at_least_single(logits), y, ignore_index=0, reduction="sum")
    return total / (y != 0).sum().clamp(min=1)


def lovasz_softmax(logits: Tensor, y: Tensor) -> Tensor:
    """Convex surrogate of 1 - mean IoU over the classes present (Berman et al., CVPR 2018).

    All classes are sorted at once, and nothing waits for the host: ignored points are sorted behind all
    others, where they weigh nothing.

    Args:
        logits: (N, C) raw.
        y: (N,) int64 classes, 0 = ignored.

    Returns:
        Scalar, in float32 at least; 0 with a zero gradient when every point is ignored.
    """
    probabilities = at_least_single(logits).softmax(dim=1).t()
    classes = torch.arange(probabilities.shape[0], device=y.device)
    is_class = (y == classes[:, None]) & (y != 0)
    errors = (is_class.to(probabilities.dtype) - probabilities).abs()
    errors, order = torch.where(y != 0, errors, -1.0).sort(dim=1, descending=True)
    slopes = _jaccard_slopes(is_class.gather(1, order)).to(errors.dtype)
    per_class = (errors.clamp(min=0) * slopes).sum(dim=1)
    present = is_class.any(dim=1)
    return torch.where(present, per_class, 0.0).sum() / present.sum().clamp(min=1)


def _jaccard_slopes(is_class: Tensor) -> Tensor:
    """Give the rise of the Jaccard loss with each further wrong point (Berman et al., algorithm 1).

    Args:
        is_class: (C, N) bool, whether the point belongs to the class; points in falling order of their error.

    Returns:
        (C, N) float64: the rises are differences of near numbers, about 1 / N each.
    """
    is_class = is_class.double()
    members = is_class.sum(dim=1, keepdim=True)
    missed = is_class.cumsum(dim=1)
    intruders = (1 - is_class).cumsum(dim=1)
    loss = 1 - (members - missed) / (members + intruders)
    return torch.diff(loss, dim=1, prepend=torch.zeros_like(members))


def label_count(y: Tensor) -> Tensor:
    """Give the number of terms of `cross_entropy`, counted on the device."""
    return (y != 0).sum()


def weighted_losses(
    fields: Mapping[str, Any], weights: Mapping[str, float], *, share: Share | None = None
) -> dict[str, Tensor]:
    """Compute the segmentation losses named in `weights`, and `total`; see `weighting.weighted_sum`."""
    return weighted_sum(SEGMENTATION_LOSSES, fields, weights=weights, terms=TERMS, share=share)


SEGMENTATION_LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "lovasz": lovasz_softmax}
# Lovasz-softmax is no mean over points: each process's value counts alike.
TERMS: dict[str, Callable[..., Tensor | int]] = {"cross_entropy": label_count}

"""After the decoder: the losses of the pretext task (ALSO, CVPR 2023).

To add one: a function whose arguments are named after decoder results or batch fields, and its line in
`OCCUPANCY_LOSSES`.
Letters: Q queries, P query-support pairs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from also_selfsup.losses.weighting import Loss, Share, at_least_single, weighted_sum
from also_selfsup.transforms.launch import has_matrix_units


def fusible(values: Tensor) -> bool:
    """Whether a loss is computed by Triton kernels: float32 on a GPU that they compile for.

    They skip rows whose `pair_query` is negative, which a decoder with static shapes answers.
    """
    return values.is_cuda and values.dtype == torch.float32 and has_matrix_units(values.device)


def reconstruction(occupancy_logits: Tensor, pair_query: Tensor, *, occupancies: Tensor) -> Tensor:
    """Mean binary cross-entropy over the pairs.

    Args:
        occupancy_logits: (P,) raw.
        pair_query: (P,) query of each pair.
        occupancies: (Q,) 1 behind the surface, 0 in free space.

    Returns:
        Scalar, in float32 at least; 0 with a zero gradient when there is no pair.
    """
    logits = at_least_single(occupancy_logits)
    if fusible(logits):
        from also_selfsup.losses.occupancy_triton import mean_loss  # needs Triton

        return mean_loss(logits, pair_query, targets=occupancies, entropy=True)
    target = occupancies.index_select(0, pair_query).to(logits.dtype)
    total = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    return total / max(logits.shape[0], 1)


def intensity(
    intensity_predictions: Tensor, pair_query: Tensor, *, intensities_non_manifold: Tensor
) -> Tensor:
    """Mean absolute difference over the pairs whose query has a target.

    Args:
        intensity_predictions: (P,) raw.
        pair_query: (P,) query of each pair.
        intensities_non_manifold: (Q, 1) intensity of the hit, -1 = none.

    Returns:
        Scalar, in float32 at least; 0 with a zero gradient when no pair has a target.
    """
    predictions = at_least_single(intensity_predictions)
    if fusible(predictions):
        from also_selfsup.losses.occupancy_triton import mean_loss

        return mean_loss(predictions, pair_query, targets=intensities_non_manifold, entropy=False)
    target = intensities_non_manifold.flatten().index_select(0, pair_query).to(predictions.dtype)
    has_target = target >= 0
    difference = torch.where(has_target, predictions - target, 0.0).abs()
    return difference.sum() / has_target.sum().clamp(min=1)


def pair_count(pair_query: Tensor) -> Tensor:
    """Give the number of terms of `reconstruction`, counted on the device."""
    return (pair_query >= 0).sum()


def target_count(pair_query: Tensor, *, intensities_non_manifold: Tensor) -> Tensor:
    """Give the number of terms of `intensity`, counted on the device."""
    target = intensities_non_manifold.flatten().index_select(0, pair_query.clamp(min=0))
    return ((target >= 0) & (pair_query >= 0)).sum()


def weighted_losses(
    fields: Mapping[str, Any], weights: Mapping[str, float], *, share: Share | None = None
) -> dict[str, Tensor]:
    """Compute the pretext losses named in `weights`, and `total`; see `weighting.weighted_sum`."""
    return weighted_sum(OCCUPANCY_LOSSES, fields, weights=weights, terms=TERMS, share=share)


OCCUPANCY_LOSSES: dict[str, Loss] = {"recons": reconstruction, "intensity": intensity}
TERMS: dict[str, Callable[..., Tensor | int]] = {"recons": pair_count, "intensity": target_count}

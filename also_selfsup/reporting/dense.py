"""After pre-training: what the decoder says of any number of places of one scan, a chunk at a time.

Q queries, M supports (points, or cells of a bird's-eye view), L latent size, K values carried along.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.transforms.randomness import step_generator

CHUNK = 16384


@dataclass(frozen=True, eq=False)
class Answers:
    """What the decoder answers, on the CPU: means over the pairs of each query; NaN (unknown) without a pair.

    Attributes:
        occupancy: (Q,) float32 in [0, 1], probability that space is occupied.
        intensity: (Q,) float32, predicted return strength; meant for places near a surface.
        values: (Q, K) float32, mean of the values of the supports; K may be 0.
    """

    occupancy: Tensor
    intensity: Tensor
    values: Tensor


@torch.no_grad()
def answer(
    module: PretrainingModule,
    fields: Mapping[str, Any],
    *,
    queries: Tensor,
    values: Tensor | None = None,
    chunk: int = CHUNK,
    advance: Callable[[int], None] | None = None,
) -> Answers:
    """Ask the decoder about places; each has the mean over the predictions of its pairs.

    Args:
        module: Pre-trained, in evaluation mode.
        fields: The batch's fields with `latents`, of one scan (`occupancy.encode`).
        queries: (Q, 3) metres, in the sensor frame.
        values: (M, K) of the supports, to be averaged like the predictions.
        chunk: Queries answered at a time, which bounds the memory. Where there are more supports than the
            decoder's limit, the same draw decides in every chunk, so that no seam is seen between them.
        advance: Called with the number of queries just answered.
    """
    if values is None:
        values = fields["latents"].new_zeros(fields["latents"].shape[0], 0)
    parts = []
    for part in torch.split(queries, max(1, chunk)) if len(queries) else ():
        parts.append(_answer_chunk(module, fields, part.to(module.device), values=values.to(module.device)))
        if advance is not None:
            advance(len(part))
    joined = torch.cat(parts) if parts else torch.zeros(0, 2 + values.shape[1])
    return Answers(joined[:, 0], joined[:, 1], joined[:, 2:])


def _answer_chunk(
    module: PretrainingModule, fields: Mapping[str, Any], queries: Tensor, *, values: Tensor
) -> Tensor:
    """(q, 2 + K) of one chunk on the CPU: occupancy, intensity, values."""
    count = queries.shape[0]
    asked = {
        **fields,
        "pos_non_manifold": queries,
        "pos_non_manifold_batch": torch.zeros(count, dtype=torch.int64, device=queries.device),
    }
    generator = step_generator(seed=module.settings.seed, epoch=0, rank=0, step=0, device=queries.device)
    found = module.decoder(asked, generator=generator)
    columns = [found["occupancy_logits"].float().sigmoid(), found["intensity_predictions"].float()]
    each = torch.cat([torch.stack(columns, 1), values.float().index_select(0, found["pair_support"])], 1)
    total = each.new_zeros(count, each.shape[1]).index_add_(0, found["pair_query"], each)
    pairs = torch.bincount(found["pair_query"], minlength=count)[:, None]
    return torch.where(pairs > 0, total / pairs, torch.nan).cpu()

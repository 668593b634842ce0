"""After pre-training: latents as colours, by their three principal components.

M supports (points, or cells of a bird's-eye view), L latent size, n places.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.transforms.randomness import step_generator

PERCENTILES = (2.0, 98.0)  # become the darkest and the brightest


@torch.no_grad()
def principal_components(
    module: PretrainingModule, fields: Mapping[str, Any], *, places: Tensor
) -> tuple[Tensor, float]:
    """Project the latents onto the directions in which those that speak for some places differ most.

    Args:
        module: Pre-trained, in evaluation mode.
        fields: The batch's fields with `latents`, of one scan (`occupancy.encode`).
        places: (n, 3) metres; the supports within reach of these count. Of a bird's-eye view most cells are
            empty, and would otherwise decide what is seen.

    Returns:
        (M, 3) float32 on the latents' device, strongest component first, about in [0, 1] for the supports
        that count; and the share of their variance that the three hold.
    """
    latents = fields["latents"].cpu().double()  # on the CPU: not every device has float64
    rows = _within_reach(module, fields, places.cpu())
    chosen = latents[rows if len(rows) else slice(None)]
    mean = chosen.mean(0)
    values, directions = torch.linalg.eigh((chosen - mean).T @ (chosen - mean))
    values, directions = values.flip(0).clamp(min=0), directions.flip(1)[:, :3]
    # An eigenvector's sign is arbitrary: its largest entry shall be positive, so that two runs agree.
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    directions = directions * largest.sign()
    share = float(values[:3].sum() / values.sum().clamp(min=1e-30))
    shown = _stretch((latents - mean) @ directions, (chosen - mean) @ directions)
    return shown.to(fields["latents"].device), share


def _within_reach(module: PretrainingModule, fields: Mapping[str, Any], places: Tensor) -> Tensor:
    """Rows of the supports that answer for some places (n, 3), on the CPU."""
    where = ("pos", "batch", "latents_pos", "latents_batch")
    asked = {name: fields[name].cpu() for name in where if name in fields}
    asked |= {
        "pos_non_manifold": places,
        "pos_non_manifold_batch": torch.zeros(len(places), dtype=torch.int64),
    }
    generator = step_generator(seed=module.settings.seed, epoch=0, rank=0, step=0, device="cpu")
    rows: Tensor = torch.unique(module.decoder.search(asked, generator)["pair_support"])
    return rows


def _stretch(projected: Tensor, chosen: Tensor) -> Tensor:
    """Bring each component's bulk to [0, 1]; a latent of fewer channels leaves components at one half."""
    bounds = torch.tensor(PERCENTILES, dtype=chosen.dtype, device=chosen.device) / 100
    low, high = torch.quantile(chosen, bounds, dim=0)
    shown = (projected - low) / (high - low).clamp(min=1e-12)
    missing = 3 - shown.shape[1]
    return torch.cat([shown, shown.new_full((len(shown), missing), 0.5)], 1).float()


def component_colours(components: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours (n, 3) of components (n, 3): red, green, blue; those unknown (NaN) are grey."""
    shown = np.nan_to_num(components, nan=0.6).clip(0, 1)
    colours: NDArray[np.uint8] = np.round(255 * shown).astype(np.uint8)
    return colours

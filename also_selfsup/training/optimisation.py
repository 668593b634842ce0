"""Optimisers: AdamW, constant in pre-training, along a cosine to zero in fine-tuning (CVPR 2023, 4)."""

from collections.abc import Iterable
from typing import Any

from torch import optim
from torch.nn import Parameter
from torch.optim.lr_scheduler import CosineAnnealingLR

from also_selfsup.training.adamw import AdamW


def adamw(parameters: Iterable[Parameter], *, lr: float, weight_decay: float) -> optim.AdamW:
    """AdamW over the parameters that learn; one fused kernel a step on a CPU or a CUDA device."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    kinds = {(parameter.device, parameter.dtype) for parameter in learning}
    if len(kinds) == 1 and learning[0].device.type in ("cpu", "cuda"):
        return AdamW(learning, lr=lr, weight_decay=weight_decay)
    fused = bool(learning) and all(p.device.type in ("cpu", "cuda") for p in learning)
    return optim.AdamW(learning, lr=lr, weight_decay=weight_decay, fused=fused)


def with_cosine(optimizer: optim.AdamW, *, steps: int) -> dict[str, Any]:
    """Lightning's dictionary of an optimiser whose rate falls to 0 over `steps` optimiser steps."""
    schedule = CosineAnnealingLR(optimizer, T_max=max(steps, 1))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

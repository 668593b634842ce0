"""Optimisers: AdamW, constant in pre-training, along a cosine to zero in fine-tuning (CVPR 2023, 4)."""

from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR


def adamw(parameters: Iterable[Parameter], *, lr: float, weight_decay: float) -> AdamW:
    """AdamW over the parameters that learn; one fused kernel a step."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    fused = bool(learning) and all(p.device.type in ("cpu", "cuda") for p in learning)
    return AdamW(learning, lr=lr, weight_decay=weight_decay, fused=fused)


def with_cosine(optimizer: AdamW, *, steps: int) -> dict[str, Any]:
    """Lightning's dictionary of an optimiser whose rate falls to 0 over `steps` optimiser steps."""
    schedule = CosineAnnealingLR(optimizer, T_max=max(steps, 1))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

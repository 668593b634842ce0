"""The arithmetic of a run: the name that Lightning has for it, and the same outside a Trainer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

SIXTEEN_BITS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def resolve_precision(precision: str, accelerator: str) -> Any:
    """Lightning's name of the precision; auto: mixed on a GPU (bf16 where it has it), else fp32."""
    if precision != "auto":
        return precision
    if accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def arithmetic(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """What a network runs within where no Trainer is: the mixed precision of `cfg.precision`, or nothing.

    Weights that are read from a file are float32, so 64-true is float32 here.

    Args:
        precision: As in the settings.
        device: Of the network.
    """
    kind = SIXTEEN_BITS.get(resolve_precision(precision, device.type))
    return nullcontext if kind is None else partial(torch.autocast, device.type, kind)

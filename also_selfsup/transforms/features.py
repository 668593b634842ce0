"""After augmentation: what the network gets to see of each point.

N points, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from also_selfsup.data.scan import Batch
from also_selfsup.settings.names import choose

# A line an input: the name in cfg.inputs is the batch field, the number its channels.
INPUTS: dict[str, int] = {"pos": 3, "intensities": 1}


def channel_count(inputs: Sequence[str]) -> int:
    """C, the number of channels that `inputs` give.

    Raises:
        ValueError: An input is unknown, or there is none.
    """
    if not inputs:
        raise ValueError(f"cfg.inputs is empty: choose among {', '.join(sorted(INPUTS))}.")
    return sum(choose(INPUTS, name, "input in cfg.inputs") for name in inputs)


def point_features(batch: Batch, inputs: Sequence[str]) -> Tensor:
    """Join the fields named in `inputs` in their order: (N, C).

    Raises:
        ValueError: An input is unknown, or there is none.
    """
    channel_count(inputs)
    return torch.cat([batch[name] for name in inputs], dim=1)

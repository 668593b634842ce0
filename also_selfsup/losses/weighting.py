"""Between network results and the optimiser: named losses, weighted and added."""

from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from inspect import signature
from operator import add
from typing import Any

import torch
from torch import Tensor

from also_selfsup.settings.names import choose

Loss = Callable[..., Tensor]
# The weight of a process's mean of so many terms, for the processes' average to be the mean over all.
Share = Callable[[Tensor | int], Tensor | float]


def weighted_sum(
    losses: Mapping[str, Loss],
    fields: Mapping[str, Any],
    *,
    weights: Mapping[str, float],
    terms: Mapping[str, Callable[..., Tensor | int]],
    share: Share | None = None,
) -> dict[str, Tensor]:
    """Compute every loss whose weight is not 0 and their weighted sum.

    Args:
        losses: functions by name; each argument bears the name of a field.
        fields: batch fields and network results together.
        weights: factor by loss name.
        terms: how many terms a loss is the mean of, by its name; absent where it is no mean.
        share: where processes average their gradients, scales this process's mean by its number of terms,
            so that the average is the mean over the terms of all.

    Returns:
        Each loss, unweighted, by its name, and `total`; scalars.

    Raises:
        ValueError: an unknown loss is named, or no weight differs from 0.
        KeyError: a loss needs a field that is absent.
    """
    values = {}
    for name, weight in weights.items():
        loss = choose(losses, name, "loss")
        if weight != 0:
            values[name] = loss(**_arguments(loss, fields, name=name))
            if share is not None and name in terms:
                values[name] = values[name] * share(terms[name](**_arguments(terms[name], fields, name=name)))
    if not values:
        raise ValueError(
            f"every loss weight is 0 in {dict(weights)}: give at least one of {', '.join(losses)} a weight"
        )
    # Two numbers added, not stacked and summed, and none multiplied by 1: each launch holds up the host.
    weighted = [value if weights[name] == 1 else weights[name] * value for name, value in values.items()]
    return {**values, "total": reduce(add, weighted)}


def _arguments(loss: Callable[..., Any], fields: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Pick a loss's arguments from the fields by their names."""
    wanted = _names(loss)
    absent = [field for field in wanted if field not in fields]
    if absent:
        raise KeyError(f"loss {name!r} needs {', '.join(absent)}; there are {', '.join(sorted(fields))}")
    return {field: fields[field] for field in wanted}


@lru_cache
def _names(loss: Callable[..., Any]) -> tuple[str, ...]:
    """Its arguments' names, which Python takes as long to find as to launch a kernel."""
    return tuple(signature(loss).parameters)


def at_least_single(values: Tensor) -> Tensor:
    """Widen half precision to float32: a sum over many points or pairs would lose its small terms."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

"""Beside the training step: torch's fused AdamW, which looks its tensors up once and not in every step."""

from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, optim
from torch.nn import Parameter


class _Tensors(NamedTuple):
    """Of a group's parameters that have a gradient; `members` tells whether they still are the ones."""

    members: list[int]
    parameters: list[Tensor]
    averages: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]


class AdamW(optim.AdamW):
    """`torch.optim.AdamW(..., fused=True)` for parameters of one device and precision, to the last bit.

    torch goes through the parameters one by one in each step and sorts their tensors by device and precision,
    which takes a slow host a millisecond for two hundred of them. State dictionaries are those of torch, and
    `found_inf` and `grad_scale`, where somebody has set them, mean the same.
    """

    def __init__(self, parameters: Iterable[Parameter], *, lr: float, weight_decay: float) -> None:
        self._found: dict[int, _Tensors] = {}
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a checkpoint, or a copy."""
        self._found = {}
        super().__setstate__(state)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient, after calling the closure; its result is answered."""
        with torch.enable_grad():
            result = None if closure is None else closure()
        for number, group in enumerate(self.param_groups):
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            if learning:
                self._update(group, self._tensors(number, learning))
        return result

    def _update(self, group: dict[str, Any], tensors: _Tensors) -> None:
        unsound = getattr(self, "found_inf", None)
        beta1, beta2 = group["betas"]
        torch._foreach_add_(tensors.steps, 1)
        torch._fused_adamw_(
            tensors.parameters,
            [gradient for parameter in tensors.parameters if (gradient := parameter.grad) is not None],
            *(tensors.averages, tensors.squares, [], tensors.steps),
            **{name: group[name] for name in ("lr", "weight_decay", "eps", "amsgrad", "maximize")},
            beta1=beta1,
            beta2=beta2,
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=unsound,
        )
        if unsound is not None:  # the kernel has left the update out
            torch._foreach_sub_(tensors.steps, [unsound] * len(tensors.steps))

    def _tensors(self, number: int, learning: list[Tensor]) -> _Tensors:
        """As found before, unless a parameter or a tensor of the state has come, gone or been exchanged."""
        found = self._found.get(number)
        if found is None or found.members != self._members(learning):
            for parameter in learning:
                if not self.state[parameter]:
                    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                    averages = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                    self.state[parameter].update(step=step, **averages)
            states = [self.state[parameter] for parameter in learning]
            lists = (list(map(itemgetter(name), states)) for name in ("exp_avg", "exp_avg_sq", "step"))
            self._found[number] = found = _Tensors(self._members(learning), learning, *lists)
        return found

    def _members(self, learning: list[Tensor]) -> list[int]:
        states = chain.from_iterable(map(dict.values, self.state.values()))
        return list(map(id, chain(learning, states)))

"""AdamW with tensors looked up once against torch's own, bit by bit."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from also_selfsup.training.adamw import AdamW
from also_selfsup.training.optimisation import adamw

SHAPES = ((3, 4), (5,), (), (2, 2, 2))


class Pair:
    """Ours and torch's optimiser over parameters that begin alike."""

    def __init__(self) -> None:
        self._numbers = torch.Generator().manual_seed(0)
        begin = [self.draw(shape) for shape in SHAPES]
        self.ours, self.truth = ([Parameter(one.clone()) for one in begin] for _ in range(2))
        self.optimizers: list[Any] = [
            AdamW(self.ours, lr=0.01, weight_decay=0.1),
            torch.optim.AdamW(self.truth, lr=0.01, weight_decay=0.1, fused=True),
        ]

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._numbers)

    def step(self, *, without: tuple[int, ...] = (), **attributes: Tensor) -> None:
        """One step by random gradients; some parameters have none."""
        for row, pair in enumerate(zip(self.ours, self.truth, strict=True)):
            gradient = self.draw(tuple(pair[0].shape))
            for parameter in pair:
                parameter.grad = None if row in without else gradient.clone()
        for optimizer in self.optimizers:
            for name, value in attributes.items():
                setattr(optimizer, name, value)
            optimizer.step()

    def each(self, change: Callable[[Any], None]) -> None:
        for optimizer in self.optimizers:
            change(optimizer)

    def check(self) -> None:
        """Weights and states are the same."""
        assert all(torch.equal(a, b) for a, b in zip(self.ours, self.truth, strict=True))
        ours, truth = (optimizer.state_dict() for optimizer in self.optimizers)
        assert ours["param_groups"] == truth["param_groups"]
        assert ours["state"].keys() == truth["state"].keys()
        for row, state in truth["state"].items():
            assert list(ours["state"][row]) == list(state)
            for name, value in state.items():
                found = ours["state"][row][name]
                assert torch.equal(found, value) and found.dtype == value.dtype, (row, name)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_rates_change_and_a_parameter_lacks_its_gradient_for_a_while(pair: Pair) -> None:
    for step in range(9):
        for optimizer in pair.optimizers:
            optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        pair.step(without=(1, 3) if 3 <= step < 6 or step == 0 else ())
        pair.check()
    pair.step(without=(0, 1, 2, 3))
    pair.check()


def test_an_unsound_step_is_left_out_and_a_scaled_one_scaled_back(pair: Pair) -> None:
    for unsound in (0.0, 1.0, 0.0):
        pair.step(found_inf=torch.tensor(unsound), grad_scale=torch.tensor(4.0))
        pair.check()
    assert float(pair.optimizers[0].state[pair.ours[0]]["step"]) == 2


def test_a_loaded_state_is_gone_on_with(pair: Pair) -> None:
    pair.step()
    saved = [copy.deepcopy(optimizer.state_dict()) for optimizer in pair.optimizers]
    pair.step()
    for optimizer, state in zip(pair.optimizers, reversed(saved), strict=True):
        optimizer.load_state_dict(state)  # of the other one
    pair.step()
    pair.check()
    assert float(pair.optimizers[0].state[pair.ours[0]]["step"]) == 2


def test_exchanged_states_are_seen(pair: Pair) -> None:
    """As Lightning moves them to a device, or somebody sets one back."""
    pair.step()

    def move(optimizer: Any) -> None:
        for parameter, state in optimizer.state.items():
            optimizer.state[parameter] = {name: value.clone() for name, value in state.items()}

    def set_back(optimizer: Any) -> None:
        optimizer.state[optimizer.param_groups[0]["params"][1]]["exp_avg"] = torch.zeros(5)

    for change in (move, set_back, lambda optimizer: optimizer.state.clear()):
        pair.each(change)
        pair.step()
        pair.check()


def test_groups_are_added_and_copies_go_their_own_way(pair: Pair) -> None:
    pair.step()
    more = pair.draw((2, 3))
    pair.ours.append(Parameter(more.clone()))
    pair.truth.append(Parameter(more.clone()))
    for optimizer, parameters in zip(pair.optimizers, (pair.ours, pair.truth), strict=True):
        optimizer.add_param_group({"params": [parameters[-1]], "lr": 0.5})
    for _ in range(3):
        pair.step()
    pair.check()
    twin = copy.deepcopy(pair.optimizers[0])
    twin.step()
    pair.check()


def test_a_closure_is_called_with_gradients(pair: Pair) -> None:
    def closure() -> Tensor:
        pair.ours[1].grad = None
        loss = pair.ours[1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    before = float(closure().detach())
    assert float(pair.optimizers[0].step(closure).detach()) == before
    assert float(closure().detach()) < before


def test_parameters_of_several_precisions_go_to_torch() -> None:
    mixed = [Parameter(torch.zeros(2)), Parameter(torch.zeros(2, dtype=torch.float64))]
    assert type(adamw(mixed, lr=0.1, weight_decay=0.0)) is torch.optim.AdamW
    assert type(adamw(mixed[:1], lr=0.1, weight_decay=0.0)) is AdamW

"""Going back through a recorded pass, and what it holds; stand-ins replay it, so that no GPU is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from torch import Tensor, nn

from also_selfsup.sparseconv.native.gpu import recording
from also_selfsup.sparseconv.native.gpu.capture import Pass, Recording
from also_selfsup.sparseconv.native.gpu.layout import Sizes, Tables, layout_of
from also_selfsup.sparseconv.native.gpu.recording import Recorder
from also_selfsup.sparseconv.native.gpu.shadows import Shadows
from also_selfsup.sparseconv.native.gpu.tiles import FEW_ROWS, SMALL_TILE

ROWS = 6


@dataclass
class Graph:
    """In place of a CUDA graph."""

    replay: Callable[[], Any]


class Case:
    """A linear layer whose passes are recorded; `made` are the recordings so far, weakly."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(3, 2)
        self.recorder = Recorder()
        self.made: list[ReferenceType[Recording]] = []
        self.alive_at_making: list[int] = []

    def record(
        self, network: nn.Module, step: Pass, feats: Tensor, *, tables: Tables, key: Any, shadows: Shadows
    ) -> Recording:
        """As `capture.record` does, with gradients in memory that the next pass writes over."""
        self.alive_at_making.append(sum(one() is not None for one in self.made))
        layer, still = self.network, feats.clone()
        out = torch.zeros(len(feats), 2)
        grad, gradients = torch.zeros_like(out), [torch.zeros(2, 3), torch.zeros(2)]

        def backward() -> None:
            torch.mm(grad.t(), still, out=gradients[0])
            torch.sum(grad, 0, out=gradients[1])

        forward = Graph(lambda: torch.addmm(layer.bias.detach(), still, layer.weight.detach().t(), out=out))
        found = Recording(
            *(still, tables, out, grad, list(network.parameters()), gradients),
            *(forward, Graph(backward), key, torch.zeros((), requires_grad=True)),  # type: ignore[arg-type]
        )
        self.made.append(ref(found))
        return found

    def loss(self, feats: Tensor, *, rows: int = ROWS) -> Tensor:
        """Of a pass over tables with room for so many rows."""
        sizes = Sizes((rows,), (32,))
        self.recorder.room, layout = sizes, layout_of(sizes)
        tables = Tables(torch.zeros(layout.length, dtype=torch.int32), layout, sizes)
        step: Pass = lambda feats, tables: self.network(feats)  # noqa: E731
        found = self.recorder.run(self.network, step, feats, tables=tables, shadows=Shadows())
        return found.square().sum()


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    made = Case()
    monkeypatch.setattr(recording, "record", made.record)
    monkeypatch.setattr(recording, "_records_now", lambda feats: True)
    monkeypatch.setattr(recording, "compile_pass", lambda *arguments, **more: None)
    made.recorder.warm.add((SMALL_TILE,))
    return made


def test_gradients_are_those_of_autograd_and_add_up(case: Case) -> None:
    batches = torch.randn(3, ROWS, 3)
    for feats in batches:
        case.loss(feats).backward()
    found = [parameter.grad for parameter in case.network.parameters()]
    truth = torch.autograd.grad(
        case.network(batches.flatten(0, 1)).square().sum(), list(case.network.parameters())
    )
    torch.testing.assert_close(found, list(truth))
    assert len(case.made) == 1


def test_a_loss_that_lives_on_keeps_no_recording(case: Case) -> None:
    loss = case.loss(torch.randn(ROWS, 3))
    loss.backward(retain_graph=True)
    assert case.made[0]() is not None
    case.recorder.recording = None
    assert case.made[0]() is None
    with pytest.raises(RuntimeError, match="gone back through once"):
        loss.backward()


def test_a_recording_is_gone_before_a_larger_one_is_made(case: Case) -> None:
    losses = [case.loss(torch.randn(ROWS, 3))]
    losses[0].backward()
    gradient = case.network.weight.grad
    assert gradient is not None
    kept = gradient.clone()
    losses.append(case.loss(torch.randn(ROWS, 3), rows=ROWS + 1))
    assert case.alive_at_making == [0, 0]
    assert torch.equal(case.network.weight.grad, kept)


def test_a_pass_runs_as_it_is_while_a_recorded_one_waits(case: Case) -> None:
    batches = torch.randn(2, ROWS, 3)
    losses = [case.loss(feats) for feats in batches]
    for loss in losses:
        loss.backward()
    truth = torch.autograd.grad(
        case.network(batches.flatten(0, 1)).square().sum(), list(case.network.parameters())
    )
    torch.testing.assert_close([parameter.grad for parameter in case.network.parameters()], list(truth))


def test_a_recording_outlives_batches_that_are_evaluated(case: Case) -> None:
    """Their tables have layouts of their own, more than are kept."""
    for epoch in range(3):
        case.loss(torch.randn(ROWS, 3)).backward()
        for number in range(10):
            layout_of(Sizes((100 * (epoch + 1) + number,), (900,)))
    assert len(case.made) == 1


def test_a_new_parameter_over_the_same_memory_learns(case: Case) -> None:
    case.loss(torch.randn(ROWS, 3)).backward()
    case.network.weight = nn.Parameter(case.network.weight.data)
    case.loss(torch.randn(ROWS, 3)).backward()
    assert len(case.made) == 2 and case.network.weight.grad is not None


def test_kernels_for_larger_tiles_are_compiled_before_they_are_recorded(case: Case) -> None:
    rows = FEW_ROWS + 1
    case.loss(torch.randn(rows, 3), rows=rows).backward()
    assert not case.made
    case.loss(torch.randn(rows, 3), rows=rows).backward()
    assert len(case.made) == 1

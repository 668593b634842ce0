"""Run by test_native_triton.py: the tiled convolution in the interpreter beside float64; prints errors."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import copy
import json
import sys
from typing import Any

import torch
from torch import nn

from also_selfsup.sparseconv import (
    BatchNorm,
    Chain,
    DownsampleConv3d,
    ReLU,
    SubmanifoldConv3d,
    UpsampleConv3d,
    Voxels,
    concatenate,
    get_backend,
)
from also_selfsup.sparseconv.native import backend
from also_selfsup.sparseconv.native.gpu import tile_products

LAYERS = {
    "3 channels to 16": SubmanifoldConv3d(3, 16),
    "submanifold": SubmanifoldConv3d(16, 32),
    "strided 2": DownsampleConv3d(32, 32),
    "blocks of 48": SubmanifoldConv3d(32, 48),
    "inverse 2": UpsampleConv3d(48, 16),
    "strided 3": DownsampleConv3d(16, 32, 3, 2, 1),
    "strided 3, not padded in z": DownsampleConv3d(32, 32, 3, 2, (1, 1, 0)),
    "strided in z only": DownsampleConv3d(32, 16, (1, 1, 3), (1, 1, 2)),
}
# Bounded, as the grid of a bird's-eye view is.
GRID = (8, 8, 16)


def gradients(layers: list[nn.Module], coords: torch.Tensor, feats: torch.Tensor) -> list[torch.Tensor]:
    """The result and the gradients of all kernels, in float64."""
    x = get_backend("native").voxels(feats, coords, grid=GRID)
    for layer in layers:
        x = layer(x)
    (1000 * x.feats.double().square().sum()).backward()  # large enough for gradients in float16
    return [x.feats.detach().double(), *(layer.kernel.grad.double() for layer in layers)]


class Residual(nn.Module):
    """Fused steps of each kind, as in a U: with and without residual and ReLU, between levels, of size 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Chain(SubmanifoldConv3d(16, 32), BatchNorm(32), ReLU())
        self.down = Chain(DownsampleConv3d(32, 32), BatchNorm(32), ReLU())
        self.block = Chain(
            SubmanifoldConv3d(32, 48), BatchNorm(48), ReLU(), SubmanifoldConv3d(48, 48), BatchNorm(48)
        )
        self.shortcut = Chain(SubmanifoldConv3d(32, 48, 1), BatchNorm(48))
        self.same = Chain(
            SubmanifoldConv3d(48, 48), BatchNorm(48), ReLU(), SubmanifoldConv3d(48, 48), BatchNorm(48)
        )
        self.up = Chain(UpsampleConv3d(48, 16), BatchNorm(16), ReLU())
        self.last = Chain(SubmanifoldConv3d(48, 16), BatchNorm(16))

    def forward(self, x: Voxels) -> Voxels:
        """Level 0 to level 0."""
        skip = self.first(x)
        y = self.down(skip)
        y = self.block(y, residual=lambda: self.shortcut(y))
        y = self.same(y, residual=lambda: y)
        out: Voxels = self.last(concatenate(self.up(y), skip))
        self.inner = y
        return out


def states(network: nn.Module, coords: torch.Tensor, feats: torch.Tensor) -> dict[str, torch.Tensor]:
    """Result, gradients of all parameters and of the input, and the running statistics, in float64."""
    feats = feats.clone().requires_grad_()
    x = network(get_backend("native").voxels(feats, coords))
    loss = (x.feats.double() * torch.linspace(-1, 1, x.feats.numel()).view_as(x.feats)).sum()
    (loss + network.inner.feats.sum(0).square().sum()).backward()  # the gradient of a sum has no rows
    found = {"result": x.feats, "input": feats.grad}
    found |= {name: p.grad for name, p in network.named_parameters()}
    found |= dict(network.named_buffers())
    return {name: value.detach().double() for name, value in found.items()}


def fused_errors(coords: torch.Tensor) -> dict[str, float]:
    """Relative errors of the fused steps beside the same network in float64, step by step."""
    network = Residual()
    for name, parameter in network.named_parameters():
        if name.endswith("1.weight") or name.endswith("1.bias"):
            nn.init.uniform_(parameter, 0.5, 1.5)
        if name.endswith("kernel"):
            parameter.data = parameter.data.half().float()
    feats = torch.randn(len(coords), 16)  # the interpreter takes float32 too: no ReLU flips by rounding
    truth = states(copy.deepcopy(network).double(), coords, feats.double())
    used, added, multiply_back = [], [], tile_products.multiply_back

    def adding(*arguments: Any, **named: Any) -> torch.Tensor:
        added.append(named["added"] is not None)
        return multiply_back(*arguments, **named)

    backend.fusible = lambda *_: used.append(1) or True
    tile_products.multiply_back = adding
    ours = states(network, coords, feats)
    tile_products.multiply_back = multiply_back
    # Read twice: the input of either block, the features that skip a level, those that are summed up.
    assert len(used) == 9 and sum(added) == 4
    return {name: float((ours[name] - truth[name]).norm() / truth[name].norm()) for name in truth}


def main() -> None:
    """Compare; relative errors by layer as JSON."""
    torch.manual_seed(0)
    grid = torch.randint(0, 8, (260, 3))
    coords = torch.unique(torch.cat([torch.randint(0, 2, (260, 1)), grid], dim=1), dim=0).int()
    feats = torch.randn(len(coords), 3).half()
    exact = [layer.half().double() for layer in copy.deepcopy(list(LAYERS.values()))]
    truth = gradients(exact, coords, feats.double())
    fused = fused_errors(coords)
    used = []
    backend.suits = lambda *_: used.append(1) or True
    ours = gradients([layer.half() for layer in LAYERS.values()], coords, feats)
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(ours, truth, strict=True)]
    json.dump(
        {
            "tiled": len(used),
            "errors": dict(zip(["result", *LAYERS], errors, strict=True)),
            "fused": fused,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()

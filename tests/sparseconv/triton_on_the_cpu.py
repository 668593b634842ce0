"""Run by test_native_triton.py: the tiled convolution in the interpreter beside float64; prints errors."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import copy
import json
import sys

import torch
from torch import nn

from also_selfsup.sparseconv import DownsampleConv3d, SubmanifoldConv3d, UpsampleConv3d, get_backend, native

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


def main() -> None:
    """Compare; relative errors by layer as JSON."""
    torch.manual_seed(0)
    grid = torch.randint(0, 8, (260, 3))
    coords = torch.unique(torch.cat([torch.randint(0, 2, (260, 1)), grid], dim=1), dim=0).int()
    feats = torch.randn(len(coords), 3).half()
    exact = [layer.half().double() for layer in copy.deepcopy(list(LAYERS.values()))]
    truth = gradients(exact, coords, feats.double())
    used = []
    native.suits = lambda *_: used.append(1) or True
    ours = gradients([layer.half() for layer in LAYERS.values()], coords, feats)
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(ours, truth, strict=True)]
    json.dump({"tiled": len(used), "errors": dict(zip(["result", *LAYERS], errors, strict=True))}, sys.stdout)


if __name__ == "__main__":
    main()

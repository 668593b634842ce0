"""Run by test_native_pyramid.py: a network on tables in Triton's interpreter; prints errors."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import copy
import json
import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

from also_selfsup.networks import checkpoint_blocks
from also_selfsup.networks.minkunet import ResidualBlock
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
from also_selfsup.sparseconv.native.gpu.layout import Sizes
from also_selfsup.sparseconv.native.gpu.plans import pyramid_of
from also_selfsup.sparseconv.native.gpu.points import points_by_voxel, to_points
from also_selfsup.sparseconv.native.gpu.pyramid import build_tables
from also_selfsup.transforms.pending import in_turn


class Small(nn.Module):
    """One level down and up again, with each kind of fused step."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = get_backend("native")
        self.stem = Chain(SubmanifoldConv3d(16, 32), BatchNorm(32), ReLU())
        self.down = Chain(DownsampleConv3d(32, 32), BatchNorm(32), ReLU())
        self.block = ResidualBlock(32, 48)
        self.up = Chain(UpsampleConv3d(48, 16), BatchNorm(16), ReLU())
        self.last = ResidualBlock(48, 16)

    def forward(self, x: Voxels) -> Tensor:
        """(V, 16)."""
        first = self.stem(x)
        out: Voxels = self.last(concatenate(self.up(self.block(self.down(first))), first))
        return out.feats


def errors(coords: Tensor, room: Sizes | None, *, checkpointed: bool) -> dict[str, float]:
    """Relative errors of a network on padded tables, fused, beside the same one in float64, step by step."""
    net = Small()
    for parameter in net.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    feats, weights = torch.randn(len(coords), 16), torch.randn(len(coords), 16)
    exact = copy.deepcopy(net).double()
    backend.fusible = lambda *_: False
    truth = exact(exact.backend.voxels(feats.double(), coords))
    (truth * weights).sum().backward()
    backend.fusible = lambda *_: True
    if checkpointed:
        checkpoint_blocks(net)
    tables = in_turn(build_tables(coords, depth=1, room=lambda sizes: room or sizes))
    filling = tables.layout.sizes.rows[0] - len(coords)
    x = backend.NativeVoxels(functional.pad(feats, (0, 0, 0, filling)), pyramid_of(tables), 0, net.backend)
    out = net(x)
    out.backward(functional.pad(weights, (0, 0, 0, filling)))
    found = {"result": error(out[: len(coords)], truth)}
    for kind in ("parameters", "buffers"):
        pairs = zip(getattr(net, f"named_{kind}")(), getattr(exact, kind)(), strict=True)
        for (name, ours), theirs in pairs:
            if kind == "parameters":
                found[name] = error(ours.grad, theirs.grad)
            else:
                found[name] = error(ours, theirs.double())
    net.eval(), exact.eval()
    with torch.no_grad():
        found["evaluated"] = error(net(x)[: len(coords)], evaluated(exact, feats, coords))
    return found


def evaluated(exact: Small, feats: Tensor, coords: Tensor) -> Tensor:
    """The network's result in evaluation, step by step."""
    backend.fusible = lambda *_: False
    result = exact(exact.backend.voxels(feats.double(), coords))
    backend.fusible = lambda *_: True
    return result


def error(ours: Tensor, truth: Tensor) -> float:
    """Relative."""
    return float((ours.double() - truth).norm() / truth.norm())


def points() -> float:
    """Relative error of the gradient from points to voxels."""
    voxel_id = torch.tensor([3, 0, 3, 3, 5, 0])
    latents = torch.randn(7, 24, requires_grad=True)
    weights = torch.randn(6, 24)
    to_points(latents, voxel_id, points_by_voxel(voxel_id, count=7)).backward(weights)
    expected = torch.zeros(7, 24, dtype=torch.float64).index_add_(0, voxel_id, weights.double())
    return error(latents.grad, expected)


def main() -> None:
    """Compare; JSON."""
    torch.manual_seed(0)
    dense = torch.cartesian_prod(*map(torch.arange, (2, 3, 3, 3))).int()
    dense = dense[torch.rand(len(dense)) < 0.7].mul(torch.tensor([1, 9, 9, 9])).int().contiguous()
    room = Sizes((64,) * 2, (400,) * 2)
    found = {f"errors {on}": errors(dense, room, checkpointed=on) for on in (False, True)}
    json.dump({"points": points(), **found}, sys.stdout)


if __name__ == "__main__":
    main()

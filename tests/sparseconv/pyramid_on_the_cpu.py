"""Run by test_native_pyramid.py: tables of all levels in Triton's interpreter; prints what differs."""

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
from also_selfsup.sparseconv.kernels import centre, kernel_offsets
from also_selfsup.sparseconv.native import backend
from also_selfsup.sparseconv.native.gpu.layout import Sizes, Tables
from also_selfsup.sparseconv.native.gpu.plans import pyramid_of
from also_selfsup.sparseconv.native.gpu.points import points_by_voxel, to_points
from also_selfsup.sparseconv.native.gpu.pyramid import build_tables
from also_selfsup.sparseconv.native.gpu.tiles import Chunks, Tiles
from also_selfsup.transforms.pending import in_turn

Pairs = set[tuple[int, int, int]]
Cells = list[tuple[int, ...]]
DEPTH = 2


def of_tiles(tiles: Tiles) -> tuple[Pairs, list[int]]:
    """(kernel cell, input row, output row) of all pairs, and the output rows."""
    found, rows = set(), [row for row in tiles.rows.tolist() if row >= 0]
    for place, row in enumerate(tiles.rows.tolist()):
        tile = place // tiles.size
        for cell in tiles.cells[tile, : tiles.counts[tile]].tolist():
            if (there := int(tiles.table[cell, place])) >= 0:
                found.add((cell, there, row))
    return found, sorted(rows)


def of_chunks(chunks: Chunks) -> list[tuple[int, int, int]]:
    """The same of the lists."""
    starts, inputs, outputs = (part.tolist() for part in (chunks.starts, chunks.inputs, chunks.outputs))
    return [
        (cell, inputs[place], outputs[place])
        for cell in range(len(starts) - 1)
        for place in range(starts[cell], starts[cell + 1])
    ]


def brute_force(here: Cells, there: Cells, *, size: int, stride: int) -> Pairs:
    """Pairs of output cells `here` and input cells `there`, by looking each neighbour up."""
    rows = {cell: row for row, cell in enumerate(there)}
    middle = centre((size,) * 3) if stride == 1 else (0, 0, 0)
    found = set()
    for out, (scan, *cell) in enumerate(here):
        for number, offset in enumerate(kernel_offsets((size,) * 3)):
            other = [stride * c + o - m for c, o, m in zip(cell, offset, middle, strict=True)]
            if (row := rows.get((scan, *other))) is not None:
                found.add((number, row, out))
    return found


def differences(tables: Tables, coords: Tensor) -> list[str]:
    """What is not as brute force finds it."""
    levels: list[Cells] = [[tuple(cell) for cell in coords.tolist()]]
    wrong = []
    for level in range(1, DEPTH + 1):
        count = tables.sizes.rows[level]
        levels.append([tuple(cell) for cell in tables.part(f"coords {level}")[:count].tolist()])
        parents = {(scan, x // 2, y // 2, z // 2) for scan, x, y, z in levels[level - 1]}
        wrong += [f"cells {level}"] * (parents != set(levels[level]) or len(parents) != count)
    for level, cells in enumerate(levels):
        expected = brute_force(cells, cells, size=3, stride=1)
        listed = of_chunks(tables.chunks(f"same {level}"))
        same = of_tiles(tables.tiles(f"same {level}")) == (expected, list(range(len(cells))))
        same &= set(listed) == expected and len(listed) == len(expected) == tables.sizes.pairs[level]
        same &= tables.part(f"live {level}").item() == len(cells)
        wrong += [f"same {level}"] * (not same)
    for level, (fine, coarse) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        expected = brute_force(coarse, fine, size=2, stride=2)
        listed = of_chunks(tables.chunks(f"down {level}"))
        back = {(cell, out, row) for cell, row, out in expected}
        same = of_tiles(tables.tiles(f"down {level}")) == (expected, list(range(len(coarse))))
        same &= of_tiles(tables.tiles(f"up {level}")) == (back, list(range(len(fine))))
        same &= set(listed) == expected and len(listed) == len(fine)
        wrong += [f"strided {level}"] * (not same)
    return wrong


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
    grid = torch.cat([torch.randint(0, 3, (60, 1)), torch.randint(-5, 6, (60, 3))], dim=1)
    coords = torch.unique(grid, dim=0)
    coords = coords[torch.randperm(len(coords))].int().contiguous()
    wrong = differences(in_turn(build_tables(coords, depth=DEPTH, room=lambda sizes: sizes)), coords)
    room = Sizes((), ()).grown(Sizes((len(coords),) * 3, (900,) * 3), slack=1.2, step=32)
    wrong += differences(in_turn(build_tables(coords, depth=DEPTH, room=lambda sizes: room)), coords)
    far = coords.clone()
    far[3, 1] = 2**17
    wrong += ["far cells"] * (in_turn(build_tables(far, depth=DEPTH, room=lambda sizes: sizes)) is not None)
    dense = torch.cartesian_prod(*map(torch.arange, (2, 3, 3, 3))).int()
    dense = dense[torch.rand(len(dense)) < 0.7].mul(torch.tensor([1, 9, 9, 9])).int().contiguous()
    room = Sizes((64,) * 2, (400,) * 2)
    found = {f"errors {on}": errors(dense, room, checkpointed=on) for on in (False, True)}
    json.dump({"wrong": wrong, "points": points(), **found}, sys.stdout)


if __name__ == "__main__":
    main()

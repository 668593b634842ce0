"""Sparse convolution on the CPU: MinkUNet34 on one scan beside the bare products of the same arithmetic.

Three programs in turns, medians on the wall: the plain products (for each layer one product of all its pairs
for the output, the input's gradient and the kernel's gradient, operands in place: no gathering, no sums, no
batch-norm), the native backend, and a plain gather-multiply-scatter with the same network and autograd. Then
the cost of a step by the number of voxels.

Threads of torch wait for one another by spinning, up to many milliseconds, thousands of times in a step.
Where other work shares the cores, that waiting is what one would measure, so here they soon sleep instead
(GOMP_SPINCOUNT, unless it is set already).
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from also_selfsup.data.simulator.scene import make_scene
from also_selfsup.data.simulator.sensors import HDL32E
from also_selfsup.networks import build_backbone
from also_selfsup.sparseconv import units
from also_selfsup.sparseconv.interface import Geometry, Voxels
from also_selfsup.sparseconv.kernels import as_cells
from also_selfsup.sparseconv.native.backend import NativeBackend, NativeVoxels
from also_selfsup.sparseconv.native.pairs import KernelMap

VOXEL = 0.1
SPINS = "GOMP_SPINCOUNT"
Product = tuple[int, int, int, bool]
Program = Callable[[], object]


class Recorder(NativeBackend):
    """Notes each convolution: pairs, input and output channels, whether the input needs a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def unit(
        self,
        x: Voxels,
        kernel: Tensor,
        *,
        geometry: Geometry,
        norm: nn.Module | None = None,
        residual: Voxels | None = None,
        relu: bool = False,
    ) -> Voxels:
        y = super().unit(x, kernel, geometry=geometry, norm=norm, residual=residual, relu=relu)
        found = [] if kernel.dim() == 2 else _by_cell(_pairs(x, y, geometry), len(x.feats))
        count = sum(len(inputs) for _, inputs, _ in found) or len(x.feats)
        self.products.append((count, kernel.shape[-2], kernel.shape[-1], x.feats.requires_grad))
        return y


class Plain(NativeBackend):
    """Gather, multiply, scatter, one kernel cell after the other, differentiated by torch."""

    def unit(
        self,
        x: Voxels,
        kernel: Tensor,
        *,
        geometry: Geometry,
        norm: nn.Module | None = None,
        residual: Voxels | None = None,
        relu: bool = False,
    ) -> Voxels:
        y = self._convolve(x, kernel, geometry)
        y = norm(y) if norm is not None else y
        feats = y.feats if residual is None else y.feats + residual.feats
        return y.with_feats(torch.relu(feats) if relu else feats)

    def _convolve(self, x: Voxels, kernel: Tensor, geometry: Geometry) -> Voxels:
        if kernel.dim() == 2:
            return x.with_feats(x.feats @ kernel)
        with torch.no_grad():  # the first time makes cells and pairs
            y = units.convolve(x.with_feats(x.feats[:, :1]), kernel[:, :1, :1], geometry)
        pairs = _pairs(x, y, geometry)
        result = x.feats.new_zeros(len(y.coords), kernel.shape[-1])
        cells = as_cells(kernel, geometry.size)
        for cell, inputs, outputs in _by_cell(pairs, len(x.feats)):
            result.index_add_(0, outputs, x.feats.index_select(0, inputs) @ cells[cell])
        return y.with_feats(result)


def _pairs(x: Voxels, y: Voxels, geometry: Geometry) -> KernelMap:
    assert isinstance(x, NativeVoxels) and isinstance(y, NativeVoxels)
    if geometry.kind == "submanifold":
        return x.pyramid.levels[x.index].maps[geometry.size]
    origin = x.pyramid.levels[x.index if geometry.kind == "upsample" else y.index].origin
    assert origin is not None
    return origin.pairs.swapped() if geometry.kind == "upsample" else origin.pairs


def _by_cell(pairs: KernelMap, rows: int) -> list[tuple[int, Tensor, Tensor]]:
    """Kernel cell, input rows, output rows."""
    found = []
    for block in pairs.blocks:
        sides = (block.rows[pairs.side], block.rows[1 - pairs.side])
        for group in block.groups:
            inputs, outputs = (group.of(side[:, None]).flatten(1) for side in sides)
            found += list(zip(range(27)[group.cells], inputs, outputs, strict=True))
    if pairs.identity is not None:
        found.append((pairs.identity, torch.arange(rows), torch.arange(rows)))
    return found


def plain_products(products: list[Product]) -> Program:
    """A program of the same products on operands that lie ready, results written over one another."""
    largest = max(count * max(inputs, outputs) for count, inputs, outputs, _ in products)
    left, right, result = torch.randn(largest), torch.randn(largest), torch.empty(largest)
    weights = {(i, o): torch.randn(i, o) for _, i, o, _ in products}

    def run() -> None:
        for count, i, o, needs_gradient in products:
            feats, pulled = left[: count * i].view(count, i), right[: count * o].view(count, o)
            torch.mm(feats, weights[i, o], out=result[: count * o].view(count, o))
            torch.mm(feats.T, pulled, out=result[: i * o].view(i, o))
            if needs_gradient:
                torch.mm(pulled, weights[i, o].T, out=result[: count * i].view(count, i))

    return run


def scan_of(seed: int) -> dict[str, Tensor]:
    """Voxels of a simulated HDL-32E scan without the returns of the car itself, as a batch of one."""
    pos = make_scene(HDL32E, seed=(seed,), duration=1.0).scan(0.0, 0).pos
    pos = pos[np.linalg.norm(pos, axis=1) > 2.5]
    cells = np.unique(np.round(pos / VOXEL).astype(np.int32), axis=0)
    coords = torch.from_numpy(cells)
    return {
        "voxel_coords": coords,
        "voxel_coords_batch": torch.zeros(len(coords), dtype=torch.int64),
        "voxel_x": torch.rand(len(coords), 1),
        "voxel_to_pc_id": torch.arange(len(coords)),
    }


def batch_of(scans: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Several scans as one batch."""
    joint = {name: torch.cat([scan[name] for scan in scans]) for name in scans[0]}
    counts = torch.tensor([len(scan["voxel_x"]) for scan in scans])
    joint["voxel_coords_batch"] = torch.repeat_interleave(torch.arange(len(scans)), counts)
    joint["voxel_to_pc_id"] = torch.arange(int(counts.sum()))
    return joint


def part_of(scan: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The sector of a scan around x in which that share of its voxels lies: density stays as it is."""
    angle = torch.atan2(*scan["voxel_coords"][:, :2].float().unbind(1)).abs()
    kept = torch.argsort(angle)[: int(share * len(angle))].sort()[0]
    return {
        name: values[kept] if name != "voxel_to_pc_id" else torch.arange(len(kept))
        for name, values in scan.items()
    }


def training_step(net: nn.Module, batch: dict[str, Tensor], backend: NativeBackend) -> Program:
    """Forward and backward with that backend."""

    def run() -> None:
        net.backend = backend
        net.zero_grad(set_to_none=True)
        net(batch)["latents"].square().mean().backward()

    return run


def seconds(programs: dict[str, Program], rounds: int) -> dict[str, float]:
    """Medians, the programs in turns."""
    laps: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            laps[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[1:]) for name, found in laps.items()}


def compare(console: Console, rounds: int) -> None:
    """The three programs on one scan."""
    batch, recorder = scan_of(0), Recorder()
    torch.manual_seed(0)
    net = build_backbone("MinkUNet34", in_channels=1, out_channels=128)
    training_step(net, batch, recorder)()
    voxels = len(batch["voxel_x"])
    products = [*recorder.products, (voxels, 96, 128, True)]
    work = sum(2 * n * i * o * (2 + needed) for n, i, o, needed in products)
    found = seconds(
        {
            "plain products": plain_products(products),
            "native": training_step(net, batch, NativeBackend()),
            "gather, multiply, scatter": training_step(net, batch, Plain()),
        },
        rounds,
    )
    table = Table(
        "forward + backward",
        "s",
        "times the products",
        title=f"MinkUNet34, {voxels} voxels, {work / 1e9:.0f} GFLOP, {torch.get_num_threads()} threads",
    )
    for name, median in found.items():
        table.add_row(name, f"{median:.3f}", f"{median / found['plain products']:.2f}")
    console.print(table)


def growth(console: Console, rounds: int) -> None:
    """Time of a step by voxels: parts of a scan, and several scans."""
    torch.manual_seed(0)
    net = build_backbone("MinkUNet18", in_channels=1, out_channels=128)
    scans = [scan_of(seed) for seed in range(4)]
    sizes = [part_of(scans[0], share) for share in (0.125, 0.25, 0.5)]
    sizes += [batch_of(scans[:count]) for count in (1, 2, 4)]
    programs = {str(len(batch["voxel_x"])): training_step(net, batch, NativeBackend()) for batch in sizes}
    table = Table("voxels", "s", "µs a voxel", title="MinkUNet18, forward + backward, native")
    for name, median in seconds(programs, rounds).items():
        table.add_row(name, f"{median:.3f}", f"{median / int(name) * 1e6:.1f}")
    console.print(table)


def main() -> None:
    """Print both tables."""
    if SPINS not in os.environ:  # read when the library of threads is loaded, so only a new start obeys
        os.environ[SPINS] = "1000"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer rounds, no table of growth")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    console = Console()
    compare(console, 2 if chosen.quick else 7)
    if not chosen.quick:
        growth(console, 3)


if __name__ == "__main__":
    main()

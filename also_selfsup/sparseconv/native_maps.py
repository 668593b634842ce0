"""Native backend, the pairs: kernel maps of submanifold, strided and transposed convolutions.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs of an input row and an output row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Geometry, Triple
from also_selfsup.sparseconv.kernels import cell_count, centre, kernel_offsets
from also_selfsup.sparseconv.native_levels import KernelMap, Level


def submanifold_map(level: Level, size: Triple) -> KernelMap:
    """Pairs of the cells of one level, built once per size: output row i reads the row at cell i + offset."""
    if size not in level.maps:
        level.maps[size] = _symmetric_map(level, size) if cell_count(size) % 2 else _plain_map(level, size)
    return level.maps[size]


def _offsets(size: Triple) -> list[Triple]:
    off = centre(size)
    return [(x - off[0], y - off[1], z - off[2]) for x, y, z in kernel_offsets(size)]


def _lookup(level: Level, offsets: list[Triple]) -> Tensor:
    """(offsets, V): row of the cell at each offset from each row's cell, -1 if it is not occupied."""
    shifts = torch.tensor([level.numbering.shift(offset) for offset in offsets], device=level.coords.device)
    return level.find(level.numbering.numbers(level.coords) + shifts[:, None])


def _plain_map(level: Level, size: Triple) -> KernelMap:
    found = _lookup(level, _offsets(size))
    cells, outputs = torch.nonzero(found >= 0, as_tuple=True)
    counts = torch.bincount(cells, minlength=len(found)).tolist()
    return KernelMap(found[cells, outputs], outputs, counts, len(level), len(level))


def _symmetric_map(level: Level, size: Triple) -> KernelMap:
    """Odd sizes: half of the offsets are searched, the other half are the same pairs with sides swapped."""
    offsets = _offsets(size)
    half = len(offsets) // 2
    rows = torch.arange(len(level), device=level.coords.device)
    if not half:
        return KernelMap(rows, rows, [len(level)], len(level), len(level), identity=0, mirrored=True)
    found = _lookup(level, offsets[:half])
    cells, outputs = torch.nonzero(found >= 0, as_tuple=True)
    inputs = found[cells, outputs]
    counts: list[int] = torch.bincount(cells, minlength=half).tolist()
    mirror = torch.argsort((half - 1 - cells) * max(len(level), 1) + inputs)
    return KernelMap(
        torch.cat((inputs, rows, outputs[mirror])),
        torch.cat((outputs, rows, inputs[mirror])),
        [*counts, len(level), *reversed(counts)],
        len(level),
        len(level),
        identity=half,
        mirrored=True,
    )


def downsample(level: Level, geometry: Geometry) -> tuple[Level, KernelMap]:
    """The coarser level that a strided convolution makes and the pairs it joins, built once per geometry."""
    if geometry not in level.coarser:
        coords, inputs, cells = _touched(level, geometry)
        grid = None if level.grid is None else _coarse_grid(level.grid, geometry)
        if grid is not None:
            bounds = torch.tensor(grid, device=coords.device)
            inside = ((coords[:, 1:] >= 0) & (coords[:, 1:] < bounds)).all(1)
            coords, inputs, cells = coords[inside], inputs[inside], cells[inside]
        coarse_coords, outputs = torch.unique(coords, dim=0, return_inverse=True)
        order = torch.argsort(cells * max(len(coarse_coords), 1) + outputs, stable=True)
        counts = torch.bincount(cells, minlength=cell_count(geometry.size)).tolist()
        pairs = KernelMap(inputs[order], outputs[order], counts, len(level), len(coarse_coords))
        coarse = Level(coarse_coords, level.depth + 1, grid, (level, pairs, geometry.size))
        level.coarser[geometry] = (coarse, pairs)
    return level.coarser[geometry]


def _touched(level: Level, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """Every (coarse cell (·, 4), input row (·,), kernel cell (·,)) with coarse * stride - padding + cell = input."""
    device = level.coords.device
    offsets = torch.tensor(kernel_offsets(geometry.size), device=device)
    padding = torch.tensor(geometry.padding, device=device)
    stride = torch.tensor(geometry.stride, device=device)
    reached = level.coords[None, :, 1:].long() + padding - offsets[:, None]
    cells, rows = torch.nonzero((reached.remainder(stride) == 0).all(2), as_tuple=True)
    coarse = reached[cells, rows].div(stride, rounding_mode="floor")
    coords = torch.cat((level.coords[rows, :1].long(), coarse), dim=1)
    return coords.to(level.coords.dtype), rows, cells


def _coarse_grid(grid: Triple, geometry: Geometry) -> Triple:
    """Cells along each axis after the strided convolution, as for a dense one."""
    x, y, z = (
        (cells + 2 * padding - size) // stride + 1
        for cells, padding, size, stride in zip(
            grid, geometry.padding, geometry.size, geometry.stride, strict=True
        )
    )
    return (x, y, z)

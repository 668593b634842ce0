"""Native backend, between levels: the coarse cells of a strided convolution and the pairs it joins.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs of an input row and an output row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Geometry, Triple
from also_selfsup.sparseconv.kernels import cell_count, kernel_offsets
from also_selfsup.sparseconv.native.levels import Index, Level, Numbering, Origin, Pyramid
from also_selfsup.sparseconv.native.maps import map_by_cell


def downsample(pyramid: Pyramid, index: int, *, geometry: Geometry) -> int:
    """Index of the level that a strided convolution makes from level `index`, made once per geometry."""
    if (index, geometry) not in pyramid.links:
        coarse = _coarse_level(pyramid.levels[index], index, geometry=geometry)
        pyramid.links[index, geometry] = len(pyramid.levels)
        pyramid.levels.append(coarse)
    return pyramid.links[index, geometry]


def _coarse_level(level: Level, index: int, *, geometry: Geometry) -> Level:
    numbering = level.index.numbering.coarser(geometry)
    grid = None if level.grid is None else _coarse_grid(level.grid, geometry)
    coords, inputs, cells = _touched(level, geometry, grid=grid)
    numbers, outputs, coords = _distinct(coords, numbering)
    counts = torch.bincount(cells, minlength=cell_count(geometry.size)).tolist()
    order = torch.argsort(cells * max(len(coords), 1) + outputs)
    pairs = map_by_cell(
        torch.split(inputs[order].int(), counts),
        torch.split(outputs[order].int(), counts),
        cells=range(len(counts)),
        counts=(len(level), len(coords)),
    )
    return Level(
        coords,
        Index(numbers, numbering, numbers),
        depth=level.depth + 1,
        grid=grid,
        origin=Origin(index, lambda: pairs, geometry.size),
    )


def _touched(level: Level, geometry: Geometry, *, grid: Triple | None) -> tuple[Tensor, Tensor, Tensor]:
    """Coarse cells (P, 4), input rows (P,) and kernel cells (P,) that meet inside the grid."""
    if geometry.size == geometry.stride and grid is None:
        return _only_touched(level, geometry)
    # Whether a kernel cell meets an input cell is a matter of each axis alone: small tables tell.
    tables = [
        _along(column, size, stride=stride, padding=padding, cells=cells)
        for column, size, stride, padding, cells in zip(
            level.coords.unbind(1)[1:],
            geometry.size,
            geometry.stride,
            geometry.padding,
            grid or (None, None, None),
            strict=True,
        )
    ]
    offsets = kernel_offsets(geometry.size)
    meets = torch.stack([tables[0][1][x] & tables[1][1][y] & tables[2][1][z] for x, y, z in offsets])
    cells, rows = torch.nonzero(meets, as_tuple=True)
    places = torch.tensor(offsets, device=cells.device)[cells]
    coarse = [table[places[:, axis], rows] for axis, (table, _) in enumerate(tables)]
    return torch.stack((level.coords[:, 0][rows], *coarse), dim=1), rows, cells


def _only_touched(level: Level, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """`_touched` where kernel cells do not overlap: every input cell lies in one coarse cell."""
    device = level.coords.device
    stride = torch.tensor(geometry.stride, device=device)
    padded = level.coords[:, 1:] + torch.tensor(geometry.padding, device=device)
    coarse = padded.div(stride, rounding_mode="floor")
    inside = padded - coarse * stride
    cells = _cell_table(geometry.size, device)[inside[:, 0], inside[:, 1], inside[:, 2]]
    coords = torch.cat((level.coords[:, :1], coarse.to(level.coords.dtype)), dim=1)
    return coords, torch.arange(len(level), device=device), cells


def _along(
    column: Tensor, size: int, *, stride: int, padding: int, cells: int | None
) -> tuple[Tensor, Tensor]:
    """Of one axis: the coarse cell of each kernel cell and input row, and whether there is one, (size, V)."""
    reached = (column + padding) - torch.arange(size, device=column.device, dtype=column.dtype)[:, None]
    coarse = reached.div(stride, rounding_mode="floor")
    meets = coarse * stride == reached
    return coarse, meets if cells is None else meets & (coarse >= 0) & (coarse < cells)


def _cell_table(size: Triple, device: torch.device) -> Tensor:
    """(x, y, z) table of kernel cells: the place of each in the kernel's first dimension."""
    table = torch.empty(size, dtype=torch.int64)
    x, y, z = torch.tensor(kernel_offsets(size)).unbind(1)
    table[x, y, z] = torch.arange(cell_count(size))
    return table.to(device)


def _distinct(coords: Tensor, numbering: Numbering) -> tuple[Tensor, Tensor, Tensor]:
    """Each cell once, ascending: numbers (V,), row of each given cell (P,), coords (V, 4)."""
    ascending, order = torch.sort(numbering.numbers(coords))
    first = torch.ones_like(ascending, dtype=torch.bool)
    first[1:] = ascending[1:] != ascending[:-1]
    rows = torch.empty_like(order)
    rows[order] = torch.cumsum(first, 0) - 1
    return ascending[first], rows, coords[order[first]]


def _coarse_grid(grid: Triple, geometry: Geometry) -> Triple:
    """Cells along each axis after the strided convolution, as for a dense one."""
    axes = zip(grid, geometry.padding, geometry.size, geometry.stride, strict=True)
    x, y, z = ((cells + 2 * padding - size) // stride + 1 for cells, padding, size, stride in axes)
    return (x, y, z)

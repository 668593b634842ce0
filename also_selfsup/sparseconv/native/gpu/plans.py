"""Native backend on a GPU, the plans: what the layers on one set of cells share, each part made when needed.

Letters: V voxels (rows) of a level, K cells of a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise, product
from typing import Protocol

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Geometry, Triple
from also_selfsup.sparseconv.kernels import kernel_offsets
from also_selfsup.sparseconv.native.gpu.layout import Tables
from also_selfsup.sparseconv.native.gpu.tiles import Chunks, Tiles
from also_selfsup.sparseconv.native.levels import Index, Level, Origin, Pyramid
from also_selfsup.sparseconv.native.maps import map_by_cell
from also_selfsup.sparseconv.native.pairs import KernelMap

CUBE: Triple = (3, 3, 3)
HALVING: Triple = (2, 2, 2)


class Plan(Protocol):
    """Pairs of a convolution in the orders in which a GPU works on them.

    Attributes:
        counts: V_in, V_out.
        mirrored: The pairs of the opposite cell are those of a cell with sides swapped.
    """

    @property
    def counts(self) -> tuple[int, int]:
        """V_in, V_out."""

    @property
    def mirrored(self) -> bool:
        """Whether opposite cells have the same pairs with sides swapped."""

    def tiles(self) -> Tiles:
        """Tiles of the output rows."""

    def input_tiles(self) -> Tiles:
        """Tiles of the input rows; those of the output rows where the pairs are mirrored."""

    def chunks(self) -> Chunks:
        """Chunks of the pairs."""


class Table:
    """A table of pairs (K, V): input rows by output row; its tiles and chunks."""

    def __init__(self, table: Tensor, keys: Tensor | None = None) -> None:
        self.table, self._keys = table, keys

    @cached_property
    def tiles(self) -> Tiles:
        """Tiles of its rows."""
        from also_selfsup.sparseconv.native.gpu import order

        return order.tiles_of(self.table, order.mask_keys(self.table) if self._keys is None else self._keys)

    @cached_property
    def chunks(self) -> Chunks:
        """Chunks of its pairs."""
        from also_selfsup.sparseconv.native.gpu import lists

        return lists.chunks_of(self.table)


@dataclass(frozen=True)
class TablePlan:
    """A plan from tables of both sides; `swapped` is the inverse convolution's.

    Attributes:
        outputs: By output row.
        inputs: By input row; the same for mirrored pairs.
        counts: V_in, V_out.
        mirrored: See `Plan`.
        turned: This is the inverse: the pairs' chunks are those of `inputs`, with sides swapped.
    """

    outputs: Table
    inputs: Table
    counts: tuple[int, int]
    mirrored: bool = False
    turned: bool = False

    def tiles(self) -> Tiles:
        """Tiles of the output rows."""
        return self.outputs.tiles

    def input_tiles(self) -> Tiles:
        """Tiles of the input rows."""
        return self.inputs.tiles

    def chunks(self) -> Chunks:
        """Chunks of the pairs."""
        return self.inputs.chunks.swapped() if self.turned else self.outputs.chunks

    def swapped(self) -> TablePlan:
        """The same pairs with input and output exchanged."""
        counts = (self.counts[1], self.counts[0])
        return replace(self, outputs=self.inputs, inputs=self.outputs, counts=counts, turned=not self.turned)

    def pairs(self) -> KernelMap:
        """The same pairs for the other ways of computing; the host waits."""
        found = [torch.nonzero(rows >= 0)[:, 0] for rows in self.outputs.table]
        inputs = [rows[here] for rows, here in zip(self.outputs.table, found, strict=True)]
        outputs = [here.int() for here in found]
        return map_by_cell(inputs, outputs, cells=range(len(found)), counts=self.counts)


@dataclass(frozen=True)
class StoredPlan:
    """A plan whose parts are there already.

    Attributes:
        outputs, inputs: Tiles of the rows of either side.
        pairs: The pairs.
        counts: V_in, V_out.
        mirrored: See `Plan`.
    """

    outputs: Tiles
    inputs: Tiles
    listed: Chunks
    counts: tuple[int, int]
    mirrored: bool = False

    def tiles(self) -> Tiles:
        """Tiles of the output rows."""
        return self.outputs

    def input_tiles(self) -> Tiles:
        """Tiles of the input rows."""
        return self.inputs

    def chunks(self) -> Chunks:
        """Chunks of the pairs."""
        return self.listed

    def swapped(self) -> StoredPlan:
        """The same pairs with input and output exchanged."""
        return StoredPlan(self.inputs, self.outputs, self.listed.swapped(), self.counts[::-1], self.mirrored)

    def pairs(self) -> KernelMap:
        """The same pairs for the other ways of computing; the host waits."""
        found = self.listed
        inputs, outputs = (
            [rows[begin:end] for begin, end in pairwise(found.starts.tolist())]
            for rows in (found.inputs, found.outputs)
        )
        return map_by_cell(inputs, outputs, cells=range(len(inputs)), counts=self.counts)


def pyramid_of(tables: Tables) -> Pyramid:
    """All levels of a batch, from tables made before."""
    levels, links = [], {}
    for number, rows in enumerate(tables.layout.sizes.rows):
        level = Level(tables.part(f"coords {number}"), depth=number, counted=tables.part(f"live {number}"))
        same = tables.tiles(f"same {number}")
        chunks = tables.chunks(f"same {number}")
        level.plans[CUBE] = StoredPlan(same, same, chunks, (rows, rows), mirrored=True)
        if number:
            fine = f"{number - 1}"
            plan = StoredPlan(
                tables.tiles(f"down {fine}"),
                tables.tiles(f"up {fine}"),
                tables.chunks(f"down {fine}"),
                (tables.layout.sizes.rows[number - 1], rows),
            )
            level.origin = Origin(number - 1, plan.pairs, HALVING, plan)
            links[number - 1, Geometry("downsample", HALVING, HALVING)] = number
        levels.append(level)
    return Pyramid(levels, links)


def tabled(level: Level, geometry: Geometry) -> bool:
    """Whether there are tables for this convolution from this level."""
    if geometry.kind == "submanifold":
        return geometry.size == CUBE
    if geometry.kind == "downsample":
        return geometry.size == geometry.stride == HALVING and level.grid is None and len(level) > 0
    return level.origin is not None and level.origin.plan is not None


def submanifold_plan(level: Level) -> Plan:
    """The 3x3x3 neighbours on one level."""
    if CUBE not in level.plans:
        from also_selfsup.sparseconv.native.gpu import maps

        table = Table(*maps.neighbour_table(level, codes_of(level.coords.device)))
        level.plans[CUBE] = TablePlan(table, table, (len(level), len(level)), mirrored=True)
    plan: Plan = level.plans[CUBE]
    return plan


def downsample_by_table(pyramid: Pyramid, index: int, *, geometry: Geometry) -> int:
    """Index of the level that a 2x2x2 strided convolution makes from level `index`, made once."""
    if (index, geometry) not in pyramid.links:
        from also_selfsup.sparseconv.native.gpu import maps

        fine = pyramid.levels[index]
        numbering = fine.index.numbering.coarser(geometry)
        coords, numbers, children, parents = maps.family(fine, numbering, geometry=geometry)
        plan = TablePlan(Table(children), Table(parents), (len(fine), len(coords)))
        origin = Origin(index, plan.pairs, geometry.size, plan)
        coarse = Level(coords, Index(numbers, numbering, numbers), depth=fine.depth + 1, origin=origin)
        pyramid.links[index, geometry] = len(pyramid.levels)
        pyramid.levels.append(coarse)
    return pyramid.links[index, geometry]


@lru_cache
def codes_of(device: torch.device) -> Tensor:
    """(27,) int32: the bits that a neighbour at each kernel cell sets in the key of its row; 27 bits in all.

    A tile is cheap if all its rows lack the same cells. Under a lidar rows often lack a whole plane or column
    of the cube, so the highest bits tell whether the six outer planes have any cell (z, x, y), the next those
    of the eight columns along z beside the centre, the others single cells, rare ones first. On real nuScenes
    and SemanticKITTI scans tiles of 128 rows then do 1.57 and 1.54 times the arithmetic of MinkUNet34's
    pairs; with a bit for each cell, rare ones first, 1.76 and 1.74 times.
    """
    cells = [(x - 1, y - 1, z - 1) for x, y, z in kernel_offsets(CUBE)]
    groups = [{cell for cell in cells if cell[axis] == side} for axis in (2, 0, 1) for side in (-1, 1)]
    columns = sorted(product((-1, 0, 1), repeat=2), key=lambda column: -abs(column[0]) - 2 * abs(column[1]))
    groups += [{cell for cell in cells if cell[:2] == column} for column in columns[:-1]]
    rare_first = sorted(cells, key=lambda cell: -10 * abs(cell[2]) - abs(cell[0]) - abs(cell[1]))
    groups += [{cell} for cell in rare_first[: len(cells) - len(groups)]]
    bits = [1 << bit for bit in reversed(range(len(groups)))]
    codes = [sum(bit for bit, group in zip(bits, groups, strict=True) if cell in group) for cell in cells]
    return torch.tensor(codes, dtype=torch.int32, device=device)

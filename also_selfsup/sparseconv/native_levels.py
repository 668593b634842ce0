"""Native backend, the cells: levels of occupied cells, sorted by number, and the coarser levels made from them.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs of an input row and an output row.

A cell's number packs its batch, x, y, z into one int64, so that finding a cell is a binary search, all offsets at
once. Levels and kernel maps are kept here, built once per batch and shared by every layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Geometry, Triple

# Numbers stay below 2**62 so that those of neighbours outside the range still fit into int64.
LARGEST_NUMBER = 2**62
# Cells free around the occupied range: a kernel may reach this far without meeting another row's number.
MARGIN = 8


@dataclass(frozen=True)
class Numbering:
    """Cells to int64: batch slowest, then x, y, z; `low` is the smallest cell, `steps` the weight of each column."""

    low: tuple[int, int, int, int]
    steps: tuple[int, int, int, int]

    @classmethod
    def of(cls, coords: Tensor) -> Numbering:
        """A numbering wide enough for these cells and their neighbourhoods.

        Raises:
            ValueError: The cells are too far apart to be numbered in 62 bits.
        """
        smallest, largest = torch.aminmax(coords, dim=0)
        low, high = torch.stack((smallest, largest)).tolist()
        lengths = [int(b) - int(a) + 1 + 2 * MARGIN for a, b in zip(low, high, strict=True)]
        steps = [1, 1, 1, 1]
        for axis in (2, 1, 0):
            steps[axis] = steps[axis + 1] * lengths[axis + 1]
        if steps[0] * lengths[0] > LARGEST_NUMBER:
            raise ValueError(
                f"cells of one batch reach from {low} to {high} ([batch, x, y, z]): too far apart to be numbered in "
                "62 bits; check the units of the points, or crop them."
            )
        b, x, y, z = (int(value) - MARGIN for value in low)
        return cls((b, x, y, z), (steps[0], steps[1], steps[2], 1))

    def numbers(self, coords: Tensor) -> Tensor:
        """(V, 4) integer cells to (V,) int64."""
        low = torch.tensor(self.low, device=coords.device)
        steps = torch.tensor(self.steps, device=coords.device)
        return ((coords.long() - low) * steps).sum(1)

    def shift(self, offset: Triple) -> int:
        """What a step of `offset` cells adds to a number."""
        return sum(step * cells for step, cells in zip(self.steps[1:], offset, strict=True))


@dataclass
class KernelMap:
    """Which rows a convolution joins, kernel cell after kernel cell.

    Attributes:
        inputs, outputs: (P,) int64 rows; pairs of one kernel cell are contiguous, outputs ascending within it.
        counts: Pairs of each of the K kernel cells.
        in_count, out_count: Rows of the two sides.
        identity: The kernel cell whose pairs are row i with row i, all of them; -1 if there is none.
        mirrored: Pairs of cell K-1-k are those of cell k with sides swapped.
    """

    inputs: Tensor
    outputs: Tensor
    counts: list[int]
    in_count: int
    out_count: int
    identity: int = -1
    mirrored: bool = False
    _bags: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    _swapped: KernelMap | None = field(default=None, repr=False)

    def bags(self) -> tuple[Tensor, Tensor]:
        """Pairs grouped by output row: (P,) int32 pair numbers, and (V_out + 1,) int32 where each row's begin."""
        if self._bags is None:
            order = torch.argsort(self.outputs, stable=True)
            rows = torch.arange(self.out_count + 1, device=order.device)
            starts = torch.searchsorted(self.outputs[order], rows)
            self._bags = (order.int(), starts.int())
        return self._bags

    def swapped(self) -> KernelMap:
        """The same pairs with input and output exchanged."""
        if self._swapped is None:
            self._swapped = KernelMap(
                self.outputs,
                self.inputs,
                self.counts,
                self.out_count,
                self.in_count,
                self.identity,
                self.mirrored,
            )
            self._swapped._swapped = self
        return self._swapped


@dataclass
class Level:
    """Occupied cells of one level, and what was derived from them so far.

    Attributes:
        coords: (V, 4) integer `[batch, x, y, z]`.
        depth: Down-samplings since the input.
        grid: Bounds of the cells, [0, grid) along x, y, z; None if unbounded.
        made_by: The level and the map that this one was down-sampled by, with the kernel's size.
    """

    coords: Tensor
    depth: int = 0
    grid: Triple | None = None
    made_by: tuple[Level, KernelMap, Triple] | None = None
    maps: dict[Triple, KernelMap] = field(default_factory=dict)
    coarser: dict[Geometry, tuple[Level, KernelMap]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Number the cells and sort them.

        Raises:
            ValueError: Two rows hold the same cell.
        """
        self.numbering = Numbering.of(self.coords) if len(self.coords) else Numbering((0,) * 4, (0,) * 4)
        self.sorted_numbers, self.sorted_rows = torch.sort(self.numbering.numbers(self.coords))
        if bool((self.sorted_numbers[1:] == self.sorted_numbers[:-1]).any()):
            twice = self.coords[self.sorted_rows[1:]][self.sorted_numbers[1:] == self.sorted_numbers[:-1]][0]
            raise ValueError(
                f"cell {twice.tolist()} ([batch, x, y, z]) occurs twice: every cell needs one row."
            )

    def __len__(self) -> int:
        """V."""
        return len(self.coords)

    def find(self, numbers: Tensor) -> Tensor:
        """Row of each cell number (any shape), -1 where no such cell is occupied."""
        if not len(self):
            return torch.full_like(numbers, -1)
        places = torch.searchsorted(self.sorted_numbers, numbers).clamp_(max=len(self) - 1)
        return torch.where(self.sorted_numbers[places] == numbers, self.sorted_rows[places], -1)

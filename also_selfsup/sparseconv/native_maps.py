"""Native backend, the pairs: kernel maps of submanifold, strided and transposed convolutions.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs of an input row and an output row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Triple
from also_selfsup.sparseconv.kernels import cell_count, centre, kernel_offsets
from also_selfsup.sparseconv.native_levels import MARGIN, Level


@dataclass(frozen=True)
class Group:
    """Pairs of one kernel cell, or of two opposite ones, multiplied together.

    Attributes:
        cells: The kernel cells, as a slice of the kernel's first dimension.
        slots: The same where opposite cells lie side by side (`KernelMap.slots`).
        count: Pairs of each of the cells.
        width: How many cells, 1 or 2.
    """

    cells: slice
    slots: slice
    count: int
    width: int


@dataclass(frozen=True)
class KernelMap:
    """Which rows a convolution joins.

    Attributes:
        inputs, outputs: (P,) int32 rows of each pair, group after group, without the pairs of `identity`.
        groups: Which pairs are multiplied together.
        in_count, out_count: Rows of the two sides.
        identity: The kernel cell that joins every row with itself (its slot is the last), if there is one.
        slots: (K,) slot of each kernel cell in an order where opposite cells lie side by side; None if cells
            are in their own order.
        empty_slots: Slots without any pair.
    """

    inputs: Tensor
    outputs: Tensor
    groups: list[Group]
    in_count: int
    out_count: int
    empty_slots: list[int]
    identity: int | None = None
    slots: Tensor | None = None
    _bags: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    _side: str = "forward"

    def bags(self) -> tuple[Tensor, Tensor]:
        """Pairs by output row: (P,) int32 pairs, and (V_out + 1,) int32 where each row's begin."""
        if self._side not in self._bags:
            ascending, order = torch.sort(self.outputs, stable=True)
            rows = torch.arange(self.out_count + 1, dtype=torch.int32, device=order.device)
            self._bags[self._side] = (order.int(), torch.searchsorted(ascending, rows, out_int32=True))
        return self._bags[self._side]

    def split(self, rows: Tensor) -> list[Tensor]:
        """(P, C) to one (width, count, C) view a group."""
        sizes = [group.width * group.count for group in self.groups]
        pieces = torch.split(rows, sizes) if sizes else ()
        return [
            piece.view(group.width, group.count, -1) for group, piece in zip(self.groups, pieces, strict=True)
        ]

    def swapped(self) -> KernelMap:
        """The same pairs with input and output exchanged."""
        return replace(
            self,
            inputs=self.outputs,
            outputs=self.inputs,
            in_count=self.out_count,
            out_count=self.in_count,
            _side="backward" if self._side == "forward" else "forward",
        )


def submanifold_map(level: Level, size: Triple) -> KernelMap:
    """Pairs of the cells of one level, built once per size: output row i reads the row at cell i + offset."""
    if size not in level.maps:
        if max(size) > MARGIN:
            raise ValueError(f"kernel size {size}: the native backend takes at most {MARGIN} cells an axis.")
        level.maps[size] = _symmetric_map(level, size) if cell_count(size) % 2 else _plain_map(level, size)
    return level.maps[size]


def map_of_pairs(
    inputs: Tensor, outputs: Tensor, *, cells: Tensor, in_count: int, out_count: int, cell_count: int
) -> KernelMap:
    """A map from pairs in any order, `cells` (P,) saying which kernel cell each belongs to."""
    order = torch.argsort(cells * max(out_count, 1) + outputs)
    inputs, outputs = inputs[order].int(), outputs[order].int()
    counts: list[int] = torch.bincount(cells, minlength=cell_count).tolist()
    own = [slice(cell, cell + 1) for cell in range(cell_count)]
    groups = [Group(own[cell], own[cell], count, 1) for cell, count in enumerate(counts) if count]
    empty = [cell for cell, count in enumerate(counts) if not count]
    return KernelMap(inputs, outputs, groups, in_count, out_count, empty)


def _offsets(size: Triple) -> list[Triple]:
    off = centre(size)
    return [(x - off[0], y - off[1], z - off[2]) for x, y, z in kernel_offsets(size)]


def _lookup(level: Level, offsets: list[Triple]) -> Tensor:
    """(offsets, V): row of the cell at each offset from each row's cell, -1 if it is not occupied."""
    steps = level.numbering.steps()[1:]
    shifts = [sum(step * cells for step, cells in zip(steps, offset, strict=True)) for offset in offsets]
    return level.find(level.numbers + torch.tensor(shifts, device=level.numbers.device)[:, None])


def _plain_map(level: Level, size: Triple) -> KernelMap:
    """Even sizes: every offset is searched."""
    found = _lookup(level, _offsets(size))
    cells, outputs = torch.nonzero(found >= 0, as_tuple=True)
    count = len(level)
    return map_of_pairs(
        found[cells, outputs], outputs, cells=cells, in_count=count, out_count=count, cell_count=len(found)
    )


def _symmetric_map(level: Level, size: Triple) -> KernelMap:
    """Odd sizes: half of the offsets are searched, the other half are the same pairs with sides swapped.

    Both halves of a pair of opposite cells have equally many rows and are multiplied together.
    """
    offsets = _offsets(size)
    half = len(offsets) // 2
    found = _lookup(level, offsets[:half]).int()
    occupied = found >= 0
    counts: list[int] = occupied.sum(1).tolist()
    outputs = torch.nonzero(occupied)[:, 1].int()
    inputs = found[occupied]
    last = len(offsets) - 1
    groups = [
        Group(slice(cell, last - cell + 1, last - 2 * cell), slice(2 * cell, 2 * cell + 2), count, 2)
        for cell, count in enumerate(counts)
        if count
    ]
    there, here = torch.split(inputs, counts), torch.split(outputs, counts)
    both = [torch.cat(sides) for sides in (_interleave(there, here), _interleave(here, there))]
    order = [*range(0, 2 * half, 2), 2 * half, *range(2 * half - 1, 0, -2)]
    return KernelMap(
        inputs=both[0],
        outputs=both[1],
        groups=groups,
        in_count=len(level),
        out_count=len(level),
        empty_slots=[2 * cell + side for cell, count in enumerate(counts) if not count for side in (0, 1)],
        identity=half,
        slots=torch.tensor(order, device=level.coords.device),
    )


def _interleave(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
    return [piece for both in zip(first, second, strict=True) for piece in both]

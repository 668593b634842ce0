"""Native backend, the maps: which rows of a level a submanifold kernel joins, and maps of given pairs.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs of an input row and an output row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Triple
from also_selfsup.sparseconv.kernels import cell_count, centre, kernel_offsets
from also_selfsup.sparseconv.native.levels import MARGIN, Level
from also_selfsup.sparseconv.native.pairs import KernelMap, Piece, blocks_of, pieces_of, rows_of, twins_of
from also_selfsup.sparseconv.native.search import neighbours


def submanifold_map(level: Level, size: Triple) -> KernelMap:
    """Pairs of the cells of one level, built once per size: output row i reads the row at cell i + offset.

    Raises:
        ValueError: The kernel reaches farther than the numbering of cells allows.
    """
    if size not in level.maps:
        if max(size) > MARGIN:
            raise ValueError(f"kernel size {size}: the native backend takes at most {MARGIN} cells an axis.")
        level.maps[size] = _symmetric_map(level, size) if cell_count(size) % 2 else _plain_map(level, size)
    return level.maps[size]


def map_by_cell(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, cells: Sequence[int], counts: tuple[int, int]
) -> KernelMap:
    """A map from the (int32) rows of each of these kernel cells; `counts` are V_in, V_out."""
    pieces, empty = [], []
    for cell, there, here in zip(cells, inputs, outputs, strict=True):
        own = slice(cell, cell + 1)
        parts = zip(pieces_of(there), pieces_of(here), strict=True)
        pieces += [Piece(own, own, (rows,), number == 0) for number, rows in enumerate(parts)]
        if not len(there):
            empty.append(cell)
    device = inputs[0].device
    rows = rows_of(pieces, device)
    return KernelMap(blocks_of(pieces, rows), rows, counts, empty)


def _offsets(size: Triple) -> list[Triple]:
    off = centre(size)
    return [(x - off[0], y - off[1], z - off[2]) for x, y, z in kernel_offsets(size)]


def _plain_map(level: Level, size: Triple) -> KernelMap:
    """Even sizes: every offset is searched."""
    offsets = _offsets(size)
    inputs, outputs = neighbours(level, offsets)
    return map_by_cell(inputs, outputs, cells=range(len(offsets)), counts=(len(level), len(level)))


def _symmetric_map(level: Level, size: Triple) -> KernelMap:
    """Odd sizes: half of the offsets are searched, the other half are the same pairs with sides swapped.

    Both halves of a pair of opposite cells have equally many rows and are multiplied together.
    """
    offsets = _offsets(size)
    last = len(offsets) - 1
    half = [cell for cell, offset in enumerate(offsets) if offset < (0, 0, 0)]
    inputs, outputs = neighbours(level, [offsets[cell] for cell in half])
    pieces, empty = [], []
    for number, (cell, there, here) in enumerate(zip(half, inputs, outputs, strict=True)):
        if cell > last - cell:  # a slice has to ascend: begin with the opposite cell
            cell, there, here = last - cell, here, there
        cells, slots = slice(cell, last - cell + 1, last - 2 * cell), slice(2 * number, 2 * number + 2)
        for order, (first, second) in enumerate(zip(pieces_of(there), pieces_of(here), strict=True)):
            pieces.append(Piece(cells, slots, ((first, second), (second, first)), order == 0))
        if not len(there):
            empty += [2 * number, 2 * number + 1]
    device = level.coords.device
    rows = rows_of(pieces, device)
    return KernelMap(
        blocks_of(pieces, rows),
        rows,
        (len(level), len(level)),
        empty,
        identity=last // 2,
        slots=torch.tensor(_slots(half, last), device=device),
        twins=twins_of(pieces, device),
    )


def _slots(half: list[int], last: int) -> list[int]:
    """The slot of each kernel cell: opposite cells side by side, the centre at the end."""
    slots = [last] * (last + 1)
    for number, cell in enumerate(half):
        slots[min(cell, last - cell)], slots[max(cell, last - cell)] = 2 * number, 2 * number + 1
    return slots

"""Native backend, the pairs: rows that a convolution joins, in the order in which they are multiplied.

Letters: V voxels (rows) of a level, P pairs of an input row and an output row, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Pairs of one kernel cell multiplied at a time on the CPU: what was gathered for them is still in the cache.
CHUNK = 4096
# Groups gathered together hold so many pairs. On the CPU only small ones are, which take longer to begin than
# to gather; on a GPU as many as memory allows.
BLOCK = {"cpu": 1024, "cuda": 2**18}


@dataclass(frozen=True)
class Group:
    """Pairs of one kernel cell, or of two opposite ones, multiplied together.

    Attributes:
        cells: The kernel cells, as a slice of the kernel's first dimension.
        slots: The same where opposite cells lie side by side (`KernelMap.slots`).
        start: Where its pairs begin in their block.
        count: Pairs of a cell.
        width: How many cells, 1 or 2; the pairs of the first one come first.
        first: No group before has these cells.
    """

    cells: slice
    slots: slice
    start: int
    count: int
    width: int
    first: bool

    def of(self, rows: Tensor) -> Tensor:
        """Its part of the contiguous rows (block, C): a view (width, count, C)."""
        channels = rows.shape[1]
        strides = (self.count * channels, channels, 1)
        offset = rows.storage_offset() + self.start * channels
        return rows.as_strided((self.width, self.count, channels), strides, offset)


@dataclass(frozen=True)
class Block:
    """Groups whose rows are gathered at once.

    Attributes:
        places: Their pairs, as a slice of all.
        rows: Input rows and output rows, (block,) int32 each.
        groups: The groups, one after the other.
    """

    places: slice
    rows: tuple[Tensor, Tensor]
    groups: list[Group]


@dataclass(frozen=True)
class KernelMap:
    """Which rows a convolution joins.

    Attributes:
        blocks: The pairs, without those of `identity`.
        rows: Their input rows and output rows, (P,) int32 each, block after block, group after group.
        counts: Rows of the two sides, V_in and V_out.
        empty_slots: Slots without any pair.
        identity: The kernel cell that joins every row with itself (its slot is the last), if there is one.
        slots: (K,) slot of each kernel cell in an order where opposite cells lie side by side; None if cells
            are in their own order.
        twins: (P,) the pair with swapped sides of each pair, if every pair has one.
        side: 0, or 1 for the same pairs with input and output exchanged.
        derived: What others made of the pairs, of both sides.
    """

    blocks: list[Block]
    rows: tuple[Tensor, Tensor]
    counts: tuple[int, int]
    empty_slots: list[int]
    identity: int | None = None
    slots: Tensor | None = None
    twins: Tensor | None = None
    side: int = 0
    derived: dict[str, Any] = field(default_factory=dict, repr=False)
    _bags: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """P."""
        return len(self.rows[0])

    def swapped(self) -> KernelMap:
        """The same pairs with input and output exchanged."""
        return replace(self, side=1 - self.side)

    def bags(self) -> tuple[Tensor, Tensor]:
        """Pairs by output row: (P,) int32 pairs, and (V_out + 1,) int32 where each row's begin."""
        if self.side not in self._bags:
            other = self._bags.get(1 - self.side)
            if other is not None and self.twins is not None:
                self._bags[self.side] = (self.twins[other[0]], other[1])
            else:
                ascending, order = torch.sort(self.rows[1 - self.side], stable=True)
                rows = torch.arange(self.counts[1 - self.side] + 1, dtype=torch.int32, device=order.device)
                self._bags[self.side] = (order.int(), torch.searchsorted(ascending, rows, out_int32=True))
        return self._bags[self.side]


class Piece(NamedTuple):
    """A group before it has a place: its input and output rows, cell by cell."""

    cells: slice
    slots: slice
    rows: tuple[tuple[Tensor, Tensor], ...]
    first: bool

    def __len__(self) -> int:
        return len(self.rows) * len(self.rows[0][0])


def rows_of(pieces: list[Piece], device: torch.device) -> tuple[Tensor, Tensor]:
    """Input and output rows of all pieces, (P,) int32 each."""
    pairs = [pair for piece in pieces for pair in piece.rows]
    if not pairs:
        empty = torch.zeros(0, dtype=torch.int32, device=device)
        return empty, empty
    return torch.cat([there for there, _ in pairs]), torch.cat([here for _, here in pairs])


def blocks_of(pieces: list[Piece], rows: tuple[Tensor, Tensor]) -> list[Block]:
    """Give the pieces their places, as many in a block as BLOCK allows."""
    limit = BLOCK.get(rows[0].device.type, BLOCK["cuda"])
    blocks: list[Block] = []
    begin = 0
    while pieces:
        groups: list[Group] = []
        size = 0
        while pieces and (not groups or size + len(pieces[0]) <= limit):
            piece, *pieces = pieces
            count = len(piece.rows[0][0])
            groups.append(Group(piece.cells, piece.slots, size, count, len(piece.rows), piece.first))
            size += len(piece)
        places = slice(begin, begin + size)
        blocks.append(Block(places, (rows[0][places], rows[1][places]), groups))
        begin += size
    return blocks


def twins_of(pieces: list[Piece], device: torch.device) -> Tensor:
    """(P,) int32: the halves of each group exchanged."""
    start, halves = 0, []
    places = torch.arange(sum(map(len, pieces)), dtype=torch.int32, device=device)
    for piece in pieces:
        middle, end = start + len(piece) // 2, start + len(piece)
        halves += [places[middle:end], places[start:middle]]
        start = end
    return torch.cat(halves) if halves else places


def pieces_of(rows: Tensor) -> tuple[Tensor, ...]:
    """Rows in pieces of CHUNK on the CPU, whole on a GPU; none if there are none."""
    if not len(rows):
        return ()
    return (rows,) if rows.is_cuda else torch.split(rows, CHUNK)

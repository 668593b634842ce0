"""Native backend, the cells: occupied cells of each level by number, and what a batch's layers share.

Letters: V voxels (rows) of a level.

A cell's number packs its batch, x, y, z into one int64, so that finding cells is one binary search for all
offsets at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Geometry, Triple
from also_selfsup.sparseconv.native.pairs import KernelMap

# Numbers stay below 2**62 so that those of cells beyond the range still fit into int64.
LARGEST_NUMBER = 2**62
# Free cells around the occupied range: so far a kernel can reach without meeting another row's number.
MARGIN = 8


@dataclass(frozen=True)
class Numbering:
    """Cells to int64, batch slowest and z fastest; `low` and `high` are the range of [batch, x, y, z]."""

    low: list[int]
    high: list[int]

    def steps(self) -> list[int]:
        """What one cell more in each column adds to a number.

        Raises:
            ValueError: The cells are too far apart to be numbered in 62 bits.
        """
        lengths = [high - low + 1 + 2 * MARGIN for low, high in zip(self.low, self.high, strict=True)]
        steps = [lengths[1] * lengths[2] * lengths[3], lengths[2] * lengths[3], lengths[3], 1]
        if steps[0] * lengths[0] > LARGEST_NUMBER:
            raise ValueError(
                f"cells [batch, x, y, z] reach from {self.low} to {self.high}: too far apart to be numbered "
                "in 62 bits; check the unit of the points, or crop them."
            )
        return steps

    def numbers(self, coords: Tensor) -> Tensor:
        """(V, 4) integer cells to (V,) int64, at least MARGIN cells from the ends."""
        numbers = torch.zeros(len(coords), dtype=torch.int64, device=coords.device)
        for column, low, step in zip(coords.unbind(1), self.low, self.steps(), strict=True):
            numbers += (column.long() - (low - MARGIN)) * step
        return numbers

    def coarser(self, geometry: Geometry) -> Numbering:
        """The range of coarse cells that a strided convolution can reach from these cells."""
        axes = list(zip(geometry.size, geometry.stride, geometry.padding, strict=True))
        low = [(a + p - (k - 1)) // s for a, (k, s, p) in zip(self.low[1:], axes, strict=True)]
        high = [(b + p) // s for b, (_, s, p) in zip(self.high[1:], axes, strict=True)]
        return Numbering([self.low[0], *low], [self.high[0], *high])


@dataclass(frozen=True)
class Origin:
    """How a level was made.

    Attributes:
        level: From which level of the pyramid.
        make_pairs: By which pairs.
        size: With which kernel size.
        plan: The pairs as a GPU works on them, if the level was made there.
    """

    level: int
    make_pairs: Callable[[], KernelMap]
    size: Triple
    plan: Any = None

    @cached_property
    def pairs(self) -> KernelMap:
        """The pairs."""
        return self.make_pairs()


@dataclass(frozen=True)
class Index:
    """The cells of a level by number, to be searched.

    Attributes:
        numbers: (V,) int64, number of each row.
        numbering: How the numbers were made.
        sorted_numbers, sorted_rows: `numbers` ascending and their rows; None where rows are sorted already.
    """

    numbers: Tensor
    numbering: Numbering
    sorted_numbers: Tensor
    sorted_rows: Tensor | None = None


@dataclass
class Level:
    """Occupied cells of one level.

    Attributes:
        coords: (V, 4) integer `[batch, x, y, z]`.
        known: The cells by number, if they are already numbered.
        depth: Down-samplings since the input.
        grid: Bounds of the cells, [0, grid) along x, y, z; None if unbounded.
        origin: How it was made; None for the input.
        maps: Submanifold kernel maps by kernel size.
        plans: The same as a GPU works on them.
        notes: What others derived from the cells (`Voxels.notes`).
        counted: (1,) int32, how many of the rows are there, if those behind are filling (`live`).
    """

    coords: Tensor
    known: Index | None = None
    depth: int = 0
    grid: Triple | None = None
    origin: Origin | None = None
    maps: dict[Triple, KernelMap] = field(default_factory=dict)
    plans: dict[Triple, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    counted: Tensor | None = None

    @cached_property
    def index(self) -> Index:
        """The cells by number."""
        return index_of(self.coords) if self.known is None else self.known

    @property
    def live(self) -> Tensor:
        """(1,) int32 on the device: how many of the rows are there; all of them, unless told otherwise."""
        if self.counted is None:
            self.counted = torch.full((1,), len(self), dtype=torch.int32, device=self.coords.device)
        return self.counted

    def __len__(self) -> int:
        """V."""
        return len(self.coords)

    def find(self, numbers: Tensor) -> Tensor:
        """Row of each cell number (any shape), -1 where no such cell is occupied."""
        if not len(self):
            return torch.full_like(numbers, -1)
        index = self.index
        places = torch.searchsorted(index.sorted_numbers, numbers).clamp_(max=len(self) - 1)
        rows = places if index.sorted_rows is None else index.sorted_rows[places]
        return torch.where(index.sorted_numbers[places] == numbers, rows, -1)


class Workspace(threading.local):
    """Buffers of the arithmetic, one set a thread, kept from batch to batch.

    They hold pairs x channels of the largest layer so far, little beside a network's activations; touching
    fresh memory of that size would cost as much as the products.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        """A copy (of a network, say, for another process) starts without buffers."""
        return Workspace, ()

    def rows(self, name: str, count: int, *, like: Tensor, channels: int) -> Tensor:
        """An uninitialised (count, channels) buffer, valid until the next one of that name is asked for."""
        if like.is_cuda:  # the caching allocator does the same there
            return like.new_empty(count, channels)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.dtype != like.dtype or len(buffer) < count * channels:
            with torch.inference_mode(False):  # a buffer first needed by a validation serves training too
                self._buffers[name] = buffer = torch.empty(count * channels, dtype=like.dtype)
        return buffer.as_strided((count, channels), (channels, 1))

    def gather(self, name: str, feats: Tensor, rows: Tensor) -> Tensor:
        """feats[rows] in the buffer of that name."""
        out = self.rows(name, len(rows), like=feats, channels=feats.shape[1])
        return torch.index_select(feats, 0, rows, out=out)


@dataclass
class Pyramid:
    """All levels of one batch with what was derived from them; shared by its voxels, gone with them.

    Attributes:
        levels: The input's cells first; coarser ones in the order they were made.
        links: Index of the level that a strided convolution made from a level.
    """

    levels: list[Level]
    links: dict[tuple[int, Geometry], int] = field(default_factory=dict)


def first_level(coords: Tensor, *, grid: Triple | None = None) -> Level:
    """The input's cells (V, 4), in any order.

    Raises:
        ValueError: Two rows hold the same cell (looked for on the CPU only: it would make a GPU wait), or the
            cells are too far apart.
    """
    return Level(coords, index_of(coords), grid=grid)


def index_of(coords: Tensor) -> Index:
    """Number the cells (V, 4); raises as `first_level` does."""
    if not len(coords):
        empty = torch.zeros(0, dtype=torch.int64, device=coords.device)
        return Index(empty, Numbering([0] * 4, [0] * 4), empty)
    low, high = torch.stack(torch.aminmax(coords, dim=0)).tolist()
    numbering = Numbering(low, high)
    numbers = numbering.numbers(coords)
    if coords.is_cuda:
        return Index(numbers, numbering, *torch.sort(numbers))
    if bool((numbers[1:] > numbers[:-1]).all()):
        return Index(numbers, numbering, numbers)
    sorted_numbers, rows = torch.sort(numbers)
    twice = torch.nonzero(sorted_numbers[1:] == sorted_numbers[:-1])
    if len(twice):
        cell = coords[rows[twice[0, 0]]].tolist()
        raise ValueError(f"cell {cell} ([batch, x, y, z]) occurs more than once: every cell needs one row.")
    return Index(numbers, numbering, sorted_numbers, rows)

"""Native backend on a GPU, the layout: where in one buffer lies what the layers of a batch share.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs, T rows of a tile, L levels.

Everything that a network of halvings needs to know of a batch's cells (tiles, pairs, numbers of rows) is
int32 and lies in one buffer, with room for somewhat larger batches: one copy brings a batch to where a
recorded step reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from math import prod

from torch import Tensor

from also_selfsup.sparseconv.native.gpu.tiles import CHUNK, Chunks, Tiles, tile_size

# Kernel cells of a convolution on one level, and between two.
CUBE, OCTANTS = 27, 8
# Of a table's tiles and lists, in the order of their fields.
TILE_PARTS, LIST_PARTS = ("rows", "table", "cells", "counts"), ("inputs", "outputs", "starts", "first")


@dataclass(frozen=True)
class Sizes:
    """Rows and pairs, of a batch or as room for one.

    Attributes:
        rows: V of each level.
        pairs: P of the 3x3x3 neighbours on each level.
    """

    rows: tuple[int, ...]
    pairs: tuple[int, ...]

    def holds(self, other: Sizes) -> bool:
        """Whether there is room for another."""
        return len(self.rows) == len(other.rows) and all(
            here >= there
            for here, there in zip(self.rows + self.pairs, other.rows + other.pairs, strict=True)
        )

    def grown(self, other: Sizes, *, slack: float, step: int) -> Sizes:
        """Room for both, and for somewhat more than the other; whole steps of rows."""

        def grow(here: tuple[int, ...], there: tuple[int, ...]) -> tuple[int, ...]:
            wanted = (-(-int(number * slack) // step) * step for number in there)
            return tuple(map(max, here or (0,) * len(there), wanted))

        return Sizes(grow(self.rows, other.rows), grow(self.pairs, other.pairs))


@dataclass(frozen=True)
class Layout:
    """The parts of the buffer, one behind the other.

    Attributes:
        sizes: What there is room for.
        shapes: Of the parts, by name.
        steps: From the begin of each part to that of the next one.
        length: Of the buffer.
    """

    sizes: Sizes
    shapes: dict[str, tuple[int, ...]]
    steps: list[int]
    length: int

    @property
    def depth(self) -> int:
        """Halvings."""
        return len(self.sizes.rows) - 1

    @cached_property
    def begins(self) -> dict[str, int]:
        """Where each part begins."""
        return dict(zip(self.shapes, accumulate(self.steps[:-1], initial=0), strict=True))

    @cached_property
    def kinds(self) -> list[str]:
        """Names of tables: "same" of each level, "down" and "up" of each but the coarsest."""
        lengths = {"same": self.depth + 1, "down": self.depth, "up": self.depth}
        return [f"{kind} {level}" for kind, length in lengths.items() for level in range(length)]

    @cached_property
    def tile_count(self) -> int:
        """Tiles of all tables."""
        return sum(self.shapes[f"{kind} counts"][0] for kind in self.kinds)

    @cached_property
    def tiles(self) -> list[tuple[int, ...]]:
        """Of the tiles of each table: the first among all, where the parts begin, room for rows, T; and 0."""
        found, first = [], 0
        for kind in self.kinds:
            rows, count = self.shapes[f"{kind} rows"][0], self.shapes[f"{kind} counts"][0]
            begins = (self.begins[f"{kind} {part}"] for part in TILE_PARTS)
            found.append((first, *begins, rows, rows // count, 0))
            first += count
        return found

    @cached_property
    def lists(self) -> list[tuple[int, ...]]:
        """Where the parts of each table's lists begin."""
        kinds = self.kinds[: 2 * self.depth + 1]
        return [tuple(self.begins[f"{kind} {part}"] for part in LIST_PARTS) for kind in kinds]

    @cached_property
    def cells(self) -> list[tuple[int, ...]]:
        """Where the cells of each level begin, and where their number stands."""
        return [(self.begins[f"coords {n}"], self.begins[f"live {n}"]) for n in range(self.depth + 1)]


@lru_cache(maxsize=8)
def layout_of(sizes: Sizes) -> Layout:
    """The layout with room for these sizes; every part begins at a multiple of 16 bytes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for level, rows in enumerate(sizes.rows):
        shapes[f"live {level}"] = (1,)
        shapes[f"coords {level}"] = (rows, 4)
        shapes |= _tile_shapes(f"same {level}", rows, CUBE)
        shapes |= _pair_shapes(f"same {level}", sizes.pairs[level], CUBE)
    for level, (fine, coarse) in enumerate(zip(sizes.rows[:-1], sizes.rows[1:], strict=True)):
        shapes |= _tile_shapes(f"down {level}", coarse, OCTANTS)
        shapes |= _tile_shapes(f"up {level}", fine, OCTANTS)
        shapes |= _pair_shapes(f"down {level}", fine, OCTANTS)
    steps = [-(-prod(shape) // 4) * 4 for shape in shapes.values()]
    return Layout(sizes, shapes, steps, sum(steps))


def _tile_shapes(name: str, rows: int, cells: int) -> dict[str, tuple[int, ...]]:
    size = tile_size(rows)
    count = -(-rows // size)
    shapes = (count * size,), (cells, count * size), (count, cells), (count,)
    return {f"{name} {part}": shape for part, shape in zip(TILE_PARTS, shapes, strict=True)}


def _pair_shapes(name: str, pairs: int, cells: int) -> dict[str, tuple[int, ...]]:
    shapes = (pairs,), (pairs,), (cells + 1,), (cells + 1,)
    return {f"{name} {part}": shape for part, shape in zip(LIST_PARTS, shapes, strict=True)}


@dataclass(frozen=True)
class Tables:
    """What a batch's layers share, in one buffer.

    Attributes:
        buffer: (length,) int32.
        layout: Of the buffer.
        sizes: Of the batch, at most those of the layout.
    """

    buffer: Tensor
    layout: Layout
    sizes: Sizes

    @cached_property
    def _parts(self) -> dict[str, Tensor]:
        """All parts, flat, cut in one go: a hundred slices one by one take the host milliseconds."""
        flat: tuple[Tensor, ...] = self.buffer.split(self.layout.steps)  # type: ignore[no-untyped-call]
        return dict(zip(self.layout.shapes, flat, strict=True))

    def part(self, name: str) -> Tensor:
        """One part, a view."""
        shape, flat = self.layout.shapes[name], self._parts[name]
        count = prod(shape)
        return (flat if len(flat) == count else flat[:count]).view(shape)

    def tiles(self, name: str) -> Tiles:
        """Tiles of "same", "down" or "up" of a level."""
        rows, counts = self.part(f"{name} rows"), self.part(f"{name} counts")
        size = rows.shape[0] // counts.shape[0]
        return Tiles(rows, self.part(f"{name} table"), self.part(f"{name} cells"), counts, size)

    def chunks(self, name: str) -> Chunks:
        """Chunks of "same" or "down" of a level; as many as there is room for."""
        inputs, first = self.part(f"{name} inputs"), self.part(f"{name} first")
        most = len(inputs) // CHUNK + len(first) - 1
        return Chunks(inputs, self.part(f"{name} outputs"), self.part(f"{name} starts"), first, lambda: most)

    def moved(self, buffer: Tensor) -> Tables:
        """The same in another buffer of the same layout, copied there."""
        return Tables(buffer.copy_(self.buffer, non_blocking=True), self.layout, self.sizes)

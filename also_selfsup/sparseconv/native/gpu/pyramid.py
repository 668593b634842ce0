"""Native backend on a GPU: the tables of all levels of a batch, before the network runs.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs, L levels.

The host reads twice: how many cells each level has, and how many pairs. All this can be done for the next
batches while a step of this one runs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from also_selfsup.sparseconv.native.gpu import order
from also_selfsup.sparseconv.native.gpu import pyramid_triton as kernels
from also_selfsup.sparseconv.native.gpu.layout import CUBE, OCTANTS, Sizes, Tables, layout_of
from also_selfsup.sparseconv.native.gpu.plans import codes_of
from also_selfsup.transforms.pending import Steps, read_later

# Keys that sort the rows of all tables at once: the table's number above the bits of `codes_of`.
SEGMENT = 1 << CUBE


def build_tables(coords: Tensor, *, depth: int, room: Callable[[Sizes], Sizes]) -> Steps[Tables | None]:
    """Tiles and pairs of a batch's cells on all levels, in `Steps`.

    Args:
        coords: (V, 4) int32 contiguous `[batch, x, y, z]`, no two rows alike, at least one; on a GPU.
        depth: Halvings.
        room: Answers for which sizes there is to be room, given those of the batch.

    Returns:
        The tables; None for cells beyond this numbering (131,008 cells from the origin, 510 scans).
    """
    count, device = len(coords), coords.device
    numbers = torch.empty(count, dtype=torch.int64, device=device)
    beyond = torch.zeros(1, dtype=torch.int32, device=device)
    kernels.launch_numbers(
        kernels.blocks(count),
        (coords, numbers, beyond, count),
        constants={"ZERO": kernels.ZERO, "EDGE": kernels.EDGE, "B": kernels.ROWS},
    )
    ascending, rows = torch.sort(numbers)
    leads = torch.empty(depth * count, dtype=torch.int32, device=device)
    kernels.launch_leads(
        kernels.blocks(count), (ascending, leads, count), constants={"DEPTH": depth, "B": kernels.ROWS}
    )
    ranks = torch.cumsum(leads, 0, dtype=torch.int32)
    read = read_later(torch.cat((ranks[count - 1 :: count], beyond)))
    yield
    *ends, out = read()
    if out:
        return None
    sizes = (count, *(end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)))
    builder = _Builder(coords, ascending, rows, ranks, sizes=sizes, bases=(0, *ends[:-1]))
    return (yield from builder.build(room))


class _Builder:
    """The steps after the sizes of the levels are known; `bases` are the ranks where each level begins."""

    def __init__(
        self,
        coords: Tensor,
        ascending: Tensor,
        rows: Tensor,
        ranks: Tensor,
        *,
        sizes: tuple[int, ...],
        bases: tuple[int, ...],
    ) -> None:
        self.ascending, self.rows, self.ranks = ascending, rows, ranks
        self.sizes, self.bases, self.depth = sizes, bases, len(sizes) - 1
        self.codes = codes_of(coords.device)
        self.coords = [coords, *(self._empty(size, 4) for size in sizes[1:])]
        self.parents = [self._empty(size) for size in sizes[:-1]]
        self.children = [
            torch.full((OCTANTS, size), -1, dtype=torch.int32, device=coords.device) for size in sizes[1:]
        ]
        self.tables = [self._empty(CUBE, size) for size in sizes]
        # All keys side by side: of the levels, of the strided convolutions, of their inverses.
        self.counts = [*sizes, *sizes[1:], *sizes[:-1]]
        self.keys = torch.split(self._empty(sum(self.counts)), self.counts)

    def build(self, room: Callable[[Sizes], Sizes]) -> Steps[Tables]:
        """All tables."""
        self._families()
        self._neighbours()
        places = torch.sort(_joined(self.keys), stable=True).indices
        sources = [*self.tables, *self.children]
        lists = order.PairLists(sources)
        read = read_later(lists.totals())
        yield
        ends = read()
        pairs = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        sizes = Sizes(self.sizes, tuple(pairs[: self.depth + 1]))
        layout = layout_of(room(sizes))
        tables = Tables(self._empty(layout.length), layout, sizes)
        names = [f"same {level}" for level in range(self.depth + 1)]
        names += [f"down {level}" for level in range(self.depth)]
        for number, name in enumerate(names):
            lists.write(number, tables.chunks(name))
        names += [f"up {level}" for level in range(self.depth)]
        begin = 0
        for name, source, count in zip(names, [*sources, *self.parents], self.counts, strict=True):
            order.write_tiles(source, places[begin : begin + count], begin=begin, tiles=tables.tiles(name))
            begin += count
        for level, (coords, count) in enumerate(zip(self.coords, self.sizes, strict=True)):
            tables.part(f"coords {level}")[:count] = coords
            tables.part(f"live {level}").fill_(count)
        return tables

    def _families(self) -> None:
        """Parents, children and cells of each level, and the keys of both kinds of strided tables."""
        count = len(self.ascending)
        for level in range(self.depth):
            coarse = self.sizes[level + 1]
            self.numbers = torch.empty(coarse, dtype=torch.int64, device=self.ascending.device)
            kernels.launch_family(
                kernels.blocks(count),
                (
                    self.ascending, self.rows, self.ranks, self.parents[level], self.children[level],
                    self.coords[level + 1], self.numbers, self.keys[2 * self.depth + 1 + level],
                    count, coarse, self.bases[level - 1] if level else 0, self.bases[level],
                    SEGMENT * (2 * self.depth + 1 + level),
                ),
                constants={"LEVEL": level, "ZERO": kernels.ZERO, "B": kernels.ROWS},
            )  # fmt: skip
            own = self.depth + 1 + level
            kernels.launch_octants(
                kernels.blocks(coarse),
                (self.children[level], self.keys[own], coarse, SEGMENT * own),
                constants={"B": kernels.ROWS},
            )

    def _neighbours(self) -> None:
        """Who is whose neighbour: searched on the coarsest level, known from there downwards."""
        depth, last = self.depth, self.sizes[-1]
        kernels.launch_search(
            kernels.blocks(last),
            (
                self.numbers, self.codes, self.tables[depth], self.keys[depth], last, last.bit_length() + 1,
                SEGMENT * depth,
            ),
            constants={"Z": kernels.z_bits(depth), "B": kernels.ROWS},
        )  # fmt: skip
        for level in reversed(range(depth)):
            count, coarse = self.sizes[level], self.sizes[level + 1]
            kernels.launch_descend(
                kernels.blocks(count),
                (
                    self.parents[level], self.tables[level + 1], self.children[level], self.codes,
                    self.tables[level], self.keys[level], count, coarse, SEGMENT * level,
                ),
                constants={"B": kernels.ROWS},
            )  # fmt: skip

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32, device=self.ascending.device)


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    """The tensor that these lie side by side in."""
    whole = parts[0]._base
    assert whole is not None
    return whole

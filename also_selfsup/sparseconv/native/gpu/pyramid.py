"""Native backend on a GPU: the tables of all levels of a batch, before the network runs.

Letters: V voxels (rows) of a level, K cells of a kernel, P pairs, L levels.

The host reads twice: how many cells each level has, and how many pairs. All this can be done for the next
batches while a step of this one runs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from also_selfsup.sparseconv.native.gpu import pyramid_triton as kernels
from also_selfsup.sparseconv.native.gpu.layout import CUBE, Sizes, Tables, layout_of
from also_selfsup.sparseconv.native.gpu.lists import PairLists
from also_selfsup.sparseconv.native.gpu.order import write_tiles
from also_selfsup.sparseconv.native.gpu.plans import codes_of
from also_selfsup.sparseconv.native.gpu.sources import sent, sources_of
from also_selfsup.transforms.pending import Steps, read_later

# Keys that sort the rows of all tables at once: the table's number above the bits of `codes_of`. Of int32
# they leave four bits for the 3 * depth + 1 tables.
SEGMENT = 1 << CUBE
DEEPEST = 5


def build_tables(coords: Tensor, *, depth: int, room: Callable[[Sizes], Sizes]) -> Steps[Tables | None]:
    """Tiles and pairs of a batch's cells on all levels, in `Steps`.

    Args:
        coords: (V, 4) int32 contiguous `[batch, x, y, z]`, no two rows alike, at least one; on a GPU.
        depth: Halvings, 1 to DEEPEST.
        room: Answers for which sizes there is to be room, given those of the batch.

    Returns:
        The tables; None for cells beyond this numbering (131,008 cells from the origin, 510 scans).

    Raises:
        ValueError: Too many halvings, or none.
    """
    if not 1 <= depth <= DEEPEST:
        raise ValueError(f"tables for {depth} halvings: there are keys for 1 to {DEEPEST}.")
    count, device = len(coords), coords.device
    numbers = torch.empty(count, dtype=torch.int64, device=device)
    grid = kernels.blocks(count)
    kernels.launch_numbers(
        grid,
        (coords, numbers, count),
        constants={"ZERO": kernels.ZERO, "EDGE": kernels.EDGE, "B": kernels.ROWS},
    )
    ascending, rows = torch.sort(numbers)
    leads = torch.empty(depth * count, dtype=torch.int32, device=device)
    kernels.launch_leads(
        grid,
        (ascending, leads, count),
        constants={"DEPTH": depth, "BEYOND": kernels.BEYOND, "B": kernels.ROWS},
    )
    ranks = torch.cumsum(leads, 0, dtype=torch.int32)
    read = read_later(ranks[count - 1 :: count])
    yield
    ends = read()
    if ends[0] < 1:
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
        self.coords, self.ascending, self.rows, self.ranks = coords, ascending, rows, ranks
        self.sizes, self.depth, self.device = sizes, len(sizes) - 1, coords.device
        self.sources = sources_of(sizes, ranks=bases)
        self.source, self.keys = self._empty(self.sources.length), self._empty(self.sources.keys)
        self.source[: self.sources.filled].fill_(-1)
        self.numbers, self.last = sent(self.sources.rows, [self.sources.last], device=self.device)
        # Of the coarsest level's cells.
        self.coarsest = torch.empty(sizes[-1], dtype=torch.int64, device=self.device)

    def build(self, room: Callable[[Sizes], Sizes]) -> Steps[Tables]:
        """All tables."""
        self._families()
        self._neighbours()
        listed, programs = self.sources.listed, self.sources.programs
        order = torch.sort(self.keys, stable=True).indices
        lists = PairLists(self.source, self.numbers, tables=listed, programs=programs)
        read = read_later(lists.totals(self.last))
        yield
        ends = read()
        pairs = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        sizes = Sizes(self.sizes, tuple(pairs[: self.depth + 1]))
        layout = layout_of(room(sizes))
        tables = Tables(self._empty(layout.length), layout, sizes)
        tiles, places, cells = sent(layout.tiles, layout.lists, layout.cells, device=self.device)
        lists.write(tables.buffer, places)
        write_tiles(self.source, self.numbers, order, places=tiles, layout=layout, buffer=tables.buffer)
        kernels.launch_cells(
            (*kernels.blocks(4 * self.sizes[0])[:1], self.depth + 1, 1),
            (self.coords, self.source, self.numbers, cells, tables.buffer),
            constants={"B": kernels.ROWS},
        )
        return tables

    def _families(self) -> None:
        """Parents, children and cells of each level, and the keys of both kinds of strided tables."""
        count = len(self.ascending)
        kernels.launch_family(
            (*kernels.blocks(count)[:1], self.depth, 1),
            (
                self.ascending, self.rows, self.ranks, self.source, self.numbers, self.keys, self.coarsest,
                count, self.depth,
            ),
            constants={"ZERO": kernels.ZERO, "SEGMENT": SEGMENT, "B": kernels.ROWS},
        )  # fmt: skip
        kernels.launch_octants(
            (*kernels.blocks(self.sizes[1])[:1], self.depth, 1),
            (self.source, self.numbers, self.keys, self.depth),
            constants={"SEGMENT": SEGMENT, "B": kernels.ROWS},
        )

    def _neighbours(self) -> None:
        """Who is whose neighbour: searched on the coarsest level, known from there downwards."""
        depth, last = self.depth, self.sizes[-1]
        kernels.launch_search(
            kernels.blocks(last),
            (
                self.coarsest, codes_of(self.device), self.source, self.numbers, self.keys, depth,
                last.bit_length() + 1,
            ),
            constants={"Z": kernels.z_bits(depth), "SEGMENT": SEGMENT, "B": kernels.ROWS},
        )  # fmt: skip
        for level in reversed(range(depth)):
            kernels.launch_descend(
                kernels.blocks(self.sizes[level]),
                (self.source, self.numbers, codes_of(self.device), self.keys, level, depth),
                constants={"SEGMENT": SEGMENT, "B": kernels.ROWS},
            )

    def _empty(self, length: int) -> Tensor:
        return torch.empty(length, dtype=torch.int32, device=self.device)

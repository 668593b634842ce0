"""Native backend on a GPU, the lists: from tables of pairs to their pairs by kernel cell, in Triton.

Letters: V voxels (rows), K cells of a kernel, P pairs.

A table (K, V) holds the input row of each output row and kernel cell, -1 where there is none. All tables of a
batch are listed together (`sources`); the host waits for nothing here. In the kernels B is a block of rows.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native.gpu.sources import (
    BEGIN,
    BLOCKS,
    CELLS,
    COUNT,
    FIRST,
    ROWS,
    WIDTH,
    owner,
    sent,
)
from also_selfsup.sparseconv.native.gpu.tiles import CHUNK, Chunks
from also_selfsup.transforms.launch import Launcher
from also_selfsup.transforms.pending import read_later

LANES = 32  # a power of two above the cells of any kernel here


@triton.jit
def _part(source, numbers, own, program, B: tl.constexpr):
    # The rows that a program looks at for one kernel cell, and what the table holds of them.
    blocks = tl.load(own + BLOCKS).to(tl.int32)
    count = tl.load(own + COUNT).to(tl.int32)
    local = program - tl.load(own + FIRST).to(tl.int32)
    row = (local % blocks) * B + tl.arange(0, B)
    table = source + tl.load(own + BEGIN)
    return row, tl.load(table + (local // blocks) * count + row, mask=row < count, other=-1)


@triton.jit(do_not_specialize=["tables"])
def _count_kernel(source, numbers, counts, tables, B: tl.constexpr):
    program = tl.program_id(0)
    own = numbers + owner(numbers, tables, program) * WIDTH
    _, found = _part(source, numbers, own, program, B)
    tl.store(counts + program, tl.sum((found >= 0).to(tl.int32), 0))


@triton.jit
def _chunk_table(own, begin, base, ends, starts, first, CHUNK: tl.constexpr, LANES: tl.constexpr):
    # Where the pairs and the chunks of each kernel cell begin.
    cell = tl.arange(0, LANES)
    cells, blocks = tl.load(own + CELLS).to(tl.int32), tl.load(own + BLOCKS).to(tl.int32)
    known = cell < cells
    place = begin + cell * blocks
    start = tl.load(ends + place - 1, mask=known & (place > 0), other=0) - base
    end = tl.load(ends + place + blocks - 1, mask=known, other=0) - base
    number = tl.where(known, (end - start + CHUNK - 1) // CHUNK, 0)
    total = tl.cumsum(number, 0)
    tl.store(starts + cell, start, mask=known)
    tl.store(first + cell, total - number, mask=known)
    tl.store(starts + cell + 1, end, mask=cell == cells - 1)
    tl.store(first + cell + 1, total, mask=cell == cells - 1)


@triton.jit(do_not_specialize=["tables"])
def _list_kernel(
    source, numbers, places, counts, ends, buffer, tables,
    CHUNK: tl.constexpr, LANES: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    number = owner(numbers, tables, program)
    own, into = numbers + number * WIDTH, places + number * 4
    row, found = _part(source, numbers, own, program, B)
    hit = (found >= 0).to(tl.int32)
    begin = tl.load(own + FIRST).to(tl.int32)
    base = tl.load(ends + begin - 1, mask=begin > 0, other=0)
    place = tl.load(ends + program) - tl.load(counts + program) + tl.cumsum(hit, 0) - hit - base
    tl.store(buffer + tl.load(into) + place, found, mask=hit > 0)
    tl.store(buffer + tl.load(into + 1) + place, row, mask=hit > 0)
    if program == begin:
        starts, first = buffer + tl.load(into + 2), buffer + tl.load(into + 3)
        _chunk_table(own, begin, base, ends, starts, first, CHUNK, LANES)


_launch_counts, _launch_lists = Launcher(_count_kernel), Launcher(_list_kernel)


class PairLists:
    """The pairs of several tables by kernel cell, counted together.

    Args:
        source: int32, the tensor that the tables lie in.
        numbers: Where they lie in it, see `sources`.
        tables: How many of them, from the first one, are to be listed.
        programs: How many blocks of rows they have, over all kernel cells.
    """

    def __init__(self, source: Tensor, numbers: Tensor, *, tables: int, programs: int) -> None:
        self.source, self.numbers, self.tables = source, numbers, tables
        self.grid = (programs, 1, 1)
        self.counts = torch.empty(programs, dtype=torch.int32, device=source.device)
        _launch_counts(self.grid, (source, numbers, self.counts, tables), constants={"B": ROWS})
        self.ends = torch.cumsum(self.counts, 0, dtype=torch.int32)

    def totals(self, last: Tensor) -> Tensor:
        """Pairs of each table and all before it, (tables,) int32, given the last program of each."""
        return self.ends.index_select(0, last)

    def write(self, buffer: Tensor, places: Tensor) -> None:
        """Fill the lists of all tables, which may have room for more pairs.

        Args:
            buffer: int32, the tensor that the lists lie in.
            places: (tables * 4,) int64, where in it inputs, outputs, starts and first of each table begin.
        """
        _launch_lists(
            self.grid,
            (self.source, self.numbers, places, self.counts, self.ends, buffer, self.tables),
            constants={"CHUNK": CHUNK, "LANES": LANES, "B": ROWS},
        )


def chunks_of(table: Tensor) -> Chunks:
    """Pairs of a table (K, V) by kernel cell, in chunks; their number travels to the host meanwhile."""
    cells, count = table.shape
    blocks = triton.cdiv(count, ROWS)
    lengths = [cells * count, cells * count, cells + 1, cells + 1]
    steps = [-(-length // 4) * 4 for length in lengths]  # kernels are compiled for parts at 16 bytes
    begins = [sum(steps[:number]) for number in range(len(steps))]
    numbers, places = sent([(0, 0, count, cells, blocks, 0, 0, 0)], [begins], device=table.device)
    buffer = torch.empty(sum(steps), dtype=torch.int32, device=table.device)
    PairLists(table, numbers, tables=1, programs=cells * blocks).write(buffer, places)
    inputs, outputs, starts, first = (
        buffer[begin : begin + length] for begin, length in zip(begins, lengths, strict=True)
    )
    read = read_later(first[-1:])
    return Chunks(inputs, outputs, starts, first, lambda: read()[0])

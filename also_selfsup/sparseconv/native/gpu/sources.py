"""Native backend on a GPU, the sources: where in one tensor lie the tables of pairs of all levels of a batch.

Letters: V voxels (rows) of a level, K cells of a kernel, L levels.

A launch costs the host more than most of these tables cost the GPU. A kernel therefore works on all of them:
it is given what they lie in and, for each, a row of numbers that says where it begins and how long it is. The
order of the tables: the neighbours on each level, the children of each level but the finest, the parents of
each but the coarsest.
"""

# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from also_selfsup.sparseconv.native.gpu.layout import CUBE, OCTANTS

# Rows of a table whose pairs one program counts or lists.
ROWS = 1024
# A power of two that no number of tables exceeds: numbers of cells have room for 17 halvings.
MOST = tl.constexpr(64)

# What a row of numbers holds of a table: the first program that counts its pairs, where it begins, V, K (0:
# its pairs are not listed), blocks of rows, where its keys begin. Of a level, in the row of its neighbours:
# the rank of its first cell, where its cells begin (0 on the finest, whose cells are the caller's).
FIRST, BEGIN, COUNT, CELLS, BLOCKS, KEYS, RANK, COORDS = map(tl.constexpr, range(8))
WIDTH = tl.constexpr(8)


@triton.jit
def owner(numbers, count, program) -> tl.tensor:
    """Whose a program is: the last of the tables (rows of WIDTH) whose first one is not behind it."""
    table = tl.arange(0, MOST)
    first = tl.load(numbers + table * WIDTH, mask=table < count, other=1 << 62)
    return tl.sum((first <= program).to(tl.int32), 0) - 1


@dataclass(frozen=True)
class Sources:
    """The tables of a batch's levels.

    Attributes:
        rows: Their numbers, a row of WIDTH each.
        length: Of the int32 tensor that they lie in.
        filled: How much of it, from its begin, holds children, which are first filled with -1.
        keys: Of all tables.
        listed: Tables whose pairs are listed, the first ones.
        programs: That count their pairs.
    """

    rows: list[tuple[int, ...]]
    length: int
    filled: int
    keys: int
    listed: int
    programs: int

    @property
    def last(self) -> list[int]:
        """The last program of each listed table."""
        return [row[0] - 1 for row in self.rows[1 : self.listed]] + [self.programs - 1]


def sources_of(sizes: Sequence[int], *, ranks: Sequence[int]) -> Sources:
    """Where the tables of levels of these sizes shall lie.

    Args:
        sizes: V of each level, the finest first.
        ranks: Of the first cell of each level but the finest, among all of these.
    """
    depth = len(sizes) - 1
    same, down, up = list(sizes), list(sizes[1:]), list(sizes[:-1])
    counts = same + down + up
    cells = [CUBE] * len(same) + [OCTANTS] * depth + [0] * depth
    blocks = [-(-count // ROWS) for count in counts]
    firsts = _begins(number * block for number, block in zip(cells, blocks, strict=True))
    keys = _begins(counts)
    children = _begins(OCTANTS * count for count in down)
    neighbours = _begins((CUBE * count for count in same), children[-1])
    parents = _begins(up, neighbours[-1])
    coords = _begins((4 * count for count in down), parents[-1])
    begins = neighbours[:-1] + children[:-1] + parents[:-1]
    unused = [0] * 2 * depth
    columns = (
        firsts[:-1], begins, counts, cells, blocks, keys[:-1],
        [0, *ranks, *unused], [0, *coords[:-1], *unused],
    )  # fmt: skip
    rows = list(zip(*columns, strict=True))
    return Sources(rows, coords[-1], children[-1], keys[-1], len(same) + depth, firsts[-1])


def sent(*parts: Iterable[Iterable[int]], device: torch.device) -> tuple[Tensor, ...]:
    """Rows of numbers, brought to the device in one copy that the host does not wait for; flat, int64.

    Of parts with rows of even length each begins at a multiple of 16 bytes.
    """
    flat = [list(chain.from_iterable(part)) for part in parts]
    # From a list torch takes five times as long as NumPy.
    numbers = torch.from_numpy(np.array(list(chain.from_iterable(flat)), dtype=np.int64))
    if device.type == "cuda":
        numbers = numbers.pin_memory()
    found: tuple[Tensor, ...] = numbers.to(device, non_blocking=True).split([len(part) for part in flat])
    return found


def _begins(lengths: Iterable[int], first: int = 0) -> list[int]:
    """Where each of several pieces side by side begins, and where the last one ends."""
    return list(accumulate(lengths, initial=first))

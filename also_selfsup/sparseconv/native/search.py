"""Native backend, the search: which cells of a level lie at given offsets from one another.

Letters: V voxels (rows) of a level, S columns (runs of offsets along z), Z offsets of a column.

Cells are numbered with z fastest, so those of a column are neighbours among the sorted numbers: one binary
search finds where a column begins, and the next Z numbers say which of its cells are occupied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from also_selfsup.sparseconv.interface import Triple
from also_selfsup.sparseconv.native.levels import Level


def neighbours(level: Level, offsets: list[Triple]) -> tuple[list[Tensor], list[Tensor]]:
    """For each offset the pairs (row at cell + offset, row at cell) that exist, ordered by the latter.

    The host reads once: the number of pairs of each offset.

    Args:
        level: The cells.
        offsets: Cells (x, y, z); those of one (x, y) without a gap in z.

    Returns:
        int32 rows there and int32 rows here, one tensor an offset.
    """
    if not len(level) or not offsets:
        empty = [torch.zeros(0, dtype=torch.int32, device=level.coords.device)] * len(offsets)
        return empty, empty
    tables, searched = [], []
    for (low, length), columns in _runs(offsets).items():
        tables.append(_column_places(level, columns, low=low, length=length))
        searched += [(x, y, low + step) for x, y in columns for step in range(length)]
    places = torch.cat(tables).flatten()
    counts: list[int] = (places.view(len(searched), -1) >= 0).sum(1).tolist()
    hits = _true_places(places >= 0, sum(counts))
    there = places[hits] if level.index.sorted_rows is None else level.index.sorted_rows[places[hits]]
    rows = torch.split(there.int(), counts), torch.split(hits.remainder(len(level)).int(), counts)
    order = [searched.index(offset) for offset in offsets]
    return [rows[0][number] for number in order], [rows[1][number] for number in order]


def _runs(offsets: list[Triple]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Columns (x, y) by their lowest z and number of offsets."""
    columns: dict[tuple[int, int], list[int]] = {}
    for x, y, z in offsets:
        columns.setdefault((x, y), []).append(z)
    runs: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for column, heights in columns.items():
        runs.setdefault((min(heights), len(heights)), []).append(column)
    return runs


def _column_places(level: Level, columns: list[tuple[int, int]], *, low: int, length: int) -> Tensor:
    """(S * Z, V): place of each cell of the columns over each row's cell among the sorted numbers, or -1."""
    step_x, step_y, step_z = level.index.numbering.steps()[1:]
    device = level.index.numbers.device
    shifts = torch.tensor([step_x * x + step_y * y + step_z * low for x, y in columns], device=device)
    targets = level.index.numbers + shifts[:, None]
    beyond = torch.full((length,), torch.iinfo(torch.int64).max, device=device)
    numbers = torch.cat((level.index.sorted_numbers, beyond))
    first = torch.searchsorted(level.index.sorted_numbers, targets)
    heights = torch.arange(length, device=device)[:, None]
    places = torch.full((len(columns), length, len(level)), -1, device=device)
    for step in range(length):
        place = first + step
        height = numbers[place] - targets
        places = torch.where(height[:, None] == heights, place[:, None], places)
    return places.flatten(0, 1)


def _true_places(mask: Tensor, count: int) -> Tensor:
    """Where a flat mask holds, ascending; the caller knows how often, so a GPU need not wait."""
    if mask.is_cuda:
        wanted = torch.arange(1, count + 1, device=mask.device)
        return torch.searchsorted(torch.cumsum(mask, 0), wanted)
    return torch.nonzero(mask)[:, 0]

"""Run by test_native_pyramid.py: tables of all levels in Triton's interpreter; prints what differs."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import json
import sys
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor

from also_selfsup.sparseconv.kernels import centre, kernel_offsets
from also_selfsup.sparseconv.native.gpu import layout, lists, pyramid_triton, sources, tiles
from also_selfsup.sparseconv.native.gpu.layout import Sizes, Tables
from also_selfsup.sparseconv.native.gpu.plans import codes_of
from also_selfsup.sparseconv.native.gpu.pyramid import build_tables
from also_selfsup.sparseconv.native.gpu.tiles import Chunks, Tiles
from also_selfsup.transforms.launch import Launcher
from also_selfsup.transforms.pending import in_turn

Pairs = set[tuple[int, int, int]]
Cells = list[tuple[int, ...]]
DEPTH = 2


def of_tiles(tiles: Tiles) -> tuple[Pairs, list[int]]:
    """(kernel cell, input row, output row) of all pairs, and the output rows in their order."""
    found, rows = set(), [row for row in tiles.rows.tolist() if row >= 0]
    for place, row in enumerate(tiles.rows.tolist()):
        tile = place // tiles.size
        for cell in tiles.cells[tile, : tiles.counts[tile]].tolist():
            if (there := int(tiles.table[cell, place])) >= 0:
                found.add((cell, there, row))
    return found, rows


def of_chunks(chunks: Chunks) -> list[tuple[int, int, int]]:
    """The same of the lists; raises AssertionError if they are not cut into chunks where they should be."""
    starts, inputs, outputs = (part.tolist() for part in (chunks.starts, chunks.inputs, chunks.outputs))
    cut = [-(-(end - start) // lists.CHUNK) for start, end in zip(starts[:-1], starts[1:], strict=True)]
    assert torch.equal(chunks.first, torch.tensor([0, *cut]).cumsum(0).int())
    return [
        (cell, inputs[place], outputs[place])
        for cell in range(len(starts) - 1)
        for place in range(starts[cell], starts[cell + 1])
    ]


def brute_force(here: Cells, there: Cells, *, size: int, stride: int) -> Pairs:
    """Pairs of output cells `here` and input cells `there`, by looking each neighbour up."""
    rows = {cell: row for row, cell in enumerate(there)}
    middle = centre((size,) * 3) if stride == 1 else (0, 0, 0)
    found = set()
    for out, (scan, *cell) in enumerate(here):
        for number, offset in enumerate(kernel_offsets((size,) * 3)):
            other = [stride * c + o - m for c, o, m in zip(cell, offset, middle, strict=True)]
            if (row := rows.get((scan, *other))) is not None:
                found.add((number, row, out))
    return found


def listed_in_order(pairs: Pairs) -> list[tuple[int, int, int]]:
    """By kernel cell, then by output row."""
    return sorted(pairs, key=lambda pair: (pair[0], pair[2]))


def rows_in_order(pairs: Pairs, count: int, *, codes: list[int]) -> list[int]:
    """Output rows by the Gray number of the codes of their kernel cells."""
    keys = [0] * count
    for cell, _, row in pairs:
        keys[row] |= codes[cell]
    for shift in (1, 2, 4, 8, 16):
        keys = [key ^ (key >> shift) for key in keys]
    return sorted(range(count), key=keys.__getitem__)


def interleaved(cell: tuple[int, ...]) -> tuple[int, int]:
    """The scan, and the bits of x, y and z in turn."""
    scan, *space = (value + 2**17 for value in cell)
    bits = (
        (value >> bit & 1) << 3 * bit + place
        for place, value in enumerate(reversed(space))
        for bit in range(18)
    )
    return scan, sum(bits)


def differences(tables: Tables, coords: Tensor) -> list[str]:
    """What is not as brute force finds it, or not in that order."""
    levels: list[Cells] = [[tuple(cell) for cell in coords.tolist()]]
    wrong = []
    for level in range(1, DEPTH + 1):
        count = tables.sizes.rows[level]
        levels.append([tuple(cell) for cell in tables.part(f"coords {level}")[:count].tolist()])
        parents = {(scan, x // 2, y // 2, z // 2) for scan, x, y, z in levels[level - 1]}
        wrong += [f"cells {level}"] * (sorted(parents, key=interleaved) != levels[level])
    for level, cells in enumerate(levels):
        expected = brute_force(cells, cells, size=3, stride=1)
        order = rows_in_order(expected, len(cells), codes=codes_of(coords.device).tolist())
        same = of_chunks(tables.chunks(f"same {level}")) == listed_in_order(expected)
        same &= of_tiles(tables.tiles(f"same {level}")) == (expected, order)
        same &= len(expected) == tables.sizes.pairs[level]
        same &= tables.part(f"live {level}").item() == len(cells)
        same &= tables.part(f"coords {level}")[: len(cells)].tolist() == [list(cell) for cell in cells]
        wrong += [f"same {level}"] * (not same)
    for level, (fine, coarse) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        expected = brute_force(coarse, fine, size=2, stride=2)
        order = rows_in_order(expected, len(coarse), codes=[1 << cell for cell in range(8)])
        octants = {row: cell for cell, row, _ in expected}
        back = {(cell, out, row) for cell, row, out in expected}
        same = of_tiles(tables.tiles(f"down {level}")) == (expected, order)
        same &= of_tiles(tables.tiles(f"up {level}")) == (
            back,
            sorted(octants, key=lambda r: (octants[r], r)),
        )
        same &= of_chunks(tables.chunks(f"down {level}")) == listed_in_order(expected)
        wrong += [f"strided {level}"] * (not same)
    return wrong


def compared(coords: Tensor, room: Callable[[Sizes], Sizes]) -> tuple[list[str], int]:
    """What differs, and launches."""
    launch, launches = Launcher.__call__, []

    def counting(launcher: Launcher, *arguments, **named) -> None:  # noqa: ANN002, ANN003
        launches.append(launcher)
        launch(launcher, *arguments, **named)

    with patch.object(Launcher, "__call__", counting):
        tables = in_turn(build_tables(coords, depth=DEPTH, room=room))
    return differences(tables, coords), len(launches)


def lists_of_one_table() -> bool:
    """Whether the lists of a table by itself are its pairs."""
    table = torch.randint(-3, 9, (5, 70)).clamp(-1).int()
    cells, outputs = torch.nonzero(table >= 0, as_tuple=True)
    pairs = zip(cells.tolist(), table[cells, outputs].tolist(), outputs.tolist(), strict=True)
    chunks = lists.chunks_of(table)
    return of_chunks(chunks) == list(pairs) and chunks.total() == int(chunks.first[-1])


def main() -> None:
    """Compare; JSON."""
    torch.manual_seed(0)
    grid = torch.cat([torch.randint(0, 3, (60, 1)), torch.randint(-5, 6, (60, 3))], dim=1)
    coords = torch.unique(grid, dim=0)
    coords = coords[torch.randperm(len(coords))].int().contiguous()
    larger = Sizes((), ()).grown(Sizes((len(coords),) * 3, (900,) * 3), slack=1.2, step=32)
    found = {"exact": compared(coords, lambda sizes: sizes), "larger": compared(coords, lambda _: larger)}
    # Several blocks, chunks and tiles of each table, and tiles of either size.
    layout.layout_of.cache_clear()
    with (
        patch.multiple(tiles, FEW_ROWS=50, LARGE_TILE=16, SMALL_TILE=8),
        patch.multiple(lists, ROWS=16, CHUNK=8),
        patch.object(sources, "ROWS", 16),
        patch.object(pyramid_triton, "ROWS", 32),
    ):
        found["blocks"] = compared(coords, lambda sizes: sizes)
        one = [lists_of_one_table()]
    far = coords.clone()
    far[3, 1] = 2**17
    beyond = in_turn(build_tables(far, depth=DEPTH, room=lambda sizes: sizes)) is None
    json.dump({"tables": found, "beyond": beyond, "one": all([*one, lists_of_one_table()])}, sys.stdout)


if __name__ == "__main__":
    main()

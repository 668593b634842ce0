"""The Triton kernels, run one program after another by Triton's interpreter on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from also_selfsup.sparseconv import get_backend
from also_selfsup.sparseconv.native.gpu.tiles import CHUNK, Work, make_chunks, make_tiles
from also_selfsup.sparseconv.native.maps import submanifold_map


def test_kernels_equal_float64_in_the_interpreter(answers_of: Callable[..., Any]) -> None:
    found = answers_of(Path(__file__).with_name("triton_on_the_cpu.py"))
    assert found["tiled"] == len(found["errors"]) - 1
    for name, error in found["errors"].items():
        assert error < 2e-3, f"{name}: {error}"  # float16 in and between the layers
    # These run in float32.
    for name, error in found["fused"].items():
        assert error < 1e-5, f"{name}: {error}"


@pytest.mark.parametrize("rows", [1, 63, 3000])
def test_tiles_hold_every_pair_once_and_skip_only_absent_cells(rows: int) -> None:
    torch.manual_seed(rows)
    coords = torch.unique(torch.randint(0, 16, (rows, 4)) * torch.tensor([0, 1, 1, 1]), dim=0).int()
    count = len(coords)
    x = get_backend("native").voxels(torch.zeros(count, 1), coords)
    work = Work.of(submanifold_map(x.pyramid.levels[0], (3, 3, 3)), cell_count=27)
    tiles = make_tiles(work, out_count=count)

    numbers = {tuple(cell): row for row, cell in enumerate(coords.tolist())}
    expected = set()
    for row, (scan, *cell) in enumerate(coords.tolist()):
        for number in range(27):
            z, y, x_ = number // 9 - 1, number // 3 % 3 - 1, number % 3 - 1
            there = numbers.get((scan, cell[0] + x_, cell[1] + y, cell[2] + z))
            if there is not None:
                expected.add((number, there, row))
    found = set()
    for place, row in enumerate(tiles.rows.tolist()):
        tile = place // tiles.size
        for number in tiles.cells[tile, : tiles.counts[tile]].tolist():
            there = int(tiles.table[number, place])
            if there >= 0:
                found.add((number, there, row))
    assert found == expected
    assert sorted(row for row in tiles.rows.tolist() if row >= 0) == list(range(count))


def test_chunks_cut_each_cell_into_its_own_pairs() -> None:
    counts = [0, CHUNK, 3, 2 * CHUNK + 1]
    total = sum(counts)
    work = Work(torch.arange(total).int(), torch.arange(total).int(), [2, 0, 3, 1], counts, 5)
    chunks = make_chunks(work)
    assert chunks.total() == 5
    assert chunks.first.tolist() == [0, 1, 4, 4, 5, 5]
    assert chunks.starts.tolist() == [0, CHUNK, 3 * CHUNK + 1, 3 * CHUNK + 1, 3 * CHUNK + 4, 3 * CHUNK + 4]
    cells = torch.repeat_interleave(torch.tensor(work.cells), torch.tensor(counts))
    of_cell = [torch.arange(total)[cells == cell].tolist() for cell in range(5)]
    assert chunks.inputs.tolist() == chunks.outputs.tolist() == [pair for pairs in of_cell for pair in pairs]

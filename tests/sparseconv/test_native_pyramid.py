"""What a batch's layers share, built before the network runs: in Triton's interpreter, beside brute force."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from also_selfsup.data import NuScenes
from also_selfsup.data.simulator import simulate
from also_selfsup.sparseconv import get_backend
from also_selfsup.sparseconv.native.gpu.layout import Sizes, Tables, layout_of
from also_selfsup.sparseconv.native.gpu.plans import codes_of
from also_selfsup.sparseconv.native.gpu.tiles import Work
from also_selfsup.sparseconv.native.maps import submanifold_map
from also_selfsup.transforms.pending import in_turn


def arithmetic(present: Tensor, codes: Tensor, *, size: int = 64) -> float:
    """Products of tiles over those of the pairs: rows (V, 27) sorted by the Gray number of their codes."""
    key = torch.zeros(len(present), dtype=torch.int64)
    for cell, code in enumerate(codes.tolist()):
        key |= present[:, cell] * code
    for shift in (1, 2, 4, 8, 16):
        key ^= key >> shift
    tiles = present[torch.argsort(key)].split(size)
    return sum(int(tile.any(0).sum()) * size for tile in tiles) / int(present.sum())


def neighbours(coords: Tensor) -> Tensor:
    """(V, 27) whether each cell has a neighbour at each kernel cell."""
    level = get_backend("native").voxels(torch.zeros(len(coords), 1), coords).pyramid.levels[0]
    work = Work.of(submanifold_map(level, (3, 3, 3)), cell_count=27)
    cells = torch.repeat_interleave(torch.tensor(work.cells), torch.tensor(work.counts))
    present = torch.zeros(len(coords), 27, dtype=torch.bool)
    present[work.outputs.long(), cells] = True
    return present


def test_keys_have_27_bits_and_tell_which_planes_are_empty() -> None:
    codes = codes_of(torch.device("cpu"))
    assert codes.dtype == torch.int32 and codes.shape == (27,)
    assert 0 <= int(codes.min()) and int(codes.max()) < 1 << 27
    cells = torch.arange(27)
    places = (cells // 9, cells % 3, cells // 3 % 3)  # z, x, y
    for bit, (axis, side) in enumerate([(axis, side) for axis in range(3) for side in (0, 2)]):
        assert torch.equal((codes >> 26 - bit & 1).bool(), places[axis] == side)


def test_keys_save_arithmetic_beside_a_bit_for_each_cell(tmp_path: Path) -> None:
    root = simulate(tmp_path / "street", scenes={"train": 1}, frames_per_scene=2, seed=3)
    scans = NuScenes(root, "train")
    cells = [torch.from_numpy(scans[number].pos).mul(2.5).floor().int() for number in range(len(scans))]
    coords = torch.cat([functional.pad(cell, (1, 0), value=scan) for scan, cell in enumerate(cells)])
    present = neighbours(torch.unique(coords, dim=0))
    order = present.sum(0).argsort(descending=True)
    single = torch.zeros(27, dtype=torch.int64).scatter_(0, order, 1 << torch.arange(27))
    assert arithmetic(present, codes_of(torch.device("cpu"))) < 0.95 * arithmetic(present, single)


def test_tables_equal_brute_force_and_take_few_launches(answers_of: Callable[..., Any]) -> None:
    found = answers_of(Path(__file__).with_name("tables_on_the_cpu.py"))
    # One launch of each kernel but one, which goes down level by level: two here.
    assert found["tables"] == {room: [[], 9 + 2] for room in ("exact", "larger", "blocks")}
    assert found["beyond"] and found["one"]


def test_a_network_on_filled_up_tables_equals_the_same_without(answers_of: Callable[..., Any]) -> None:
    found = answers_of(Path(__file__).with_name("pyramid_on_the_cpu.py"))
    for checkpointed in (False, True):  # whether blocks are computed again in the backward pass
        errors = found[f"errors {checkpointed}"]
        assert len(errors) > 40
        for name, error in errors.items():
            assert error < 1e-4, f"{name}: {error}"  # float32 beside float64
    assert found["points"] < 1e-6


def test_room_grows_by_whole_steps_and_never_shrinks() -> None:
    small, large = Sizes((100, 40), (700, 200)), Sizes((150, 30), (600, 300))
    room = Sizes((), ()).grown(small, slack=1.1, step=16)
    assert room == Sizes((112, 48), (784, 224))
    assert room.holds(small) and not room.holds(large)
    grown = room.grown(large, slack=1.1, step=16)
    assert grown == Sizes((176, 48), (784, 336)) and grown.holds(small) and grown.holds(large)


def test_parts_of_the_buffer_are_aligned_and_apart() -> None:
    layout = layout_of(Sizes((130, 70, 33), (501, 203, 99)))
    tables = Tables(torch.arange(layout.length, dtype=torch.int32), layout, layout.sizes)
    end = 0
    for name, shape in layout.shapes.items():
        part = tables.part(name)
        assert part.shape == shape
        begin, last = int(part.flatten()[0]), int(part.flatten()[-1])
        assert begin % 4 == 0 and begin >= end  # 16 bytes
        assert last == begin + part.numel() - 1
        end = last + 1
    assert end <= layout.length


@pytest.mark.parametrize("depth", [0, 6])
def test_more_halvings_than_there_are_keys_for_are_refused(depth: int) -> None:
    pytest.importorskip("triton")
    from also_selfsup.sparseconv.native.gpu.pyramid import build_tables

    coords = torch.zeros(1, 4, dtype=torch.int32)
    with pytest.raises(ValueError, match=f"{depth} halvings"):
        in_turn(build_tables(coords, depth=depth, room=lambda sizes: sizes))

"""What a batch's layers share, built before the network runs: in Triton's interpreter, beside brute force."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from also_selfsup.sparseconv.native_layout import Sizes, Tables, layout_of


def test_tables_equal_brute_force_and_filling_changes_nothing(answers_of: Callable[..., Any]) -> None:
    found = answers_of(Path(__file__).with_name("pyramid_on_the_cpu.py"))
    assert found["wrong"] == []
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

"""The benchmark of costs: its pairs counted one by one, and what it says where memory does not suffice."""

import sys
import weakref
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console

from also_selfsup.settings.run import load

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    """The benchmark of this name."""
    sys.path.insert(0, str(FOLDER))
    try:
        import cost_gpu as module
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.fixture(scope="module")
def measuring(cost: ModuleType) -> ModuleType:
    """Its measurements."""
    return sys.modules["cost_measuring"]


@pytest.fixture
def clock(measuring: ModuleType) -> Any:
    """Of a single step."""
    return measuring.Clock(torch.device("cpu"), steps=1, warm_up=0)


def no_memory(*args: Any, **words: Any) -> Any:
    """In place of what needs more memory than there is."""
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def fields_of(count: int) -> dict[str, torch.Tensor]:
    """Random cells of two scans."""
    draw = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 420, (count, 4), generator=draw) % torch.tensor([2, 7, 7, 7])
    cells = torch.unique(cells, dim=0)
    return {
        "voxel_coords": cells[:, 1:].int() - 3,
        "voxel_coords_batch": cells[:, 0],
        "voxel_x": torch.rand(len(cells), 1, generator=draw),
        "voxel_to_pc_id": torch.arange(len(cells)),
    }


def test_pairs_are_those_of_cells_and_their_neighbours(measuring: ModuleType) -> None:
    fields = fields_of(300)
    cloud, pairs = measuring.cloud_of(fields)
    cells = {tuple(cell) for cell in cloud.coords.tolist()}
    steps = list(product((-1, 0, 1), repeat=3))
    truth = sum((b, x + i, y + j, z + k) in cells for b, x, y, z in cells for i, j, k in steps)
    assert len(cells) == len(fields["voxel_x"]) < pairs == truth


def test_what_did_not_fit_is_not_held(measuring: ModuleType) -> None:
    held = []

    def work() -> None:
        large = torch.zeros(3)
        held.append(weakref.ref(large))
        no_memory()

    assert measuring.fitting(lambda: 3) == 3 and measuring.fitting(work) is None
    assert held[0]() is None


def test_other_errors_are_raised(measuring: ModuleType) -> None:
    def work() -> None:
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        measuring.fitting(work)


def test_a_framework_without_memory_is_a_row_that_says_so(
    cost: ModuleType, measuring: ModuleType, clock: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    training_of = measuring._training_of

    def small(settings: Any, *args: Any, **words: Any) -> Any:
        if settings.network.framework == "spconv":
            no_memory()
        return training_of(settings, *args, **words)

    monkeypatch.setattr(measuring, "_training_of", small)
    settings = load("nuscenes", ["cfg.network.backbone=MinkUNet18", "cfg.network.latent_size=16"])
    frameworks = ["native", "spconv"]
    costs = measuring.network_costs(settings, fields_of(60), frameworks=frameworks, clock=clock)
    assert costs["native"].ms > 0 and costs["spconv"].ms is None
    known = {"sweep": "scans", "scans": 2, "grid_size": 0.1, "voxels": 60}
    rows = [{**known, "framework": name, **cost.network_figures(c)} for name, c in costs.items()]
    assert [row["note"] for row in rows] == ["", "out of memory"]
    console = Console(width=120, record=True)
    console.print(cost.network_table(rows, "costs"))
    cost.plot(tmp_path / "costs.png", rows)
    assert "spconv, fp16 │ out of memory" in console.export_text()
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")


def test_a_layer_without_memory_is_a_row_that_says_so(
    cost: ModuleType, measuring: ModuleType, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud, pairs = measuring.cloud_of(fields_of(60))
    rows = [cost.layer_figures(measuring.layer_cost(cloud, pairs, channels=16, clock=clock))]
    monkeypatch.setattr(measuring, "_layer_medians", no_memory)
    rows += [cost.layer_figures(measuring.layer_cost(cloud, pairs, channels=32, clock=clock))]
    assert [(row["channels"], row["note"]) for row in rows] == [(16, ""), (32, "out of memory")]
    console = Console(width=120, record=True)
    console.print(cost.layer_table(rows, "a layer"))
    assert "out of memory" in console.export_text()

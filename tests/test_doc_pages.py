"""The pages: examples run, tables are those of the code, and what is named and linked exists."""

import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from also_selfsup.data import DATASETS
from also_selfsup.data.kitti360 import listed_files, windows
from also_selfsup.data.labels import NUSCENES, SEMANTICKITTI, SEMANTICPOSS
from also_selfsup.data.nuscenes import official_scenes
from also_selfsup.data.scan import NO_OTHER_FRAMES, collate
from also_selfsup.data.semantickitti import SEQUENCES
from also_selfsup.data.simulator import SENSORS, generate, simulate
from also_selfsup.data.simulator.__main__ import parser
from also_selfsup.losses import occupancy
from also_selfsup.networks import BACKBONES, build_backbone
from also_selfsup.settings.files import flat_values
from also_selfsup.settings.limits import group_at
from also_selfsup.settings.run import load, recipes, to_settings
from also_selfsup.settings.schema import Settings
from also_selfsup.sparseconv import BACKENDS
from also_selfsup.training.building import segmentation_transforms
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.transforms.randomness import step_generator

ROOT = Path(__file__).resolve().parents[1]
DOC = ROOT / "doc"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOC.glob("*.md"))]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
EXAMPLE = "parking_lot"  # of doc/adding.md: its file and its recipe are only on that page


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    text = (DOC / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def example() -> Callable[[str], Any]:
    """Function: what a python block of doc/adding.md defines under a name."""
    spaces: dict[str, Any] = {}
    for number, block in enumerate(blocks("adding.md", "python")):
        space: dict[str, Any] = {"__name__": f"example_{number}"}
        exec(compile(block, f"doc/adding.md, block {number}", "exec"), space)
        spaces |= {name: value for name, value in space.items() if not name.startswith("_")}
    return spaces.__getitem__


@pytest.fixture
def parking_lot(example: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's data set, simulated in the example's layout, and both on their lists."""
    monkeypatch.setitem(generate.LAYOUTS, "parking_lot", example("ParkingLotWriter")())
    monkeypatch.setitem(DATASETS, "ParkingLot", example("ParkingLot"))
    scenes = {"train": 2, "val": 1}
    return simulate(
        tmp_path / "lot", layout="parking_lot", scenes=scenes, frames_per_scene=2, azimuth_steps=60
    )


def test_example_of_a_data_set_and_a_layout(parking_lot: Path) -> None:
    train = DATASETS["ParkingLot"](parking_lot, "train", labels=True, skip_ratio=2)
    assert [train.name(index) for index in range(len(train))] == [
        "train/scene_000_000000.bin",
        "train/scene_001_000000.bin",
    ]
    scan = train[0]
    assert len(scan.pos) > 500 and scan.labels is not None
    assert {1, 2} <= set(np.unique(scan.labels)) <= {0, 1, 2}
    settings = to_settings(OmegaConf.create(blocks("adding.md", "yaml")[0]))
    assert settings.dataset_name in DATASETS and settings.name == "parking_lot"


def test_example_of_a_backbone_and_a_backend(
    example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "OneLevel", example("OneLevel"))
    monkeypatch.setitem(BACKENDS, "stepwise", example("StepwiseBackend"))
    cells = torch.unique(torch.randint(0, 9, (80, 3)), dim=0).int()
    batch = {
        "voxel_coords": cells,
        "voxel_coords_batch": torch.zeros(len(cells), dtype=torch.int64),
        "voxel_x": torch.randn(len(cells), 4),
        "voxel_to_pc_id": torch.arange(len(cells)).repeat(2),
    }
    ours = build_backbone("OneLevel", in_channels=4, out_channels=5, framework="stepwise")
    native = build_backbone("OneLevel", in_channels=4, out_channels=5, framework="native")
    native.load_state_dict(ours.state_dict())
    assert ours.backend.name == "stepwise"
    latents = ours(batch)["latents"]
    assert latents.shape == (2 * len(cells), 5)
    torch.testing.assert_close(latents, native(batch)["latents"])


def test_example_of_a_loss(example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(occupancy.OCCUPANCY_LOSSES, "confidence", example("confidence"))
    logits = torch.tensor([1.0, -3.0])
    found = occupancy.weighted_losses({"occupancy_logits": logits}, {"confidence": 0.5})
    assert float(found["confidence"]) == 5.0 and float(found["total"]) == 2.5
    assert float(example("confidence")(logits[:0])) == 0.0


def table_of_fields() -> dict[str, tuple[str, str]]:
    """Field names of doc/data.md with their dimensions and type."""
    rows = re.findall(r"^\| (`.+`) \| \((.+?)\) (\w+) \|", (DOC / "data.md").read_text("utf-8"), re.MULTILINE)
    return {name: (shape, kind) for names, shape, kind in rows for name in re.findall(r"`(\w+)`", names)}


def test_fields_of_a_batch_are_those_of_the_page(tmp_path: Path) -> None:
    simulate(tmp_path, scenes={"val": 1}, frames_per_scene=2, azimuth_steps=60)
    batch = collate(list(DATASETS["NuScenes"](tmp_path, "val", labels=True)))
    settings = load("nuscenes", ["cfg.network.backbone=SPVCNN0p5", "cfg.transforms.grid_size=0.3"])
    module = PretrainingModule(settings)
    generator = step_generator(seed=0, epoch=0, rank=0, step=0, device="cpu")
    fields = module.predict(batch, generator, training=True)
    documented = table_of_fields()
    others = {name for name in documented if name.startswith("query_")}
    assert set(fields) - {"names", "skipped", "prepared"} == set(documented) - others
    scan = replace(DATASETS["NuScenes"](tmp_path, "val")[0], others=NO_OTHER_FRAMES)
    fields |= {name: values for name, values in collate([scan]).items() if name in others}
    sizes = {
        "B": 2,
        "N": len(fields["pos"]),
        "Q": len(fields["occupancies"]),
        "V": len(fields["voxel_x"]),
        "P": len(fields["pair_query"]),
        "C": 1,
        "L": 128,
        "M": 0,
    }
    for name, (shape, kind) in documented.items():
        parts = [part for part in shape.replace(" ", "").split(",") if part]
        expected = tuple(sizes[part] if part in sizes else int(part) for part in parts)
        assert (tuple(fields[name].shape), fields[name].dtype) == (expected, getattr(torch, kind)), name
    whole = segmentation_transforms(settings)(batch, generator, training=False, keep_original=True)
    text = (DOC / "data.md").read_text("utf-8")
    assert {f"`{name}`" for name in set(whole) - set(fields)} <= set(re.findall(r"`original_\w+`", text))
    assert {"names", "skipped"} <= set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))


def rows_under(title: str, columns: int) -> list[list[str]]:
    """Cells of the tables in the part of doc/datasets.md under a title of the second level."""
    parts = re.split(r"^## (.+)$", (DOC / "datasets.md").read_text("utf-8"), flags=re.MULTILINE)
    part = parts[parts.index(title) + 1]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if "|" in line
    ]
    return [row for row in rows if len(row) == columns and not set(row[0]) <= {"-"}]


@pytest.mark.parametrize("name", ["nuScenes", "SemanticKITTI", "SemanticPOSS"])
def test_labels_are_those_of_the_page(name: str) -> None:
    labels = {"nuScenes": NUSCENES, "SemanticKITTI": SEMANTICKITTI, "SemanticPOSS": SEMANTICPOSS}[name]
    rows = [row for row in rows_under(name, 3) if row[0].isdecimal()]
    assert [row[1] for row in rows] == list(labels.names[1:])
    found = {int(raw): int(row[0]) for row in rows for raw in row[2].split(",")}
    assert found == {raw: label for raw, label in labels.to_training.items() if label != 0}


def test_splits_are_those_of_the_page() -> None:
    counts = {split: len(scenes) for split, scenes in official_scenes().items()}
    found = {}
    for names, numbers, _ in (row for row in rows_under("nuScenes", 3) if row[0].startswith("`")):
        found |= dict(zip(re.findall(r"`(\w+)`", names), map(int, numbers.split(",")), strict=True))
    assert found == counts and set(found) == set(DATASETS["NuScenes"].splits)
    kitti = dict(row for row in rows_under("SemanticKITTI", 2) if row[0].startswith("`"))
    assert {name.strip("`") for name in kitti} == set(SEQUENCES)
    assert kitti["`train`"].split(", ") == list(SEQUENCES["train"])


@pytest.mark.parametrize(
    ("title", "name", "columns"),
    [
        ("KITTI 3D object detection", "KITTI3D", 3),
        ("KITTI-360", "KITTI360", 4),
        ("ONCE", "ONCE", 2),
        ("SemanticPOSS", "SemanticPOSS", 2),
        ("Livox simu-dataset", "LivoxSimu", 2),
    ],
)
def test_splits_of_a_data_set_are_those_of_its_part(title: str, name: str, columns: int) -> None:
    rows = [row for row in rows_under(title, columns) if row[0].startswith("`")]
    found = {split for row in rows for split in re.findall(r"`(\w+)`", row[0])}
    assert found == set(DATASETS[name].splits)
    counts = {row[0].strip("`"): [int(cell) for cell in row[1:]] for row in rows if columns == 4}
    for split, numbers in counts.items():
        files = listed_files(split)
        assert numbers == [len(files), len(set(files)), len(windows(split))]


def test_options_of_the_simulator_are_those_of_the_page() -> None:
    rows = [row for row in rows_under("Simulated streets", 3) if row[0].startswith("`--")]
    found = {action.option_strings[0]: action for action in parser()._actions}
    assert {row[0].strip("`") for row in rows} == set(found) - {"-h", "--overwrite"}
    for option, _, default in rows:
        value = found[option.strip("`")].default
        assert default.strip("`") in {str(value), "", "the layout's", "the sensor's", "v1.0-trainval"}
    text = (DOC / "datasets.md").read_text("utf-8")
    assert all(f"`{name}`" in text for name in (*SENSORS, *generate.LAYOUTS))


@EACH_PAGE
def test_settings_recipes_and_extras_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    keys = {f"cfg.{key}" for key in flat_values(Settings())}
    for key in re.findall(r"\bcfg(?:\.[a-z_]+)+", text):
        assert key in keys or group_at(key) is not None, key
    assert set(re.findall(r"\bcfg=([a-z_0-9]+)", text)) <= {*recipes(), EXAMPLE}
    extras = re.findall(r'^    "([a-z]+)": \[', (ROOT / "setup.py").read_text("utf-8"), re.MULTILINE)
    assert {name for found in re.findall(r"\.\[([a-z,]+)\]", text) for name in found.split(",")} <= set(
        extras
    )


@EACH_PAGE
def test_links_pictures_and_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target
    for path in re.findall(r"`((?:also_selfsup|configs|doc|tests)/[\w./]+\.(?:py|yaml|md|json))`", text):
        assert (ROOT / path).is_file() or Path(path).stem == EXAMPLE, path


def test_configuration_page_is_the_schema() -> None:
    written = runpy.run_path(str(ROOT / "doc" / "make_configuration.py"))["page"]()
    page = (ROOT / "doc" / "configuration.md").read_text("utf-8")
    assert page == written, "run: python doc/make_configuration.py"

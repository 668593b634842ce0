"""The script on checkpoints as training writes them, of untrained networks: what it reads and writes."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from also_selfsup import visualize
from also_selfsup.checkpoints.convert import convert
from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.readers.ply import read_ply
from also_selfsup.data.simulator import simulate
from also_selfsup.reporting.subject import settings_of
from also_selfsup.settings.files import save_settings
from also_selfsup.settings.names import UserError
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.segmentation import SegmentationModule
from also_selfsup.training.task import TaskModule

Look = Callable[..., tuple[Path, str]]
PNG = b"\x89PNG"
SMALL = "cfg.manifold_points=400 cfg.network.latent_size=8 cfg.downstream.val_split=val".split()
BOX = ["cfg.network.voxel_size=[0.25,0.125,0.1]", "cfg.network.extent=[0.0,-2.0,-3.0,8.0,2.0,1.0]"]
SECOND = ["cfg.network.backbone=SECOND", "cfg.network.column_search=true", "cfg.network.radius=1.2", *BOX]
REGION = "--region -6 -6 -3 6 6 2 --cell 0.5 --device cpu".split()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated scans of the split val."""
    root = tmp_path_factory.mktemp("street")
    return simulate(root, scenes={"val": 1}, frames_per_scene=2, azimuth_steps=96, seed=3)


@pytest.fixture
def settings(street: Path) -> Settings:
    return load("demo", [*SMALL, f"cfg.dataset_root={street}"])


def save_run(folder: Path, settings: Settings, *, segmentation: bool = False) -> Path:
    """A checkpoint as training writes it, without having trained, beside its settings."""
    module: TaskModule
    if segmentation:
        module = SegmentationModule(settings, NuScenes.classes().names)
    else:
        module = PretrainingModule(settings)
        module.decoder.fc_in.weight.data[:, -3:] *= 20  # so that space is free here and occupied there
        module.decoder.fc_out.bias.data[:] = 0
    folder.mkdir(parents=True)
    save_settings(settings, folder / "config.yaml")
    content = {"state_dict": module.state_dict(), "settings": asdict(settings), "epoch": 1, "global_step": 2}
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Function: run the script; its folder and what it says."""

    def run(ckpt: Path, *words: str) -> tuple[Path, str]:
        said = io.StringIO()
        options = visualize.parse(["--ckpt", str(ckpt), "--out", str(tmp_path / "out"), *words])
        visualize.visualize(options, Console(file=said, width=300))
        return tmp_path / "out", said.getvalue()

    return run


def page_of(folder: Path) -> dict[str, Any]:
    """Data of the page."""
    html = (folder / "scene.html").read_text("utf-8")
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def counts(folder: Path) -> dict[str, int]:
    return {layer["name"]: layer["count"] for layer in page_of(folder)["layers"]}


def test_space_around_a_frame(tmp_path: Path, settings: Settings, look: Look, street: Path) -> None:
    ckpt = save_run(tmp_path / "run", settings)
    folder, said = look(ckpt, *REGION, "--frame", "1", "--colour", "latents")
    files = ["scene.html", "occupancy.png", "surface.png", "surface.ply"]
    assert sorted(files) == sorted(file.name for file in folder.iterdir())
    assert said.splitlines()[-1] == f"Wrote {', '.join(files)} into {folder}. Open: {folder / 'scene.html'}"
    assert all((folder / name).read_bytes().startswith(PNG) for name in files[1:3])
    table = read_ply(folder / "surface.ply")
    found, pos = counts(folder), NuScenes(street, "val")[1].pos
    assert found["predicted surface"] == len(table.columns[0]) > 20
    # Every vertex lies within reach of a point: the radius of the recipe and half a cell.
    vertices = np.stack(table.columns[:3], 1)
    away = np.linalg.norm(vertices[:, None] - pos[None], axis=2).min(1)
    assert away.max() < settings.network.radius + 0.5
    inside = ((pos >= (-6, -6, -3)) & (pos < (6, 6, 2))).all(1)
    assert found["lidar points"] == inside.sum() and len(found) == 6
    assert next(iter(page_of(folder)["legends"])) == "latents"


def test_a_file_and_a_frame_give_the_same(
    tmp_path: Path, settings: Settings, look: Look, street: Path
) -> None:
    ckpt = save_run(tmp_path / "run", settings)
    dataset = NuScenes(street, "val")
    folder, _ = look(ckpt, *REGION, "--frame", dataset.name(1))
    by_name = (folder / "surface.ply").read_bytes()
    look(ckpt, *REGION, "--scan", str(street / dataset.name(1)))
    assert (folder / "surface.ply").read_bytes() == by_name
    assert len(by_name) > 1000


def test_a_birds_eye_view(tmp_path: Path, settings: Settings, look: Look, street: Path) -> None:
    second = load("demo", [*SMALL, *SECOND, f"cfg.dataset_root={street}"])
    folder, _ = look(save_run(tmp_path / "run", second), "--cell", "0.5", "--device", "cpu")
    found = page_of(folder)
    known = next(layer for layer in found["layers"] if layer["name"].startswith("slice at z"))
    # The box it sees is asked about, all of it: a cell of the view is near every place in it.
    low, high = np.array(known["low"]), np.array(known["low"]) + known["span"]
    assert known["count"] == 32 * 16
    assert np.abs(low[:2] - (0.125, -1.875)).max() < 1e-3 and np.abs(high[:2] - (7.875, 1.875)).max() < 1e-3


def test_a_region_without_points(tmp_path: Path, settings: Settings, look: Look) -> None:
    region = "--region 60 60 10 62 62 12 --device cpu".split()
    folder, said = look(save_run(tmp_path / "run", settings), *region)
    assert "No surface: nowhere in the region" in said
    assert set(counts(folder).values()) == {0} and (folder / "surface.png").is_file()


def test_classes_of_a_frame(tmp_path: Path, settings: Settings, look: Look, street: Path) -> None:
    ckpt = save_run(tmp_path / "run", settings, segmentation=True)
    folder, said = look(ckpt, "--device", "cpu")
    assert said.splitlines()[-1].startswith(f"Wrote scene.html, classes.png into {folder}. Open: ")
    assert (folder / "classes.png").read_bytes().startswith(PNG)
    scan = NuScenes(street, "val", labels=True, min_range=0)[0]
    assert scan.labels is not None
    found = counts(folder)
    assert sum(found.values()) == len(scan.pos)
    html = (folder / "scene.html").read_text("utf-8")
    labelled = int((scan.labels > 0).sum())
    share = 100 * (1 - found["wrong"] / labelled)
    assert f"{share:.1f} % of {labelled:,} labelled points are right" in html
    ways = page_of(folder)["legends"]
    assert list(ways) == ["predicted", "true", "errors", "height", "intensity"]
    names = {name for _, name in ways["true"]["entries"]}
    assert {NuScenes.classes().names[y] for y in np.unique(scan.labels)} <= names


def test_classes_of_a_file_by_a_converted_network(
    tmp_path: Path, settings: Settings, look: Look, street: Path
) -> None:
    model = convert(save_run(tmp_path / "run", settings, segmentation=True), downstream=True)[0].path
    scan = street / NuScenes(street, "val").name(0)
    folder, _ = look(model, "--device", "cpu", "--scan", str(scan))
    assert counts(folder) == {"points": len(np.fromfile(scan, np.float32)) // 5}
    assert list(page_of(folder)["legends"]) == ["predicted", "height", "intensity"]


def test_classes_of_another_data_set_are_refused(tmp_path: Path, settings: Settings, look: Look) -> None:
    with pytest.raises(UserError, match="--cfg semantickitti: .* the classes of NuScenes"):
        look(save_run(tmp_path / "run", settings, segmentation=True), "--cfg", "semantickitti")


def test_settings_come_from_the_checkpoint_where_no_file_is(
    tmp_path: Path, settings: Settings, look: Look, street: Path
) -> None:
    ckpt = save_run(tmp_path / "a" / "b" / "c" / "d" / "run", replace(settings, dataset_root="nowhere"))
    (ckpt.parent / "config.yaml").unlink()
    with pytest.raises(UserError, match="nowhere: no such folder"):
        look(ckpt, *REGION)
    folder, _ = look(ckpt, *REGION, f"cfg.dataset_root={street}")
    assert (folder / "scene.html").is_file()
    content = torch.load(ckpt, weights_only=True)
    del content["settings"]
    torch.save(content, ckpt)
    with pytest.raises(UserError, match="say --cfg RECIPE"):
        look(ckpt, *REGION)
    words = [f"cfg.dataset_root={street}", "cfg.network.latent_size=8"]
    found = settings_of(content, ckpt, recipe="demo", words=words)
    assert found == load("demo", words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frame", "7"], r"--frame 7: .* has 2 frames, 0 to 1"),
        (["--frame", "a.bin"], r"--frame a\.bin: no frame of .* its name, such as samples/"),
        (["--split", "vall"], "val"),
        (["--scan", "nothing.bin"], "nothing.bin: no such file"),
        (["--cell", "-1"], "--cell -1"),
        (["--out", "/proc/none"], "/proc/none: cannot be written"),
        (["--device", "abacus"], "--device abacus"),
        (["cfg.network.latent_siz=8"], "Did you mean latent_size"),
        (["cfg.network.latent_size=9"], "network must be built as for the source"),
    ],
)
def test_says_what_is_wrong(
    tmp_path: Path, settings: Settings, look: Look, words: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        look(save_run(tmp_path / "run", settings), *words)
    assert not (tmp_path / "out").exists()


def test_refuses_a_part_of_a_network(tmp_path: Path, settings: Settings, look: Look) -> None:
    backbone = convert(save_run(tmp_path / "run", settings))[0].path
    with pytest.raises(UserError, match="holds one part of the network"):
        look(backbone)


def test_a_file_has_no_split(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        visualize.parse("--ckpt a.ckpt --scan a.bin --split val".split())
    assert "leave --split and --frame out" in capsys.readouterr().err


def test_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["visualize.py", "--ckpt", str(tmp_path / "none.ckpt")])
    with pytest.raises(SystemExit, match=r"error: .*none\.ckpt: no such file"):
        visualize.main()


def test_options_are_those_of_the_page() -> None:
    text = (Path(__file__).resolve().parents[1] / "doc" / "visualization.md").read_text("utf-8")
    page = set(re.findall(r"^\| `(--[a-z-]+)[ `]", text, re.MULTILINE))
    help_text = visualize.make_parser().format_help()
    assert page == set(re.findall(r"--[a-z][a-z-]+", help_text)) - {"--help"}

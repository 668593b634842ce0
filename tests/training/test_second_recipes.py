"""SECOND's recipes: two steps on each layout that the simulator writes, a step on real frames."""

from pathlib import Path

import numpy as np
import pytest
import torch

from also_selfsup.data.simulator import simulate
from also_selfsup.settings.run import load
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.runs import Run

SPLITS = {"kitti3d_second": "kitti3d", "kitti360_second": "kitti360", "once_raw_small_second": "once"}
# A small box in front of the sensor, as high as the recipe's; everything else is the recipe's own, but few.
TINY = [
    "cfg.manifold_points=300",
    "cfg.non_manifold_points=120",
    "cfg.network.latent_size=8",
    "cfg.training.batch_size=2",
    "cfg.training.max_epochs=1",
    "cfg.trainer.max_steps=2",
    "cfg.trainer.limit_val_batches=1",
    "cfg.val_interval=1",
    "cfg.threads=0",
    "cfg.data.val_stride=1",
    "cfg.logging.tensorboard=false",
    "cfg.logging.progress_bar=false",
    "cfg.logging.report=false",
    "cfg.trainer.accelerator=cpu",
]

DRAWN = ["cfg.logging.report=true", "cfg.logging.picture_scans=1"]


def small_box(recipe: str) -> str:
    """The recipe's extent, cut to 16 x 32 cells of the bird's-eye view."""
    network = load(recipe).network
    x, y, _ = (16 * size for size in network.voxel_size)
    _, _, low, _, _, high = network.extent
    return f"cfg.network.extent=[{2 * x:g},{-2 * y:g},{low},{6 * x:g},{2 * y:g},{high}]"


def two_steps(recipe: str, root: Path, results: Path, *more: str) -> Run:
    """Pre-train; the weights after two steps are finite and are all of OpenPCDet's."""
    places = [f"cfg.dataset_root={root}", f"cfg.save_dir={results}"]
    run = pretrain(load(recipe, [*TINY, *places, small_box(recipe), *more]))
    state = torch.load(run.last, weights_only=True)
    names = [name for name in state["state_dict"] if name.startswith("backbone.backbone_")]
    assert state["global_step"] == 2 and len(names) == 156
    assert all(state["state_dict"][name].isfinite().all() for name in names)
    return run


@pytest.mark.parametrize("recipe", SPLITS)
def test_two_steps_on_simulated_scans(tmp_path: Path, recipe: str) -> None:
    settings = load(recipe)
    scenes = {settings.train_split: 4, settings.val_split: 1}
    if recipe == "once_raw_small_second":
        scenes = {"raw_small": 4, "val": 1}
    simulate(tmp_path / "data", layout=SPLITS[recipe], scenes=scenes, frames_per_scene=1, azimuth_steps=200)
    drawn = recipe == "kitti3d_second"  # of a bird's-eye view there are pictures too
    run = two_steps(recipe, tmp_path / "data", tmp_path / "results", *(DRAWN if drawn else []))
    assert (run.folder / "pictures" / "occupancy_scan_1.png").is_file() == drawn
    assert not drawn or "Left out" not in run.report.read_text("utf-8")
    lines = (run.folder / "logs_train.csv").read_text().splitlines()
    loss = float(lines[1].split(",")[lines[0].split(",").index("loss")])
    assert np.isfinite(loss) and loss > 0


@pytest.mark.parametrize(
    ("recipe", "folder"), [("kitti3d_second", "kitti3d"), ("once_raw_small_second", "once")]
)
def test_a_step_on_real_frames(
    tmp_path: Path, shared_data: Path, recipe: str, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = ["cfg.training.batch_size=1"] if folder == "kitti3d" else []
    places = [f"cfg.dataset_root={shared_data / folder}", f"cfg.save_dir={tmp_path}"]
    run = pretrain(load(recipe, [*TINY, *places, small_box(recipe), *overrides, "cfg.trainer.max_steps=1"]))
    state = torch.load(run.last, weights_only=True)
    assert state["global_step"] == 1
    assert all(value.isfinite().all() for value in state["state_dict"].values() if value.is_floating_point())
    assert ("3711" in caplog.text) == (folder == "kitti3d")  # frames of the list that are not there

"""Recipes of data sets that the simulator's first layouts do not serve: two steps of pre-training each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from also_selfsup.data.simulator import simulate
from also_selfsup.settings.run import load
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.runs import Run

TWO_STEPS = [
    "cfg.manifold_points=100",
    "cfg.non_manifold_points=60",
    "cfg.transforms.grid_size=0.4",
    "cfg.network.backbone=SPVCNN0p5",
    "cfg.network.voxel_size=1.0",
    "cfg.network.latent_size=8",
    "cfg.training.batch_size=2",
    "cfg.training.max_epochs=1",
    "cfg.trainer.max_steps=2",
    "cfg.val_interval=1",
    "cfg.threads=0",
    "cfg.logging.tensorboard=false",
    "cfg.logging.progress_bar=false",
    "cfg.logging.report=false",
    "cfg.trainer.accelerator=cpu",
]


@pytest.fixture
def two_steps(tmp_path: Path) -> Callable[..., Run]:
    """Function: pre-train a recipe on the data set of the test's folder, coarsely and for two steps."""

    def run(recipe: str, *more: str) -> Run:
        places = [f"cfg.dataset_root={tmp_path / 'data'}", f"cfg.save_dir={tmp_path / 'results'}"]
        return pretrain(load(recipe, [*TWO_STEPS, *places, *more]))

    return run


def wall(seed: int) -> np.ndarray:
    """Points of a wall and a floor with intensities; (400, 4)."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((2, -8, -1.5, 0), (8, 8, 2, 1), (400, 4))
    points[:200, 0], points[200:, 2] = 8, -1.5
    return points


def losses(run: Run) -> list[float]:
    lines = (run.folder / "logs_train.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss")
    return [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]


def test_semanticposs(tmp_path: Path, two_steps: Callable[..., Run]) -> None:
    for sequence in (0, 1, 3):
        folder = tmp_path / "data" / "dataset" / "sequences" / f"{sequence:02d}" / "velodyne"
        folder.mkdir(parents=True)
        for frame in range(2):
            wall(frame).astype("<f4").tofile(folder / f"{frame:06d}.bin")
    run = two_steps("semanticposs")
    assert np.isfinite(losses(run)).all() and run.last.is_file()


def test_livox(tmp_path: Path, two_steps: Callable[..., Run]) -> None:
    (tmp_path / "data" / "points").mkdir(parents=True)
    for frame in range(5):
        points = np.column_stack([wall(frame) * (1, 1, 1, 255), np.zeros(400)])
        np.savetxt(tmp_path / "data" / "points" / f"{frame:06d}.txt", points, fmt="%.3f")
    run = two_steps("livox")
    assert np.isfinite(losses(run)).all() and run.last.is_file()


@pytest.mark.parametrize("layout", ["semantickitti", "nuscenes"])
def test_queries_of_neighbouring_frames(tmp_path: Path, two_steps: Callable[..., Run], layout: str) -> None:
    scenes = {"train": 1, "val": 1}
    simulate(tmp_path / "data", layout=layout, scenes=scenes, frames_per_scene=3, azimuth_steps=64)
    splits = ["cfg.train_split=train", "cfg.val_split=val"]
    run = two_steps(layout, *splits, "cfg.data.query_frames=1", "cfg.training.batch_size=1")
    assert np.isfinite(losses(run)).all() and run.last.is_file()

"""Tiny runs: a simulated street of 128 columns and settings that fit it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from also_selfsup.data.simulator import simulate
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings

TINY = [
    "cfg.manifold_points=400",
    "cfg.non_manifold_points=120",
    "cfg.transforms.grid_size=0.4",
    "cfg.network.backbone=MinkUNet18",
    "cfg.network.voxel_size=0.4",
    "cfg.network.latent_size=16",
    "cfg.training.batch_size=2",
    "cfg.downstream.batch_size=2",
    "cfg.downstream.train_split=train",
    "cfg.val_interval=1",
    "cfg.threads=0",
    "cfg.logging.tensorboard=false",
    "cfg.logging.progress_bar=false",
    "cfg.logging.report=false",
    "cfg.trainer.accelerator=cpu",
]


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six simulated scans in nuScenes' layout: two of train, of verifying and of val."""
    return simulate(
        tmp_path_factory.mktemp("street"),
        scenes={"train": 1, "verifying": 1, "val": 1},
        frames_per_scene=2,
        azimuth_steps=96,
        seed=3,
    )


@pytest.fixture
def tiny(street: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Overrides of a tiny run that writes below the test's own folder; more may be added."""

    def overrides(*more: str, save_dir: Path = tmp_path) -> list[str]:
        return [*TINY, f"cfg.dataset_root={street}", f"cfg.save_dir={save_dir}", *more]

    return overrides


@pytest.fixture
def tiny_settings(tiny: Callable[..., list[str]]) -> Callable[..., Settings]:
    """The same, composed."""

    def compose(*more: str, **keywords: Path) -> Settings:
        return load("nuscenes", tiny(*more, **keywords))

    return compose


@pytest.fixture(scope="session")
def start_script(root: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Start a script of the package as a user does, with one thread: its sums then have one order."""

    def start(name: str, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(root / "also_selfsup" / f"{name}.py"), *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start

"""Command lines that compose the settings of a run again."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from also_selfsup.checkpoints.same_settings import inspect_command, recipe_and_changes, resume_command
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings

CASES = [
    ("nuscenes", []),
    ("nuscenes", ["cfg.name=street", "cfg.dataset_root='a b/c=d, (e)'", "cfg.training.batch_size=3"]),
    ("kitti3d_second", ["cfg.network.extent=[0,-8,-3,16,8,3]", "cfg.network.voxel_size=[0.1,0.1,0.2]"]),
    ("demo", ["cfg.trainer.limit_val_batches=null", "cfg.logging.tensorboard=false", "cfg.seed=7"]),
    ("folder", ["cfg.data.columns=[x,y,z,intensity]", "cfg.inputs=[pos]", "cfg.network.voxel_size=0.3"]),
]


def compose(words: list[str]) -> Settings:
    """Settings of a command line, without its resume."""
    recipe = words[0].removeprefix("cfg=")
    return load(recipe, [word for word in words[1:] if not word.startswith("cfg.resume=")])


@pytest.mark.parametrize(("recipe", "changes"), CASES)
def test_recipe_and_changes_are_the_settings(recipe: str, changes: list[str]) -> None:
    settings = load(recipe, changes)
    name, found = recipe_and_changes(replace(settings, resume="auto"))
    assert compose([f"cfg={name}", *found]) == settings
    assert name == recipe and len(found) == len(changes)


def test_resume_command_composes_the_run_and_names_the_checkpoint(tmp_path: Path) -> None:
    settings = load(*CASES[1])
    words = shlex.split(resume_command("train_selfsupervised", settings, tmp_path / "last.ckpt"))
    assert words[:2] == ["python", "also_selfsup/train_selfsupervised.py"]
    assert compose(words[2:]) == settings
    assert words[-1] == f"cfg.resume={tmp_path / 'last.ckpt'}"


def test_inspect_command_keeps_what_says_how_scans_are_read() -> None:
    settings = load("nuscenes", ["cfg.dataset_root=/d", "cfg.training.batch_size=3", "cfg.data.min_range=2"])
    words = shlex.split(inspect_command(settings, labels=True))[1:]
    assert words == [
        "also_selfsup/inspect_data.py",
        "cfg=nuscenes",
        "cfg.dataset_root=/d",
        "cfg.data.min_range=2.0",
        "--labels",
    ]

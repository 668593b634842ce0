"""The command printed for the next step is one that Hydra and argparse read back as meant."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from also_selfsup.checkpoints.next_command import (
    convert_command,
    evaluate_command,
    find_config,
    fine_tune_command,
    missing_recipe,
    run_settings,
    short,
)
from also_selfsup.settings.files import save_settings
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings


def composed(command: str) -> Settings:
    """What the scripts would make of the words behind the script's name."""
    python, script, recipe, *overrides = shlex.split(command)
    assert (python, script) == ("python", "also_selfsup/train_downstream_semseg.py")
    return load(recipe.removeprefix("cfg="), overrides)


@pytest.fixture(scope="module")
def nuscenes() -> Settings:
    """The recipe as it is."""
    return load("nuscenes")


@pytest.mark.parametrize("folder", ["with=equals", "it's, (odd)", "back\\slash", "end\\"])
def test_weights_in_any_folder(tmp_path: Path, folder: str, nuscenes: Settings) -> None:
    weights = tmp_path / folder / "pretrained_backbone_005.ckpt"
    settings = composed(fine_tune_command(weights, nuscenes))
    assert settings.downstream.checkpoint_dir == str(weights.parent)
    assert settings.downstream.checkpoint_name == weights.name
    assert settings.name == "nuscenes" and settings.network == nuscenes.network


def test_changes_of_the_pre_training_are_repeated(tmp_path: Path) -> None:
    changes = [
        "cfg.network.backbone=SPVCNN",
        "cfg.network.voxel_size=[0.1,0.1,0.2]",
        "cfg.inputs=[pos,intensities]",
        "cfg.dataset_root='/data/with blank'",
    ]
    before = load("semantickitti", [*changes, "cfg.training.batch_size=7"])
    after = composed(fine_tune_command(tmp_path / "x.ckpt", before))
    assert after.network == before.network and after.inputs == before.inputs
    assert after.dataset_root == "/data/with blank" and after.dataset_name == "SemanticKITTI"
    assert after.training == load("semantickitti").training


def test_recipe_of_a_renamed_run_is_not_guessed(tmp_path: Path) -> None:
    before = load("semantickitti", ["cfg.name=mine"])
    command = fine_tune_command(tmp_path / "x.ckpt", before)
    assert " cfg=RECIPE cfg.name=mine cfg.dataset_name=SemanticKITTI " in command
    filled = composed(command.replace("RECIPE", "semantickitti"))
    assert dataclasses.replace(filled, downstream=before.downstream) == before
    # Whatever recipe is filled in, network and data are those of the pre-training.
    other = composed(command.replace("RECIPE", "nuscenes"))
    assert (other.network, other.inputs, other.dataset_root) == (
        before.network,
        before.inputs,
        before.dataset_root,
    )
    assert "cfg.name=mine is not: one of" in str(missing_recipe(before))
    assert missing_recipe(load("semantickitti")) is None


def test_without_settings_there_is_a_gap(tmp_path: Path) -> None:
    assert " cfg=RECIPE " in fine_tune_command(tmp_path / "x.ckpt", None)


def test_config_of_the_run_is_found(tmp_path: Path) -> None:
    weights = tmp_path / "version_0" / "checkpoints" / "trained_model_030.ckpt"
    weights.parent.mkdir(parents=True)
    assert run_settings(weights) is None
    assert " RUN/config.yaml " in evaluate_command(weights, None)
    settings = load("nuscenes", ["cfg.downstream.val_split=verifying"])
    save_settings(settings, tmp_path / "version_0" / "config.yaml")
    assert find_config(weights) == tmp_path / "version_0" / "config.yaml"
    assert run_settings(weights) == settings
    words = shlex.split(evaluate_command(weights, settings))
    assert words[:4] == ["python", "also_selfsup/eval.py", "--split", "verifying"]
    assert words[4:] == ["--config", str(find_config(weights)), "--ckpt", str(weights)]


def test_unreadable_config_leaves_a_gap(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("cfg: [")
    assert run_settings(tmp_path / "x.ckpt") is None


def test_paths_below_the_root_are_short(root: Path, tmp_path: Path) -> None:
    assert short(root / "results" / "x.ckpt") == "results/x.ckpt"
    assert short(tmp_path / "x.ckpt") == str(tmp_path / "x.ckpt")
    assert convert_command(root / "results/a b.ckpt", downstream=True).endswith(
        "convert_models.py --downstream --ckpt 'results/a b.ckpt'"
    )

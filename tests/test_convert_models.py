"""The converting script, from every place it may be started, ends with the next command to type."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from also_selfsup import convert_models
from also_selfsup.settings.files import save_settings
from also_selfsup.settings.run import load


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A pre-training checkpoint in the folder of its run."""
    state = {"backbone.stem.weight": torch.ones(2), "decoder.fc_in.bias": torch.zeros(3)}
    torch.save({"state_dict": state, "epoch": 4, "global_step": 10}, tmp_path / "last.ckpt")
    save_settings(load("nuscenes", ["cfg.network.backbone=SPVCNN"]), tmp_path / "config.yaml")
    return tmp_path / "last.ckpt"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """Lines that the script prints."""
    convert_models.main([str(word) for word in words])
    return capsys.readouterr().out.splitlines()


def test_pre_training(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkpoint.parent
    assert run(capsys, "--ckpt", checkpoint) == [
        f"wrote {folder}/pretrained_backbone_005.ckpt (1 weights), "
        f"{folder}/pretrained_classifier_005.ckpt (1 weights)",
        "next: python also_selfsup/train_downstream_semseg.py cfg=nuscenes cfg.network.backbone=SPVCNN "
        f"cfg.downstream.checkpoint_dir={folder} "
        "cfg.downstream.checkpoint_name=pretrained_backbone_005.ckpt",
    ]


def test_downstream_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"net.stem.weight": torch.ones(2)}, "epoch": 0}, tmp_path / "last.ckpt")
    config = tmp_path / "config.yaml"
    save_settings(load("nuscenes", ["cfg.downstream.val_split=verifying"]), config)
    model = tmp_path / "out" / "trained_model_001.ckpt"
    lines = run(capsys, "--downstream", "--ckpt", tmp_path / "last.ckpt", "--out", model.parent)
    assert lines == [
        f"wrote {model} (1 weights)",
        f"next: python also_selfsup/eval.py --split verifying --config {config} --ckpt {model}",
    ]
    assert run(capsys, "--reverse", "--ckpt", model) == [
        f"wrote {model.parent}/downstream_001.ckpt (1 weights)"
    ]


def test_errors_are_one_message(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--downstream", "--ckpt", checkpoint], "error: .*of a pre-training run.*leave --downstream out"),
        (["--ckpt", checkpoint.with_name("lost.ckpt")], "error: .*no such file; .* holds last.ckpt"),
        (["--reverse", "--ckpt", checkpoint], "error: .*not a file of convert_models.py"),
    ):
        with pytest.raises(SystemExit, match=message):
            run(capsys, *words)
    with pytest.raises(SystemExit, match="2"):
        run(capsys, "--downstream", "--reverse", "--ckpt", checkpoint)


@pytest.mark.parametrize("place", ["package", "module"])
def test_started_from_every_place(root: Path, checkpoint: Path, tmp_path: Path, place: str) -> None:
    words, folder = {
        "package": (["convert_models.py"], root / "also_selfsup"),
        "module": (["-m", "also_selfsup.convert_models"], tmp_path),
    }[place]
    target = tmp_path / "elsewhere"
    shutil.copytree(checkpoint.parent, target, ignore=shutil.ignore_patterns("elsewhere"))
    done = subprocess.run(
        [sys.executable, *words, "--ckpt", str(target / "last.ckpt")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (target / "pretrained_backbone_005.ckpt").is_file()
    assert done.stdout.splitlines()[-1].startswith(
        "next: python also_selfsup/train_downstream_semseg.py cfg="
    )

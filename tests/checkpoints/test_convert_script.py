"""The converting script with SECOND and other libraries: what it writes, and what it says."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from also_selfsup import convert_models
from also_selfsup.checkpoints.naming import state_table
from also_selfsup.checkpoints.reading import read_checkpoint
from also_selfsup.settings.files import save_settings
from also_selfsup.settings.run import load


@pytest.fixture
def second_run(fake: SimpleNamespace, tmp_path: Path) -> Path:
    """A pre-training checkpoint of SECOND in the folder of its run."""
    settings = load("once_raw_small_second")
    save_settings(settings, tmp_path / "config.yaml")
    return Path(fake.write_pretraining(tmp_path / "last.ckpt", fake.second_state(), prefix="model."))


def run(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """Lines that the script prints."""
    convert_models.main([str(word) for word in words])
    return capsys.readouterr().out.splitlines()


def test_second_without_options(
    fake: SimpleNamespace, second_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = second_run.parent
    command = (
        "next: cd OpenPCDet/tools && python train.py --cfg_file cfgs/once_models/second.yaml --batch_size 4 "
        f"--epochs 80 --pretrained_model {folder}/pretrained_backbone_075.ckpt --extra_tag also"
    )
    assert run(capsys, "--ckpt", second_run) == [
        f"wrote {folder}/pretrained_backbone_075.ckpt (156 weights), "
        f"{folder}/pretrained_classifier_075.ckpt (1 weights)",
        "note: left out 2 that have no place there: dense_head.weight, dense_head.bias",
        command,
    ]
    (folder / "config.yaml").unlink()
    unknown = command.replace("once_models/second", "CONFIG")
    assert run(capsys, "--ckpt", second_run, "--out", folder)[-1] == unknown
    reversed_name = f"{folder}/pretraining_075.ckpt (157 weights)"
    assert run(capsys, "--reverse", "--ckpt", folder / "pretrained_backbone_075.ckpt") == [
        f"wrote {reversed_name}"
    ]
    table = state_table(read_checkpoint(folder / "pretraining_075.ckpt"))
    assert set(table) == {*(f"backbone.{n}" for n in fake.second_shapes()), "decoder.fc_in.weight"}


def test_to_and_from(second_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = second_run.parent
    theirs = folder / "pretrained_backbone_075_mmdet3d.ckpt"
    assert run(capsys, "--to", "mmdet3d", "--ckpt", second_run)[0] == f"wrote {theirs} (156 weights)"
    ours = folder / "back" / "pretrained_backbone_075_also.ckpt"
    assert run(capsys, "--from", "mmdet3d", "--ckpt", theirs, "--out", ours.parent) == [
        f"wrote {ours} (156 weights)",
        f"next: python also_selfsup/train_selfsupervised.py cfg=RECIPE cfg.training.init_from={ours}",
    ]
    assert " cfg=RECIPE cfg.training.init_from=" in run(capsys, "--to", "also", "--ckpt", second_run)[-1]
    lines = run(capsys, "--from", "also", "--to", "openpcdet", "--spconv", "1", "--ckpt", ours)
    assert lines[0].endswith("pretrained_backbone_075_openpcdet_spconv1.ckpt (156 weights)")
    assert lines[1].endswith("pretrained_backbone_075_openpcdet_spconv1.ckpt --extra_tag also")


def test_renamed_run_says_what_recipe_stands_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"backbone.x": torch.ones(2)}}, tmp_path / "last.ckpt")
    save_settings(load("nuscenes", ["cfg.name=mine"]), tmp_path / "config.yaml")
    lines = run(capsys, "--ckpt", tmp_path / "last.ckpt")
    assert lines[1].startswith("RECIPE stands for the recipe of the pre-training, which cfg.name=mine is not")
    assert " cfg=RECIPE cfg.name=mine " in lines[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "openpcdet"], "last.ckpt: --to openpcdet: holds no network of the MinkUNet family"),
        (["--to", "mmdet3d"], "last.ckpt: mmdet3d's MinkUNetBackbone begins with two convolutions"),
        (["--spconv", "1"], "last.ckpt: --spconv 1: also has one layout of its own"),
        (["--from", "openpcdet"], "last.ckpt: not the weights of a network of openpcdet"),
        (["--reverse", "--to", "also"], "2"),
        (["--reverse", "--from", "also"], "2"),
        (["--to", "pcdet"], "2"),
    ],
)
def test_errors_are_one_message(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {"backbone.stem.0.kernel": torch.ones(27, 1, 4)}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    with pytest.raises(SystemExit, match=message):
        run(capsys, *words, "--ckpt", tmp_path / "last.ckpt")
    assert not list(tmp_path.glob("pretrained*"))

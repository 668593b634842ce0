"""Checkpoints of training become plain weights and back, bit for bit, and are numbered by finished epochs."""

import argparse
import shutil
from pathlib import Path

import pytest
import torch

from also_selfsup.checkpoints.convert import Written, convert, finished_epochs, restore
from also_selfsup.checkpoints.reading import CheckpointError, read_checkpoint


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(
        torch.equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one
    )


def test_pre_training(pretraining_run: Path, tmp_path: Path) -> None:
    truth = torch.load(pretraining_run / "last.ckpt", weights_only=True)["state_dict"]
    written = convert(pretraining_run / "last.ckpt", out=tmp_path)
    assert written == [
        Written(tmp_path / "pretrained_backbone_002.ckpt", 9),
        Written(tmp_path / "pretrained_classifier_002.ckpt", 2),
    ]
    for file, part in zip(written, ("backbone", "decoder"), strict=True):
        content = torch.load(file.path, weights_only=True)
        own = {k.removeprefix(f"{part}."): v for k, v in truth.items() if k.startswith(f"{part}.")}
        assert same(content.pop("state_dict"), own)
        assert content == {"part": part, "epoch": 2, "global_step": 6, "version": 1}


def test_downstream_beside_its_checkpoint(downstream_run: Path, tmp_path: Path) -> None:
    shutil.copy(downstream_run / "last.ckpt", tmp_path)
    assert convert(tmp_path / "last.ckpt", downstream=True) == [
        Written(tmp_path / "trained_model_002.ckpt", 9)
    ]
    truth = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    found = torch.load(tmp_path / "trained_model_002.ckpt", weights_only=True)["state_dict"]
    assert same(found, {k.removeprefix("net."): v for k, v in truth.items()})


@pytest.mark.parametrize("downstream", [False, True])
def test_there_and_back(
    pretraining_run: Path, downstream_run: Path, tmp_path: Path, downstream: bool
) -> None:
    start = (downstream_run if downstream else pretraining_run) / "last.ckpt"
    first = convert(start, out=tmp_path, downstream=downstream)
    back = restore(first[0].path, out=tmp_path / "back")
    truth = torch.load(start, weights_only=True)
    restored = torch.load(back.path, weights_only=True)
    assert back.path.name == ("downstream_002.ckpt" if downstream else "pretraining_002.ckpt")
    assert same(restored["state_dict"], truth["state_dict"]) and back.count == len(truth["state_dict"])
    again = convert(back.path, out=tmp_path / "again", downstream=downstream)
    for one, other in zip(first, again, strict=True):
        assert one.path.name == other.path.name
        files = [torch.load(file.path, weights_only=True) for file in (one, other)]
        assert same(files[0].pop("state_dict"), files[1].pop("state_dict")) and files[0] == files[1]


def test_backbone_alone_goes_back(pretraining_run: Path, tmp_path: Path) -> None:
    backbone, classifier = convert(pretraining_run / "last.ckpt", out=tmp_path)
    classifier.path.unlink()
    names = read_checkpoint(restore(backbone.path).path)["state_dict"]
    assert len(names) == 9 and all(name.startswith("backbone.") for name in names)


@pytest.mark.parametrize(
    ("name", "finished"),
    [("within_0", 0), ("within_1", 1), ("validated_0", 1), ("validated_1", 2), ("epoch_0", 1), ("last", 2)],
)
def test_finished_epochs(pretraining_run: Path, name: str, finished: int) -> None:
    assert finished_epochs(read_checkpoint(pretraining_run / f"{name}.ckpt")) == finished


def test_finished_epochs_of_older_files() -> None:
    assert finished_epochs({"epoch": 199}) == 200
    assert finished_epochs({}) == 0


def test_published_checkpoint(tmp_path: Path) -> None:
    state = {"model.global_step": torch.zeros(1), "model.conv.weight": torch.randn(3)}
    published = {
        "epoch": 74,
        "global_step": 5,
        "state_dict": {f"backbone.{k}": v for k, v in state.items()},
        "callbacks": {argparse.Namespace: {"x": 1}},
    }
    torch.save(published, tmp_path / "p.ckpt")
    (written,) = convert(tmp_path / "p.ckpt")
    assert written.path.name == "pretrained_backbone_075.ckpt"
    assert same(read_checkpoint(written.path)["state_dict"], {"conv.weight": state["model.conv.weight"]})


def test_large_storages_are_not_written_with_their_views(tmp_path: Path) -> None:
    table = torch.zeros(1_000_000)
    torch.save({"state_dict": {"net.a": table[:3], "net.b": table[5:8]}}, tmp_path / "x.ckpt")
    (written,) = convert(tmp_path / "x.ckpt", downstream=True)
    assert written.path.stat().st_size < 10_000


def test_wrong_kind(pretraining_run: Path, downstream_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="of a pre-training run, .*; leave --downstream out"):
        convert(pretraining_run / "last.ckpt", out=tmp_path, downstream=True)
    with pytest.raises(CheckpointError, match="of a downstream run, .*; add --downstream"):
        convert(downstream_run / "last.ckpt", out=tmp_path)
    with pytest.raises(CheckpointError, match="not a file of convert_models.py"):
        restore(pretraining_run / "last.ckpt", out=tmp_path)
    (converted,) = convert(downstream_run / "last.ckpt", out=tmp_path, downstream=True)
    with pytest.raises(CheckpointError, match=r"trained_model_002\.ckpt: .*converted already"):
        convert(converted.path)
    torch.save({"epoch": 3}, tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match=r"none\.ckpt: No weights"):
        convert(tmp_path / "none.ckpt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["none.ckpt", converted.path.name]

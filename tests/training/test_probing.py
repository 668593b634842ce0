"""Probes while pre-training: their scores, their bounds, and that a run is the same with and without."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from also_selfsup.checkpoints.pretrained import load_start
from also_selfsup.data.scan import collate
from also_selfsup.evaluation.probing import labelled_features
from also_selfsup.settings.limits import SettingsError
from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.building import segmentation_transforms
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.epoch_log import read_log
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.probing import halves, probe_callbacks

PROBES = ("cfg.probes.interval=2", "cfg.probes.split=val", "cfg.probes.points=90", "cfg.probes.scans=1")
EPOCHS = "cfg.training.max_epochs=3"


def test_a_run_is_the_same_with_and_without(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    logs, states = [], []
    for name, probes in (("without", ()), ("with", PROBES)):
        run = pretrain(tiny_settings(EPOCHS, *probes, save_dir=tmp_path / name))
        rows = read_log(run.folder / "logs_train.csv")
        logs.append([{k: v for k, v in row.items() if k in ("epoch", "loss", "iou")} for row in rows])
        states.append(torch.load(run.last, weights_only=True)["state_dict"])
    assert len(logs[0]) == 3 and logs[0] == logs[1]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    rows = read_log(run.folder / "logs_probe.csv")
    assert [(row["finished_epochs"], row["step"]) for row in rows] == [("0", "0"), ("2", "2")]
    for row in rows:
        assert 0 < float(row["knn_miou"]) <= 1 and 0 < float(row["linear_miou"]) <= 1
        assert float(row["seconds"]) > 0


def test_features_are_those_of_labelled_points(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = tiny_settings()
    scans = list(open_dataset(settings, "val", labels=True))
    backbone = PretrainingModule(settings).backbone.eval()
    options = {"points": 30, "seed": 1}
    transforms = segmentation_transforms(settings)
    features, y = labelled_features(backbone, transforms, batches=[collate(scans)], **options)
    assert features.shape == (60, backbone.classifier[0].in_features) and y.shape == (60,) and y.min() > 0
    again, _ = labelled_features(backbone, transforms, batches=[collate(scans)], **options)
    assert features.equal(again)
    every, labels = labelled_features(backbone, transforms, batches=[collate(scans)], points=10**6, seed=1)
    # The draw is one of the labelled points; each feature drawn is that of a point with its class.
    rows = {(round(float(f[0]), 5), int(c)) for f, c in zip(every, labels, strict=True)}
    assert {(round(float(f[0]), 5), int(c)) for f, c in zip(features, y, strict=True)} <= rows
    latents = backbone.classifier(features)
    torch.save({"state_dict": backbone.state_dict()}, tmp_path / "weights.ckpt")
    other = PretrainingModule(tiny_settings("cfg.seed=7")).backbone.eval()
    load_start(other, tmp_path / "weights.ckpt")
    same, _ = labelled_features(other, transforms, batches=[collate(scans)], **options)
    torch.testing.assert_close(other.classifier(same), latents)


def test_halves_are_apart_spread_and_bounded() -> None:
    assert halves(10, most=2) == [[0, 2], [5, 7]]
    assert halves(5, most=9) == [[0, 1], [2, 3, 4]]
    assert [len(rows) for rows in halves(6019, most=32)] == [32, 32]


def test_off_opens_no_label(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    assert probe_callbacks(tiny_settings("cfg.probes.split=no_such_split"), tmp_path) == []
    with pytest.raises(ValueError, match="no_such_split"):
        probe_callbacks(tiny_settings("cfg.probes.interval=1", "cfg.probes.split=no_such_split"), tmp_path)


def test_scans_of_the_training_are_refused(tiny_settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"cfg\.probes\.split=parametrizing: the network trains on these"):
        tiny_settings("cfg.probes.interval=1", "cfg.probes.split=parametrizing")

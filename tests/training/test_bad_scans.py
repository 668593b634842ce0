"""A damaged file ends the run with its name, or is skipped, named once and counted."""

import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from also_selfsup.settings.run import load
from also_selfsup.training.closing import closing_line
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.runs import open_run
from also_selfsup.training.trainer import build_trainer, fit


@pytest.fixture
def damaged(street: Path, tmp_path: Path) -> Path:
    """A copy of the street in which one training scan is cut short."""
    root = shutil.copytree(street, tmp_path / "street")
    dataset = LidarDataModule(load("nuscenes", [f"cfg.dataset_root={root}"]), labels=False).train_set
    path = root / dataset.name(0)
    path.write_bytes(path.read_bytes()[:-7])
    return path


def test_skipped_files_are_named_once_and_counted(
    damaged: Path, tiny: Callable[..., list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    root = damaged.parents[2]
    settings = load(
        "nuscenes",
        tiny(f"cfg.dataset_root={root}", "cfg.data.on_bad_scan=skip", "cfg.training.max_epochs=2"),
    )
    run = open_run(settings, "x")
    trainer = build_trainer(settings, run.folder, epochs=2, val_interval=1, monitor="val/iou")
    with caplog.at_level(logging.WARNING):
        fit(trainer, PretrainingModule(settings), LidarDataModule(settings, labels=False), run)
    told = [record.message for record in caplog.records if damaged.name in record.message]
    assert len(told) == 1 and "skipped" in told[0]
    assert "1 bad scans skipped" in closing_line(trainer, run, "next")


def test_otherwise_the_run_ends_with_one_line(
    damaged: Path,
    tiny: Callable[..., list[str]],
    start_script: Callable[..., "subprocess.Popen[str]"],
) -> None:
    arguments = tiny(f"cfg.dataset_root={damaged.parents[2]}", "cfg.threads=1")
    process = start_script("train_selfsupervised", "cfg=nuscenes", *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    last = output.strip().splitlines()[-1]
    assert last.startswith("error: ") and damaged.name in last, output

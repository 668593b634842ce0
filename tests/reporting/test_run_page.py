"""The sentence about a run's scores is true of its log, and of the checkpoint that is kept as the best."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer

from also_selfsup.reporting.run_page import result
from also_selfsup.training.callbacks import checkpoint_callbacks
from also_selfsup.training.epoch_log import write_log

SAYS = "IoU on the validation scans: "


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], "No validation has been scored yet."),
        (["nan"], "No validation has been scored yet."),
        ([0.2, 0.314], f"{SAYS}31.4 % after epoch 2, the best so far."),
        ([0.314, 0.2], f"{SAYS}20.0 % after epoch 2; the best was 31.4 % after epoch 1."),
        ([0.314, 0.2, 0.314], f"{SAYS}31.4 % after epoch 3, as good as the best; best.ckpt is of epoch 1."),
        ([0.314, 0.313], f"{SAYS}31.3 % after epoch 2; the best was 31.4 % after epoch 1."),
    ],
)
def test_best_and_last_score(tmp_path: Path, scores: list[object], said: str) -> None:
    write_log(tmp_path / "logs_val.csv", [{"epoch": i, "iou": score} for i, score in enumerate(scores)])
    assert result(tmp_path, ("iou", "IoU")).text == said


def test_the_first_of_two_equal_scores_is_kept(tmp_path: Path) -> None:
    best = checkpoint_callbacks(tmp_path, monitor="val/iou")[0]
    best.best_k_models, best.kth_best_model_path = {"first": torch.tensor(0.314)}, "first"
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    assert not best.check_monitor_top_k(trainer, torch.tensor(0.314))
    assert best.check_monitor_top_k(trainer, torch.tensor(0.315))

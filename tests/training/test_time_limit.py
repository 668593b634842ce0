"""A run that is stopped by the clock, or writes its checkpoint now and then, loses nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from also_selfsup.settings.schema import Settings
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.callbacks import LastCheckpoint
from also_selfsup.training.epoch_log import read_log


def test_the_clock_ends_a_run_that_can_go_on(
    tiny_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(
        "cfg.training.max_epochs=3", "cfg.checkpoint_interval=2", "cfg.trainer.limit_val_batches=0"
    )
    stopped = pretrain(replace(settings, max_minutes=1e-9))
    assert len(read_log(stopped.folder / "logs_train.csv")) == 1
    written: list[int] = []
    write = LastCheckpoint._save_topk_checkpoint
    monkeypatch.setattr(
        LastCheckpoint,
        "_save_topk_checkpoint",
        lambda self, trainer, metrics: (written.append(trainer.current_epoch), write(self, trainer, metrics)),
    )
    resumed = pretrain(replace(settings, resume="auto"))
    # Epoch 1 by the interval, 2 because it is the last; 0 was written because the run stopped.
    assert resumed.folder == stopped.folder and sorted(set(written)) == [1, 2]
    rows = read_log(resumed.folder / "logs_train.csv")
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(0 < float(row["seconds"]) < 60 for row in rows)
    assert torch.load(resumed.last, weights_only=True)["global_step"] == 3


def test_a_limit_of_steps_ends_with_a_checkpoint(tiny_settings: Callable[..., Settings]) -> None:
    run = pretrain(
        tiny_settings(
            "cfg.training.max_epochs=9",
            "cfg.trainer.max_steps=1",
            "cfg.checkpoint_interval=5",
            "cfg.trainer.limit_val_batches=0",
        )
    )
    assert torch.load(run.last, weights_only=True)["global_step"] == 1

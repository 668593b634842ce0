"""Beside the training loop: rates, limits of time, skipped scans, and checkpoints to the disk."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from also_selfsup.checkpoints.writing import write_atomically
from also_selfsup.data.scan import Batch
from also_selfsup.data.skip_log import SkipLog
from also_selfsup.settings.files import save_settings
from also_selfsup.settings.schema import Settings
from also_selfsup.training.runs import BEST, CONFIG, LAST

logger = logging.getLogger(__name__)


class SettingsFile(Callback):
    """Writes `config.yaml` when training begins: of a run that goes on, it tells the new settings only then.

    Settings that a checkpoint does not fit must not take the place of those that it was trained with.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it."""
        if trainer.is_global_zero and self.folder.is_dir():
            save_settings(self.settings, self.folder / CONFIG)


class Throughput(Callback):
    """Logs scans a second of each training epoch (all processes) and, on a GPU, the most memory it held."""

    def __init__(self) -> None:
        self.scans = 0
        self.start = 0.0
        self.seconds = 0.0
        self.rate = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a run that goes on within an epoch does not start that one."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.scans, self.start, self.seconds = 0, time.perf_counter(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch; a validation that follows the last one is no part of rate and seconds."""
        self.scans += len(batch["names"])
        self.seconds = time.perf_counter() - self.start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rate."""
        self.rate = self.scans * trainer.world_size / self.seconds if self.seconds else 0.0
        pl_module.log("train/scans_per_second", self.rate, prog_bar=True)
        pl_module.log("train/seconds", self.seconds)
        if pl_module.device.type == "cuda":
            # Reserved, not allocated: a recorded pass keeps its memory for itself, which counts as free.
            peak = torch.cuda.max_memory_reserved(pl_module.device) / 2**30
            pl_module.log("train/peak_memory_gib", peak)


class SkippedScans(Callback):
    """Names each file that `cfg.data.on_bad_scan=skip` left out, once, and counts them."""

    def __init__(self) -> None:
        self.found = SkipLog()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Look at a training batch."""
        self.found.update(batch["skipped"])

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a validation batch."""
        self.found.update(batch["skipped"])


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there: a file with the final name is always whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`, all or nothing."""
        write_atomically(checkpoint, Path(path))


class TimeLimit(Callback):
    """Ends a run with the epoch in which its time is over; its last checkpoint is that epoch's.

    Args:
        minutes: From now on.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.end = time.monotonic() + 60 * minutes

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the clock; processes stop together."""
        finished, over = trainer.current_epoch + 1, time.monotonic() >= self.end
        if trainer.strategy.reduce_boolean_decision(over, all=False) and finished != trainer.max_epochs:
            trainer.should_stop = True
            logger.warning(
                "cfg.max_minutes=%g: stopped after %d of %s epochs; cfg.resume=auto goes on",
                *(self.minutes, finished, trainer.max_epochs),
            )


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` every so many epochs, and behind the last one, whatever ended the run.

    Args:
        folder: Of the run.
        interval: Epochs.
    """

    def __init__(self, folder: Path, *, interval: int) -> None:
        super().__init__(
            dirpath=folder,
            filename=LAST.removesuffix(".ckpt"),
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.interval = interval

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, if it is time; callbacks of the other kinds have said by now whether the run stops."""
        finished = trainer.current_epoch + 1
        ends = finished == trainer.max_epochs or 0 <= trainer.max_steps <= trainer.global_step
        if ends or trainer.should_stop or finished % self.interval == 0:
            super().on_train_epoch_end(trainer, pl_module)


def checkpoint_callbacks(folder: Path, *, monitor: str, interval: int = 1) -> list[ModelCheckpoint]:
    """Keep the last epoch and the one with the highest `monitor`; Hydra refuses file names with a `=`."""
    best = ModelCheckpoint(
        dirpath=folder,
        filename=BEST.removesuffix(".ckpt"),
        monitor=monitor,
        mode="max",
        enable_version_counter=False,
    )
    return [best, LastCheckpoint(folder, interval=interval)]

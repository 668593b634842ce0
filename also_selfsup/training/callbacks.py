"""Beside the training loop: rates, skipped scans, and checkpoints to the disk."""

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
from also_selfsup.training.runs import BEST, LAST


class Throughput(Callback):
    """Logs scans a second of each training epoch (all processes) and, on a GPU, the peak memory."""

    def __init__(self) -> None:
        self.scans = 0
        self.start = 0.0
        self.seconds = 0.0
        self.rate = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.scans, self.start, self.seconds = 0, time.perf_counter(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch; the validation that may follow the last one is no part of the rate."""
        self.scans += len(batch["names"])
        self.seconds = time.perf_counter() - self.start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rate."""
        self.rate = self.scans * trainer.world_size / self.seconds if self.seconds else 0.0
        pl_module.log("train/scans_per_second", self.rate, prog_bar=True)
        if pl_module.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(pl_module.device) / 2**30
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


def checkpoint_callbacks(folder: Path, *, monitor: str) -> list[ModelCheckpoint]:
    """Keep the last epoch and the one with the highest `monitor`; Hydra refuses file names with a `=`."""
    last = ModelCheckpoint(
        dirpath=folder,
        filename=LAST.removesuffix(".ckpt"),
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    best = ModelCheckpoint(
        dirpath=folder,
        filename=BEST.removesuffix(".ckpt"),
        monitor=monitor,
        mode="max",
        enable_version_counter=False,
    )
    return [best, last]

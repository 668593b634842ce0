"""Beside the training loop: figures to files, skipped scans to the log, checkpoints to the disk."""

import csv
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only

from also_selfsup.checkpoints.writing import write_atomically
from also_selfsup.data.base import SkipLog
from also_selfsup.data.scan import Batch
from also_selfsup.training.runs import BEST, LAST


class EpochLog(Callback):
    """Writes one row an epoch to logs_train.csv and logs_val.csv of the run's folder.

    A resumed run keeps the rows of the epochs before its checkpoint and writes the others anew.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's training figures."""
        self._add_row(trainer, "train")

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's validation figures."""
        if not trainer.sanity_checking:
            self._add_row(trainer, "val")

    def _add_row(self, trainer: Trainer, stage: str) -> None:
        prefix = f"{stage}/"
        figures = {
            k.removeprefix(prefix): float(v)
            for k, v in trainer.callback_metrics.items()
            if k.startswith(prefix)
        }
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **figures}
        path = self.folder / f"logs_{stage}.csv"
        rows = [old for old in read_log(path) if int(old["epoch"]) < trainer.current_epoch] + [row]
        temporary = path.with_suffix(".partial")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for one in rows for key in one)))
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(path)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log written by `EpochLog`, oldest first; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Throughput(Callback):
    """Logs scans a second of each training epoch (all processes) and, on a GPU, the peak memory."""

    def __init__(self) -> None:
        self.scans = 0
        self.start = 0.0
        self.rate = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.scans, self.start = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch."""
        self.scans += len(batch["names"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rate."""
        self.rate = self.scans * trainer.world_size / (time.perf_counter() - self.start)
        pl_module.log("train/scans_per_second", self.rate, prog_bar=True)
        if pl_module.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(pl_module.device) / 2**30
            pl_module.log("train/peak_memory_gib", peak)


class SkippedScans(Callback):
    """Names each file that `cfg.data.on_bad_scan=skip` left out, once, and counts them."""

    def __init__(self) -> None:
        self.log = SkipLog()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Look at a training batch."""
        self.log.update(batch["skipped"])

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a validation batch."""
        self.log.update(batch["skipped"])


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

"""Beside the training loop: one row of figures an epoch, in logs_train.csv and logs_val.csv of a run."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities import rank_zero_only

from also_selfsup.settings.whole_file import whole_file


class EpochLog(Checkpoint):
    """Writes the epochs' figures, which the modules name `train/...` and `val/...`.

    Lightning runs callbacks of the kind Checkpoint after the modules have added their scores. Standing before
    the others of that kind, this one has written an epoch's row when its checkpoint appears. A resumed run
    keeps the rows of the epochs before its checkpoint and writes the others anew.

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
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's validation figures."""
        if not trainer.sanity_checking:
            self._add_row(trainer, "val")

    def _add_row(self, trainer: Trainer, stage: str) -> None:
        path, prefix = self.folder / f"logs_{stage}.csv", f"{stage}/"
        metrics = trainer.callback_metrics
        figures = {key.removeprefix(prefix): float(metrics[key]) for key in metrics if key.startswith(prefix)}
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **figures}
        write_log(path, [old for old in read_log(path) if int(old["epoch"]) < trainer.current_epoch] + [row])


def write_log(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, all or nothing; a value that a row lacks is left empty."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for one in rows for key in one)))
        writer.writeheader()
        writer.writerows(rows)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log written by `write_log`, oldest first, values as text; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

"""Beside the training loop: one row of figures an epoch, in logs_train.csv and logs_val.csv of a run."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class EpochLog(Logger):
    """Lightning's logger of the epochs' figures, named `train/...` and `val/...` by the modules.

    A logger, not a callback, because it is told the figures after every hook has added its own. A resumed
    run keeps the rows of the epochs before its checkpoint and writes the others anew.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        """No name: the folder says which run it is."""
        return ""

    @property
    def version(self) -> str:
        """No version, likewise."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: config.yaml holds the settings."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row for each stage that `metrics` has figures of."""
        for stage in ("train", "val"):
            prefix = f"{stage}/"
            figures = {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)}
            if figures:
                self._add_row(stage, {"epoch": int(metrics["epoch"]), "step": step, **figures})

    def _add_row(self, stage: str, row: dict[str, Any]) -> None:
        path = self.folder / f"logs_{stage}.csv"
        rows = [old for old in read_log(path) if int(old["epoch"]) < row["epoch"]] + [row]
        partial = path.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for one in rows for key in one)))
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(path)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log written by `EpochLog`, oldest first, values as text; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

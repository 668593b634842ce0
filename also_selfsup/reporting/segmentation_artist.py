"""While fine-tuning is drawn: the score of each class and what is taken for what, at the last validation.

C classes.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from also_selfsup.evaluation.confusion import confusion_picture, iou_per_class, labelled, mean_iou
from also_selfsup.evaluation.iou import SegmentationMetrics
from also_selfsup.reporting.attempts import Attempts
from also_selfsup.reporting.drawn import Drawn
from also_selfsup.reporting.report import Picture, Section, Table
from also_selfsup.reporting.run_curves import FINETUNING
from also_selfsup.training.epoch_log import read_log

COLUMNS = ("class", "IoU %", "IoU % at the best", "precision %", "recall %", "share %")


class SegmentationArtist:
    """Draws the confusion matrix that the last validation was scored by."""

    title = "Fine-tuning"
    curves = FINETUNING
    score = ("miou", "mIoU")

    def draw(self, trainer: Trainer, module: LightningModule, *, folder: Path, attempts: Attempts) -> Drawn:
        """Tabulate the classes and draw the matrix."""
        metric = getattr(module, "val_metrics", None)
        if not isinstance(metric, SegmentationMetrics) or metric.scored is None:
            return Drawn()
        matrix, names = metric.scored.cpu(), metric.class_names
        parts: list[Table | Picture] = []
        table = attempts("scores of the classes", lambda: class_table(matrix, names, folder=folder.parent))
        if table is not None:
            parts.append(table)
        picture = attempts.in_time("confusion matrix", lambda: _confusion(matrix, names, folder))
        if picture is not None:
            parts.append(picture)
        return Drawn(
            [Section(f"Classes, after epoch {trainer.current_epoch + 1}", parts)] if parts else (),
            {"confusion": picture} if picture is not None else {},
        )


def class_table(matrix: Tensor, class_names: Sequence[str], *, folder: Path) -> Table:
    """Scores of the classes 1..C-1 and their mean, in percent.

    Args:
        matrix: (C, C) counts, rows labels, on the CPU; row 0 is left out.
        class_names: C names, index 0 = "ignore".
        folder: Of the run, whose log tells the scores of its best validation.
    """
    counts = labelled(matrix)
    hits, labels, predictions = counts.diagonal().double(), counts.sum(dim=1), counts.sum(dim=0)
    columns = [iou_per_class(counts), hits / predictions, hits / labels, labels / labels.sum()]
    iou, precision, recall, share = (column.tolist() for column in columns)
    best = _best_validation(folder)
    rows = [
        [name, *map(_percent, (iou[c], best.get(f"iou/{name}", math.nan), precision[c], recall[c], share[c]))]
        for c, name in enumerate(class_names)
        if c > 0
    ]
    rows.append(["mean", _percent(float(mean_iou(counts))), _percent(best.get("miou", math.nan)), *"–––"])
    return Table(
        COLUMNS,
        rows,
        "Input points of the validation scans: intersection over union now and at the best validation so "
        "far, precision, recall, and the share of the labelled points. “–”: no such label, or no such "
        "prediction.",
    )


def _best_validation(folder: Path) -> dict[str, float]:
    rows = [row for row in read_log(folder / "logs_val.csv") if row.get("miou")]
    best = max(rows, key=lambda row: float(row["miou"]), default={})
    return {name: float(value) for name, value in best.items() if value}


def _confusion(matrix: Tensor, names: Sequence[str], folder: Path) -> Picture:
    path = confusion_picture(matrix, names, path=folder / "confusion.png")
    return Picture(
        path,
        "Rows are labels, columns predictions, in percent of each label's points: a perfect network has 100 "
        "on the diagonal.",
        "Confusion matrix of the classes.",
    )


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"

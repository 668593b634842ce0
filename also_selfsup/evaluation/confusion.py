"""After the last scan of a split: scores, a table and a picture from one confusion matrix.

Rows are labels, columns predictions, class 0 = ignored. Letters: C classes.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from also_selfsup.settings.whole_file import whole_file


def labelled(matrix: Tensor) -> Tensor:
    """Leave out the points without a label: row 0 of a confusion matrix (C, C) becomes 0."""
    return torch.cat([torch.zeros_like(matrix[:1]), matrix[1:]])


def iou_per_class(matrix: Tensor) -> Tensor:
    """Give intersection over union of each class.

    Args:
        matrix: (C, C) counts; every row counts, see `labelled`.

    Returns:
        (C,) float64 in [0, 1]; NaN for a class that no label names, whatever was predicted.
    """
    hits, labels, predictions = matrix.diagonal().double(), matrix.sum(dim=1), matrix.sum(dim=0)
    iou = hits / (labels + predictions - hits)
    return torch.where(labels > 0, iou, torch.nan)


def mean_iou(matrix: Tensor) -> Tensor:
    """Average the IoU of the classes that occur in the labels; NaN when none does."""
    return iou_per_class(matrix).nanmean()


def frequency_weighted_iou(matrix: Tensor) -> Tensor:
    """Average the IoU of the classes, each weighted by its share of the labels; NaN when there are none."""
    labels = matrix.sum(dim=1).double()
    return (iou_per_class(matrix).nan_to_num() * labels).sum() / labels.sum()


def iou_table(matrix: Tensor, class_names: Sequence[str], *, title: str = "") -> Table:
    """Tabulate the classes 1..C-1 with their IoU, precision, recall and share of the labels, in percent.

    Args:
        matrix: (C, C) counts; row 0 is left out.
        class_names: C names, index 0 = "ignore".
        title: stands above the table.
    """
    _check_names(matrix, class_names)
    matrix = labelled(matrix).cpu()
    hits, labels, predictions = matrix.diagonal().double(), matrix.sum(dim=1), matrix.sum(dim=0)
    columns = [iou_per_class(matrix), hits / predictions, hits / labels, labels / labels.sum()]
    table = Table("class", title=title or None)
    for heading in ("IoU %", "precision %", "recall %", "share %"):
        table.add_column(heading, justify="right")
    for index in range(1, len(class_names)):
        table.add_row(class_names[index], *(_percent(column[index]) for column in columns))
    table.add_section()
    table.add_row("mean", _percent(mean_iou(matrix)))
    table.add_row("frequency-weighted", _percent(frequency_weighted_iou(matrix)))
    return table


def confusion_picture(matrix: Tensor, class_names: Sequence[str], *, path: str | Path) -> Path:
    """Draw the confusion matrix of the classes 1..C-1 as a PNG: each row in percent of its labels.

    Args:
        matrix: (C, C) counts; row and column 0 are left out.
        class_names: C names, index 0 = "ignore".
        path: file to write; its folder is made.

    Returns:
        The path written.
    """
    _check_names(matrix, class_names)
    names = list(class_names[1:])
    counts = matrix.cpu()[1:, 1:].double()
    percent = 100 * counts / counts.sum(dim=1, keepdim=True)
    side = 2.5 + 0.45 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="label", title="% of each label's points")
    axes.imshow(percent.nan_to_num().numpy(), cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for row, column in (percent >= 0.5).nonzero().tolist():
        value = float(percent[row, column])
        colour = "white" if value > 60 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=7)
    path = Path(path)
    with whole_file(path) as part:
        FigureCanvasAgg(figure).print_figure(part, dpi=150, format="png")
    return path


def save_scores(matrix: Tensor, class_names: Sequence[str], *, path: str | Path) -> Path:
    """Write the scores as CSV: IoU in [0, 1] of each class, `mean` and `frequency-weighted`.

    Args:
        matrix: (C, C) counts; row 0 is left out.
        class_names: C names, index 0 = "ignore".
        path: file to write.

    Returns:
        The path written.
    """
    _check_names(matrix, class_names)
    matrix = labelled(matrix).cpu()
    values = [iou_per_class(matrix)[1:], mean_iou(matrix)[None], frequency_weighted_iou(matrix)[None]]
    names = [*class_names[1:], "mean", "frequency-weighted"]
    with whole_file(Path(path)) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "iou"])
        for name, value in zip(names, torch.cat(values).tolist(), strict=True):
            writer.writerow([name, "" if value != value else f"{value:.6f}"])
    return Path(path)


def _percent(share: Tensor) -> str:
    return "-" if share.isnan() else f"{100 * float(share):.1f}"


def _check_names(matrix: Tensor, class_names: Sequence[str]) -> None:
    if matrix.shape != (len(class_names), len(class_names)):
        raise ValueError(
            f"{len(class_names)} class names for a confusion matrix of shape {tuple(matrix.shape)}"
        )

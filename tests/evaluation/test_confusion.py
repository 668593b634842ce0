"""Table and picture of a confusion matrix, read back."""

from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from rich.console import Console

from also_selfsup.evaluation.confusion import (
    confusion_picture,
    frequency_weighted_iou,
    iou_table,
    labelled,
    mean_iou,
)

NAMES = ("ignore", "car", "person", "never")
# Rows are labels. The 50 points without a label must not count.
MATRIX = torch.tensor([[0, 50, 0, 0], [0, 6, 2, 0], [0, 1, 1, 0], [0, 0, 0, 0]])


def test_means() -> None:
    matrix = labelled(MATRIX)
    assert mean_iou(matrix).item() == pytest.approx((6 / 9 + 1 / 4) / 2)
    assert frequency_weighted_iou(matrix).item() == pytest.approx(0.8 * 6 / 9 + 0.2 * 1 / 4)
    assert MATRIX[0, 1] == 50


def test_table_reads_as_computed_by_hand() -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    console.print(iou_table(MATRIX, NAMES, title="val"))
    rows = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    # IoU 6/9, precision 6/7, recall 6/8, share 8/10.
    assert ["car", "66.7", "85.7", "75.0", "80.0"] in rows
    assert ["person", "25.0", "33.3", "50.0", "20.0"] in rows
    assert ["never", "-", "-", "-", "0.0"] in rows
    assert ["mean", "45.8"] in rows and ["frequency-weighted", "58.3"] in rows


def test_picture_is_written_and_shows_where_points_went(tmp_path: Path) -> None:
    diagonal = torch.diag(torch.tensor([0, 9, 9, 9]))
    right = confusion_picture(diagonal, NAMES, path=tmp_path / "new" / "right.png")
    wrong = confusion_picture(MATRIX, NAMES, path=tmp_path / "wrong.png")
    pictures = [imread(path)[..., :3] for path in (right, wrong)]
    assert pictures[0].shape == pictures[1].shape and (pictures[0] != pictures[1]).any()
    # Dark blue cells: three full ones against one of 75 %.
    dark = [(picture.mean(axis=2) < 0.45).mean() for picture in pictures]
    assert dark[0] > 2 * dark[1] > 0


def test_names_have_to_fit() -> None:
    with pytest.raises(ValueError, match=r"3 class names for a confusion matrix of shape \(4, 4\)"):
        iou_table(MATRIX, NAMES[:3])

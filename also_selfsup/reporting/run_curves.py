"""While a run is drawn: its curves, from the logs that it has written so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from also_selfsup.reporting.curves import Curve, Panel, curve_picture
from also_selfsup.reporting.report import Picture
from also_selfsup.training.epoch_log import read_log

LOGS = {"training": "logs_train.csv", "validation": "logs_val.csv"}


@dataclass(frozen=True)
class Wanted:
    """Two columns of the logs that are drawn beside one another, as (title, unit, column, scale) each.

    Attributes:
        name: Of the file.
        panels: What is drawn, as far as the run has logged it.
        caption: What to see.
    """

    name: str
    panels: Sequence[tuple[str, str, str, float]]
    caption: str


SPEED = Wanted(
    "speed",
    (
        ("Throughput", "scans/s, all processes", "scans_per_second", 1.0),
        ("Peak memory of the GPU", "GiB", "peak_memory_gib", 1.0),
    ),
    "How fast the run trains; validation and drawing are no part of the rate.",
)
PRETRAINING = (
    Wanted(
        "learning",
        (
            ("Loss", "cross-entropy (nats) + intensity error", "loss", 1.0),
            ("Predicted occupancy", "IoU, mean of free and occupied (%)", "iou", 100.0),
        ),
        "Left: the loss that is minimised. Right: how well free and occupied space are told apart. "
        "Validation draws the same queries in every epoch.",
    ),
    Wanted(
        "losses",
        (
            ("Occupancy", "cross-entropy of a pair (nats)", "loss/recons", 1.0),
            ("Intensity of the hit", "mean absolute error (0 to 1)", "loss/intensity", 1.0),
        ),
        "The two parts of the loss, before their weights. To answer one half everywhere costs 0.69 nats.",
    ),
    SPEED,
)
FINETUNING = (
    Wanted(
        "learning",
        (
            ("Loss", "nats", "loss", 1.0),
            ("Segmentation of the input points", "mIoU (%)", "miou", 100.0),
        ),
        "Left: the loss that is minimised. Right: the score of the thinned points; eval.py "
        "scores every point.",
    ),
    SPEED,
)


def draw_curves(folder: Path, wanted: Wanted, *, to: Path) -> Picture | None:
    """Draw what the run in `folder` has logged of `wanted` into the folder `to`; None if that is nothing."""
    panels = []
    for title, unit, column, scale in wanted.panels:
        curves = [
            Curve(name, [folder / file], column, scale=scale)
            for name, file in LOGS.items()
            if any(row.get(column) for row in read_log(folder / file))
        ]
        if curves:
            panels.append(Panel(title, unit, curves))
    if not panels:
        return None
    path = curve_picture(panels, to / f"{wanted.name}.png")
    titles = " and ".join(panel.title.lower() for panel in panels)
    alone = len(panels) == 1
    return Picture(path, wanted.caption, f"Plots over optimiser steps: {titles}.", narrow=alone)

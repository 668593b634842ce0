"""After fine-tuning: predicted and true classes of one scan beside each other, as a picture and a page.

n points of the scan, as read from its file; C classes, 0 = ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from also_selfsup.checkpoints.pretrained import load_network
from also_selfsup.data.scan import Scan, collate
from also_selfsup.evaluation.confusion import labelled, mean_iou
from also_selfsup.evaluation.whole_split import score_split
from also_selfsup.reporting.colours import (
    RGB,
    Legend,
    Swatches,
    class_swatches,
    colour_classes,
    height_scale,
    intensity_scale,
    rgb,
)
from also_selfsup.reporting.pictures import save
from also_selfsup.reporting.region import REACH
from also_selfsup.reporting.scene import Layer, Scene, write_scene
from also_selfsup.settings.schema import Settings
from also_selfsup.training.building import segmentation_network, segmentation_transforms
from also_selfsup.training.precision import arithmetic

RIGHT, WRONG, UNLABELLED = "#7f9db5", "#e03131", "#d3d3d3"
FAR = 2 * REACH  # half an edge of the picture, metres


@dataclass(frozen=True, eq=False)
class Classes:
    """What was predicted for a scan.

    Attributes:
        scan: With its labels, if there are any.
        predicted: (n,) int64 in [1, C).
        matrix: (C, C) counts, rows labels; all zero without labels.
        names: C names, index 0 = "ignore".
    """

    scan: Scan
    predicted: NDArray[np.int64]
    matrix: Tensor
    names: Sequence[str]

    @property
    def errors(self) -> NDArray[np.bool_] | None:
        """(n,) whether a labelled point was predicted wrong; None without labels."""
        y = self.scan.labels
        return None if y is None else (y > 0) & (y != self.predicted)

    def summary(self) -> str:
        """Share of the labelled points that are right, and mean IoU of the classes that occur."""
        counts = labelled(self.matrix)
        total = int(counts.sum())
        if total == 0:
            return f"{len(self.predicted):,} points, without labels to compare with."
        right, miou = float(counts.diagonal().sum()) / total, float(mean_iou(counts))
        return f"{100 * right:.1f} % of {total:,} labelled points are right; mean IoU {100 * miou:.1f} %."


def predict_classes(
    settings: Settings, scan: Scan, *, ckpt: Path, class_names: Sequence[str], device: torch.device
) -> Classes:
    """Predict the class of every point of a scan, as evaluation does.

    Args:
        settings: Of the run.
        scan: Every point of a file, with or without labels.
        ckpt: A checkpoint of fine-tuning, or a `trained_model_NNN.ckpt`.
        class_names: C names, index 0 = "ignore".
        device: To compute on.

    Raises:
        CheckpointError: The file does not fit the settings, or has another number of classes.
    """
    net = segmentation_network(settings, class_count=len(class_names))
    load_network(net, ckpt)
    found: list[Tensor] = []
    matrix = score_split(
        net.to(device),
        segmentation_transforms(settings),
        batches=[collate([scan])],
        class_count=len(class_names),
        seed=settings.seed,
        on_scan=lambda _, classes: found.append(classes),
        arithmetic=arithmetic(settings.precision, device),
    )
    return Classes(scan, found[0].numpy(), matrix.cpu(), class_names)


def write_class_views(classes: Classes, folder: Path, *, title: str) -> list[Path]:
    """Write `scene.html` and `classes.png`; the page is the first."""
    page = write_scene(folder / "scene.html", scene_of(classes, title=title))
    return [page, class_picture(classes, folder / "classes.png")]


def ways_of(classes: Classes) -> dict[str, tuple[RGB, Legend]]:
    """Colours (n, 3) and legend of predicted classes, true ones and errors, by these names."""
    y, wrong = classes.scan.labels, classes.errors
    there = np.unique(classes.predicted if y is None else np.concatenate([classes.predicted, y])).tolist()
    legend = class_swatches(classes.names, there)
    ways: dict[str, tuple[RGB, Legend]] = {"predicted": (colour_classes(classes.predicted), legend)}
    if y is not None and wrong is not None:
        marks = np.array([rgb(RIGHT), rgb(WRONG), rgb(UNLABELLED)])
        which = np.where(y == 0, 2, wrong)
        entries = ((RIGHT, "right"), (WRONG, "wrong"), (UNLABELLED, "without label"))
        ways |= {"true": (colour_classes(y), legend), "errors": (marks[which], Swatches(entries))}
    return ways


def scene_of(classes: Classes, *, title: str) -> Scene:
    """The page's content: right and wrong points as two layers, each coloured as one likes."""
    scan = classes.scan
    height, strength = height_scale(scan.pos[:, 2]), intensity_scale(scan.intensities[:, 0])
    ways = ways_of(classes) | {
        "height": (height.colour(scan.pos[:, 2]), height.legend()),
        "intensity": (strength.colour(scan.intensities[:, 0]), strength.legend()),
    }
    wrong = classes.errors
    parts = {"points": np.ones(len(scan.pos), bool)}
    if wrong is not None:
        parts = {"right, or without label": ~wrong, "wrong": wrong}
    layers = [
        Layer(name, scan.pos[rows], {way: colours[rows] for way, (colours, _) in ways.items()}, size=0.1)
        for name, rows in parts.items()
    ]
    x, y, z = scan.sensor[0], scan.sensor[1], np.median(scan.pos[:, 2])
    legends = {way: legend for way, (_, legend) in ways.items()}
    return Scene(title, [classes.summary()], layers, legends, (float(x), float(y), float(z)))


def class_picture(classes: Classes, path: Path) -> Path:
    """Draw the scan from above: predicted classes, and where there are labels true ones and errors."""
    scan = classes.scan
    near = np.flatnonzero((np.abs(scan.pos[:, :2] - scan.sensor[:2]) < FAR).all(1))
    order = near[np.argsort(scan.pos[near, 2], kind="stable")]
    ways = ways_of(classes)
    figure = Figure(figsize=(6.2 * len(ways), 7.2), layout="constrained")
    titles = {"predicted": "Predicted", "true": "True", "errors": f"Errors: {classes.summary()}"}
    row = figure.subplots(1, len(ways), squeeze=False)[0]
    for axes, (way, (colours, _)) in zip(row, ways.items(), strict=True):
        drawn = order
        if way == "errors" and classes.errors is not None:  # the wrong ones on top
            drawn = np.concatenate([order[~classes.errors[order]], order[classes.errors[order]]])
        _draw(axes, scan, drawn, colours=colours[drawn])
        axes.set_title(titles[way], loc="left", fontsize=10)
    figure.legend(handles=_handles(ways), loc="outside lower center", ncols=8, frameon=False, fontsize=9)
    return save(figure, path)


def _draw(axes: Axes, scan: Scan, rows: NDArray[np.int64], *, colours: RGB) -> None:
    x, y = scan.sensor[:2]
    right, up = scan.pos[rows, :2].T
    axes.scatter(right, up, c=colours / 255, s=1.6, linewidths=0)
    axes.set(xlim=(x - FAR, x + FAR), ylim=(y - FAR, y + FAR), aspect="equal", xlabel="x (metres)")
    axes.set_ylabel("y (metres)")


def _handles(ways: dict[str, tuple[RGB, Legend]]) -> list[Line2D]:
    entries = [e for _, legend in ways.values() if isinstance(legend, Swatches) for e in legend.entries]
    return [
        Line2D([], [], linestyle="none", marker="o", color=colour, label=name.replace("_", " "))
        for colour, name in dict.fromkeys(entries)
    ]

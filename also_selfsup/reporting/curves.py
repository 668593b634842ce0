"""After training: learning curves from the logs of one or several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from also_selfsup.reporting.pictures import save
from also_selfsup.training.epoch_log import read_log

# Colours that stay apart without red-green vision (Okabe and Ito), each with a line and a marker of its own.
STYLES = (("#0072b2", "-", "o"), ("#d55e00", "--", "s"), ("#009e73", "-.", "^"), ("#cc79a7", ":", "D"))


@dataclass(frozen=True)
class Curve:
    """One column of the logs of runs that differ by their seed.

    Attributes:
        name: In the legend.
        logs: One CSV file a run, as a run writes them.
        column: Of those files, such as `loss` or `miou`.
        scale: Multiplies the values, such as 100 for percent.
    """

    name: str
    logs: Sequence[Path]
    column: str
    scale: float = 1.0

    def read(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Steps (k,) and values (runs, k) at the steps that all runs have logged.

        Raises:
            ValueError: A log has no such column, or the runs share no step.
        """
        runs = [self._read_one(path) for path in self.logs]
        steps = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
        if not steps:
            raise ValueError(f"{', '.join(map(str, self.logs))}: no step with {self.column} in all of them.")
        return np.array(steps, float), np.array([[run[step] for step in steps] for run in runs])

    def _read_one(self, path: Path) -> dict[int, float]:
        rows = read_log(path)
        if rows and self.column not in rows[0]:
            raise ValueError(f"{path} has no column {self.column}; it has {', '.join(rows[0])}.")
        return {
            int(row["step"]): self.scale * float(row[self.column]) for row in rows if row.get(self.column)
        }


@dataclass(frozen=True)
class Panel:
    """A set of axes with curves of one unit.

    Attributes:
        title: What is seen.
        unit: Of the values: the label of the axis upwards.
        curves: At least one; from the fifth on, looks repeat.
    """

    title: str
    unit: str
    curves: Sequence[Curve]


def curve_picture(panels: Sequence[Panel], path: Path) -> Path:
    """Draw panels side by side: the mean over a curve's runs as a line, their range as a band.

    Args:
        panels: At least one.
        path: PNG to write; its folder is made.

    Returns:
        The path written.
    """
    figure = Figure(figsize=(5.2 * len(panels), 3.7), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, panel)
    return save(figure, path)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for curve, (colour, line, marker) in zip(panel.curves, cycle(STYLES), strict=False):
        steps, values = curve.read()
        count = len(values)
        name = f"{curve.name} (mean and range of {count} seeds)" if count > 1 else curve.name
        every = max(1, len(steps) // 8)
        axes.plot(
            steps,
            values.mean(axis=0),
            color=colour,
            linestyle=line,
            marker=marker,
            markevery=every,
            markersize=5,
            linewidth=1.8,
            label=name,
        )
        if count > 1:
            axes.fill_between(
                steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0
            )
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel(panel.unit)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)

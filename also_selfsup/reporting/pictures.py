"""After pre-training: predicted occupancy as pictures, for people who see them for the first time.

Three states differ in lightness, hue and texture, so that no colour need be known: free is pale blue,
occupied dark orange, unknown hatched grey.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from also_selfsup.data.scan import Scan
from also_selfsup.reporting.occupancy import AXES, Plane
from also_selfsup.settings.whole_file import whole_file

FREE, EVEN, OCCUPIED = "#b9ddf5", "#fdf6e3", "#a83600"
UNKNOWN, HATCH = "#ececec", "#bdbdbd"
# Of the probability: what is likely has its colour already, only what is near one half looks undecided.
SHADES = LinearSegmentedColormap.from_list(
    "occupancy", [(0, FREE), (0.35, FREE), (0.5, EVEN), (0.65, "#e58a4e"), (0.8, OCCUPIED), (1, OCCUPIED)]
)


def occupancy_picture(
    scan: Scan, planes: Sequence[Plane], *, answers: Sequence[NDArray[np.float32]], path: Path
) -> Path:
    """Draw predicted occupancy on several planes, one below the other, with the scan's points near each.

    Args:
        scan: The scan that was asked about.
        planes: Where it was asked.
        answers: (rows, columns) of each plane, as `ask_planes` gives them.
        path: PNG to write; its folder is made.

    Returns:
        The path written.
    """
    width = 9.0
    heights = [width * (p.vertical[1] - p.vertical[0]) / (p.horizontal[1] - p.horizontal[0]) for p in planes]
    figure = Figure(figsize=(width + 1.0, sum(heights) + 1.0 * len(planes) + 0.6), layout="constrained")
    rows = figure.subplots(len(planes), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, plane, answer in zip(rows, planes, answers, strict=True):
        _draw_plane(axes, plane, answer=answer, scan=scan)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return save(figure, path)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG without a display or global state."""
    with whole_file(path) as part:
        FigureCanvasAgg(figure).print_figure(part, dpi=130, format="png", facecolor="white")
    return path


def _draw_plane(axes: Axes, plane: Plane, *, answer: NDArray[np.float32], scan: Scan) -> None:
    (left, right), (low, high) = plane.horizontal, plane.vertical
    axes.add_patch(
        Rectangle(
            (left, low),
            right - left,
            high - low,
            facecolor=UNKNOWN,
            edgecolor=HATCH,
            hatch="////",
            linewidth=0,
        )
    )
    axes.imshow(
        answer, cmap=SHADES, vmin=0, vmax=1, extent=(left, right, low, high), origin="lower", zorder=1
    )
    points = plane.near(scan.pos, 0.3)
    axes.plot(*points.T, linestyle="none", marker=".", markersize=2.2, color="black", zorder=2)
    _draw_sensor(axes, plane, scan=scan)
    names = [AXES[axis] for axis in plane.axes]
    axes.set(
        xlim=(left, right),
        ylim=(low, high),
        xlabel=f"{names[0]} (metres)",
        ylabel=f"{names[1]} (metres)",
        aspect="equal",
    )
    axes.set_title(_title(plane, scan=scan), loc="left", fontsize=11)


def _title(plane: Plane, *, scan: Scan) -> str:
    """Such as "Vertical slice through the sensor (y = 0 m)"."""
    kind = "Horizontal" if plane.across == "z" else "Vertical"
    away = round(plane.at - float(scan.sensor[AXES.index(plane.across)]), 3)
    side = ("below", "above") if plane.across == "z" else ("beside", "beside")
    place = f"{abs(away):g} m {side[away > 0]} the sensor" if away else "through the sensor"
    return f"{kind} slice {place} ({plane.across} = {plane.at:g} m)"


def _draw_sensor(axes: Axes, plane: Plane, *, scan: Scan) -> None:
    right, up = (float(scan.sensor[axis]) for axis in plane.axes)
    axes.plot(
        [right],
        [up],
        marker="^",
        markersize=12,
        color="#0b3c8c",
        markeredgecolor="white",
        markeredgewidth=1.5,
        zorder=3,
    )


def _legend() -> list[Patch | Line2D]:
    point = Line2D([], [], linestyle="none", marker=".", color="black", label="lidar points near the slice")
    sensor = Line2D(
        [], [], linestyle="none", marker="^", markersize=11, color="#0b3c8c", label="lidar sensor"
    )
    return [
        Patch(facecolor=FREE, edgecolor="black", linewidth=0.5, label="predicted free"),
        Patch(facecolor=OCCUPIED, edgecolor="black", linewidth=0.5, label="predicted occupied"),
        Patch(facecolor=EVEN, edgecolor="black", linewidth=0.5, label="undecided"),
        Patch(facecolor=UNKNOWN, edgecolor=HATCH, hatch="////", label="unknown: no point within reach"),
        point,
        sensor,
    ]

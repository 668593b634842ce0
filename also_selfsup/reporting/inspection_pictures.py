"""Before a long run: what was read, as pictures: distributions, classes, and one scan as its sensor saw it.

n points of one scan, C classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from also_selfsup.data.examination import INTENSITY_EDGES, RANGE_EDGES
from also_selfsup.data.scan import Scan
from also_selfsup.reporting.curves import STYLES
from also_selfsup.reporting.inspection import Split, total
from also_selfsup.reporting.pictures import save

REACH = 50.0  # metres around the sensor that the example shows from above
SIDE = (25.0, 5.0)  # metres before and behind the sensor, and below and above it, from the side
BINS = 40


def distribution_picture(splits: Sequence[Split], path: Path) -> Path:
    """Draw points a scan, distances, intensities and reading times, each as shares within its split.

    Args:
        splits: At least one with a sound scan.
        path: PNG to write.

    Returns:
        The path written.
    """
    figure = Figure(figsize=(10.4, 7.0), layout="constrained")
    sizes, ranges, strengths, times = figure.subplots(2, 2).flat
    splits = [split for split in splits if split.sound]
    counts = [np.array([scan.count for scan in split.sound]) for split in splits]
    seconds = [1e3 * np.array([scan.seconds for scan in split.sound]) for split in splits]
    for number, split in enumerate(splits):
        _draw_sums(ranges, total(split.sound, "range_counts"), RANGE_EDGES, number, split.name)
        _draw_sums(strengths, total(split.sound, "intensity_counts"), INTENSITY_EDGES, number, split.name)
    for axes, values in ((sizes, counts), (times, seconds)):
        edges = np.histogram_bin_edges(np.concatenate(values), bins=BINS)
        for number, (split, own) in enumerate(zip(splits, values, strict=True)):
            _draw_sums(axes, np.histogram(own, edges)[0], edges, number, split.name)
    _finish(sizes, "Points of a scan", "points", "% of the scans")
    _finish(
        ranges,
        "Distance of the points from the sensor",
        "metres; all beyond 200 in the last",
        "% of the points",
    )
    _finish(strengths, "Intensity of the points", "scaled to 0 to 1", "% of the points")
    _finish(times, "Time of one read", "milliseconds", "% of the scans")
    ranges.set_xlim(0, _last_used(splits))
    strengths.set_yscale("symlog", linthresh=1.0)
    return save(figure, path)


def label_picture(splits: Sequence[Split], path: Path) -> Path:
    """Draw the share of each class among the labelled points, on a logarithmic axis, a bar a split.

    Args:
        splits: With labels, at least one with a sound scan.
        path: PNG to write.

    Returns:
        The path written.
    """
    splits = [split for split in splits if split.sound and split.dataset is not None]
    names = splits[0].dataset.class_names[1:] if splits[0].dataset is not None else ()
    figure = Figure(figsize=(10.4, 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(splits)
    for number, split in enumerate(splits):
        counts = total(split.sound, "label_counts")
        if counts is not None:
            shares = 100 * counts[1:] / max(1, counts[1:].sum())
            places = np.arange(len(names)) + number * height
            axes.barh(places, shares, height=height, color=STYLES[number % len(STYLES)][0], label=split.name)
    axes.set_yticks(np.arange(len(names)) + height * (len(splits) - 1) / 2, names)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xlabel("% of the labelled points")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False)
    return save(figure, path)


def example_picture(scan: Scan, path: Path) -> Path:
    """Draw a scan from above, coloured by height, and from the side, with the origin of its rays.

    Args:
        scan: Of at least one point.
        path: PNG to write.

    Returns:
        The path written.
    """
    height, width = 2 * SIDE[1], 2 * SIDE[0]
    figure = Figure(figsize=(9.0, 8.2 + 9.0 * height / width), layout="constrained")
    above, side = figure.subplots(2, 1, height_ratios=[1, height / width])
    near = (np.abs(scan.pos[:, :2] - scan.sensor[:2]) < REACH).all(axis=1)
    pos = scan.pos[near] if near.any() else scan.pos
    low, high = np.quantile(pos[:, 2], [0.02, 0.98])
    dots = above.scatter(*pos[:, :2].T, c=pos[:, 2], s=0.8, cmap="viridis", vmin=low, vmax=high, linewidths=0)
    figure.colorbar(dots, ax=above, label="z (metres)")
    slab = pos[np.abs(pos[:, 1] - scan.sensor[1]) < 2.0]
    side.scatter(slab[:, 0], slab[:, 2], s=1.5, color="black", linewidths=0)
    _draw_rays(side, slab, scan.sensor)
    for axes, up, reach in ((above, 1, (REACH, REACH)), (side, 2, SIDE)):
        limits = [
            (scan.sensor[axis] - r, scan.sensor[axis] + r) for axis, r in zip((0, up), reach, strict=True)
        ]
        axes.plot(*scan.sensor[[0, up]], "^", markersize=11, color="#0b3c8c", markeredgecolor="white")
        axes.set(xlabel="x (metres)", aspect="equal", xlim=limits[0], ylim=limits[1])
    above.set_ylabel("y (metres)")
    side.set_ylabel("z (metres)")
    above.set_title("From above, coloured by height", loc="left", fontsize=11)
    side.set_title(
        "From the side: points within 2 m of the plane y = y of the sensor", loc="left", fontsize=11
    )
    return save(figure, path)


def _draw_rays(axes: Axes, pos: NDArray[np.float32], sensor: NDArray[np.float32]) -> None:
    """Forty rays: from a wrong origin they run through the ground."""
    for x, _, z in pos[:: max(1, len(pos) // 40)]:
        axes.plot([sensor[0], x], [sensor[2], z], color="#d55e00", linewidth=0.5, alpha=0.6)


def _draw_sums(
    axes: Axes, counts: NDArray[np.int64] | None, edges: NDArray[np.float64], number: int, name: str
) -> None:
    if counts is not None:
        colour, line, _ = STYLES[number % len(STYLES)]
        shares = 100 * counts / max(1, counts.sum())
        axes.stairs(shares, edges, color=colour, linestyle=line, linewidth=1.8, label=name)


def _finish(axes: Axes, title: str, horizontal: str, vertical: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _last_used(splits: Sequence[Split]) -> float:
    """The farthest edge below which there are points, metres."""
    counts = sum(c for split in splits if (c := total(split.sound, "range_counts")) is not None)
    return float(RANGE_EDGES[int(np.flatnonzero(counts).max()) + 1])

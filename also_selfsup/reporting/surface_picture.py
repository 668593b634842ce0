"""After pre-training: what the predicted surface looks like from above, beside what the lidar measured.

V vertices, N points, R rows and C columns of a picture. Metres in the sensor frame.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from also_selfsup.reporting.colours import Scale, height_scale, intensity_scale
from also_selfsup.reporting.pictures import UNKNOWN, save
from also_selfsup.reporting.region import Region
from also_selfsup.reporting.space import Space


def seen_from_above(
    pos: NDArray[np.float32], values: NDArray[np.float32], region: Region, *, cell: float
) -> NDArray[np.float32]:
    """The value of the highest place in each square of a region seen from above.

    Args:
        pos: (n, 3) metres, inside the region.
        values: (n,).
        region: Seen along z.
        cell: Edge of a square, metres.

    Returns:
        (R, C), the lowest y first; NaN where there is no place.
    """
    columns, rows = (max(1, round(region.shape[axis] * region.cell / cell)) for axis in range(2))
    order = np.argsort(pos[:, 2], kind="stable")  # of several writers to a square the last remains
    column = ((pos[order, 0] - region.low[0]) / cell).astype(np.int64).clip(0, columns - 1)
    row = ((pos[order, 1] - region.low[1]) / cell).astype(np.int64).clip(0, rows - 1)
    image = np.full((rows, columns), np.nan, np.float32)
    image[row, column] = values[order]
    return image


def surface_picture(space: Space, path: Path) -> Path:
    """Draw intensity, measured and predicted, and height, of points and surface, from above.

    Args:
        space: What was asked and answered.
        path: PNG to write; its folder is made.

    Returns:
        The path written.
    """
    scan, region, mesh = space.scan, space.region, space.mesh
    pos, strength = scan.pos[space.points], scan.intensities[space.points, 0]
    bright, high = intensity_scale(strength), height_scale(pos[:, 2])
    panels = (
        ("Intensity, measured by the lidar", pos, strength, bright),
        ("Intensity, predicted on the surface", mesh.vertices, space.intensity, bright),
        ("Height of the lidar's points", pos, pos[:, 2], high),
        ("Height of the predicted surface", mesh.vertices, mesh.vertices[:, 2], high),
    )
    width, depth = (region.shape[axis] * region.cell for axis in range(2))
    figure = Figure(figsize=(11, 0.8 + 9.2 * depth / width), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for place, (title, where, values, scale) in zip(axes.flat, panels, strict=True):
        cell = region.cell
        _draw(place, seen_from_above(where, values, region, cell=cell), scale=scale, region=region)
        place.set_title(title, loc="left", fontsize=11)
        right, up = scan.sensor[:2]
        place.plot([right], [up], marker="^", markersize=9, color="#0b3c8c", markeredgecolor="white")
    for row, label in enumerate(("intensity", "z (metres)")):
        image = axes[row, 1].images[0]
        figure.colorbar(image, ax=list(axes[row]), label=label, shrink=0.85)
    axes[0, 0].set_ylabel("y (metres)")
    axes[1, 0].set(xlabel="x (metres)", ylabel="y (metres)")
    axes[1, 1].set_xlabel("x (metres)")
    return save(figure, path)


def _draw(axes: Axes, image: NDArray[np.float32], *, scale: Scale, region: Region) -> None:
    low, high = region.low, region.high
    axes.set_facecolor(UNKNOWN)
    axes.imshow(
        image,
        cmap=scale.name,
        vmin=scale.low,
        vmax=scale.high,
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        interpolation="nearest",
    )
    axes.set_aspect("equal")

"""While a run is drawn: what the network said of the same scans at earlier epochs, kept, and side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from also_selfsup.data.scan import Scan
from also_selfsup.reporting.occupancy import Plane
from also_selfsup.reporting.pictures import EVEN, FREE, HATCH, OCCUPIED, SHADES, UNKNOWN, save
from also_selfsup.settings.whole_file import whole_file

COLUMNS = 4  # epochs that a strip shows at most
UNKNOWN_CODE = 255


def keep(folder: Path, epoch: int, *, number: int, answer: NDArray[np.float32]) -> Path:
    """Store a scan's answer (rows, columns) of an epoch in one byte a cell, fine enough for colours."""
    path = folder / f"occupancy_{number}_epoch_{epoch:05d}.npz"
    codes = np.where(np.isnan(answer), UNKNOWN_CODE, np.nan_to_num(answer) * 254).round().astype(np.uint8)
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, occupancy=codes)
    return path


def kept(folder: Path, *, number: int, last: int) -> dict[int, NDArray[np.float32]]:
    """A scan's answers by epoch, up to the epoch `last`: a resumed run has none of its future."""
    found = {}
    for path in sorted(folder.glob(f"occupancy_{number}_epoch_*.npz")):
        epoch = int(path.stem.rpartition("_")[2])
        if epoch <= last:
            with np.load(path, allow_pickle=False) as content:
                codes = content["occupancy"]
            found[epoch] = np.where(codes == UNKNOWN_CODE, np.nan, codes / np.float32(254)).astype(np.float32)
    return found


def spread(epochs: Sequence[int], count: int = COLUMNS) -> list[int]:
    """At most `count` of the epochs: the first, the last, and some evenly between."""
    places = np.linspace(0, len(epochs) - 1, min(count, len(epochs))).round().astype(int)
    return [epochs[place] for place in places]


def strip_picture(
    scans: Sequence[Scan],
    planes: Sequence[Plane],
    *,
    answers: Sequence[Mapping[int, NDArray[np.float32]]],
    path: Path,
) -> Path:
    """Draw each scan's row of epochs on the plane parallel to the ground.

    Args:
        scans: One a row.
        planes: Of each scan.
        answers: Of each scan, by epoch, counted from 0.
        path: PNG to write; its folder is made.

    Returns:
        The path written.
    """
    chosen = spread(sorted(set.intersection(*(set(one) for one in answers))))
    columns = max(len(chosen), COLUMNS - 1)  # few are not blown up
    figure = Figure(figsize=(10.0, 10.0 / columns * len(scans) + 0.9), layout="constrained")
    grid = figure.subplots(len(scans), columns, squeeze=False, sharex="row", sharey="row")
    for row, scan in enumerate(scans):
        for column, axes in enumerate(grid[row]):
            if column >= len(chosen):
                axes.set_visible(False)
                continue
            _draw(axes, planes[row], answer=answers[row][chosen[column]], scan=scan)
            if row == 0:
                axes.set_title(f"after epoch {chosen[column] + 1}", fontsize=10)
        grid[row][0].set_ylabel(f"scan {row + 1}: y (m)", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("x (m)", fontsize=9)
    states = {"free": FREE, "undecided": EVEN, "occupied": OCCUPIED}
    handles = [Patch(facecolor=c, edgecolor="black", linewidth=0.5, label=n) for n, c in states.items()]
    handles.append(Patch(facecolor=UNKNOWN, edgecolor=HATCH, hatch="////", label="unknown"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return save(figure, path)


def _draw(axes: Axes, plane: Plane, *, answer: NDArray[np.float32], scan: Scan) -> None:
    extent = (*plane.horizontal, *plane.vertical)
    axes.set_facecolor(UNKNOWN)
    axes.imshow(answer, cmap=SHADES, vmin=0, vmax=1, extent=extent, origin="lower", zorder=1)
    points = plane.near(scan.pos, 0.3)
    axes.plot(*points.T, linestyle="none", marker=".", markersize=0.8, color="black", zorder=2)
    axes.set(xlim=plane.horizontal, ylim=plane.vertical, aspect="equal")
    axes.tick_params(labelsize=8)

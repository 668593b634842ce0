"""Draw doc/images/overview.png: a simulated scan, its queries, the space they speak of, and the stations."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from also_selfsup.data.nuscenes import NuScenes
from also_selfsup.data.scan import Scan, collate
from also_selfsup.data.simulator import simulate
from also_selfsup.transforms.occupancy import generate_queries

INK, SOFT, LINE = "#1d232a", "#5b6670", "#c3cad1"
FREE, OCCUPIED, UNKNOWN, SENSOR = "#b9ddf5", "#b03a00", "#ececec", "#0b3c8c"
SIDE, CELL, SLAB = 15.0, 0.2, (-1.45, -0.75)  # metres: half a picture's edge; cells and heights of the third
AZIMUTH, WIDTH, DELTA = 121.5, 0.9, 0.3  # degrees, degrees, metres: the slice of the second picture
CENTRED, BOX, CHEVRON = {"ha": "center", "va": "center"}, "round,pad=0,rounding_size=0.1", "\u203a"
# Each group of stations: title and folders, colour, then the stations.
ROWS = (
    ("loader workers: only read\ndata/|#e3e7eb|file|scan|batch\nof scans",
     "on the device, a whole batch at once\ntransforms/|#cfe5f5|decimate|"
     "draw\nqueries|thin|turn,\nmirror|inputs|voxels"),
    ("pre-training, without labels\nsparseconv/  networks/  losses/  training/|#fbe3cf|backbone|"
     "decoder|losses|scores,\nlogs|check-\npoint",
     "afterwards, with few labels\ncheckpoints/  training/  evaluation/|#dcebd6|"
     "convert|fine-tune|predict\nall points|score"),
)  # fmt: skip


def draw_scan(axes: Axes, scan: Scan) -> None:
    """From above."""
    axes.scatter(*scan.pos.T[:2], c=scan.pos[:, 2].clip(-2, 2), s=1.2, cmap="cividis", linewidths=0)


def draw_queries(axes: Axes, scan: Scan) -> None:
    """A vertical slice: some rays, and the queries along them."""
    batch = collate([scan])
    turn = torch.rad2deg(torch.atan2(batch["pos"][:, 1], batch["pos"][:, 0]))
    depth = batch["pos"][:, :2].norm(dim=1)
    kept = ((turn - AZIMUTH).abs() < WIDTH) & (depth > 2) & (depth < 9)
    part = {key: batch[key][kept] for key in ("pos", "intensities", "batch")} | {"sensor": batch["sensor"]}
    found = generate_queries(part, count=150, distance=DELTA, generator=torch.Generator().manual_seed(4))
    queries, inside = found["pos_non_manifold"], found["occupancies"] == 1
    far = found["intensities_non_manifold"].flatten() < 0
    across, up = part["pos"][:, :2].norm(dim=1), part["pos"][:, 2]
    axes.plot([across * 0, across], [up * 0, up], color=LINE, linewidth=0.7, zorder=1)
    for pos, marker, colour, size, label in (
        (queries[far], "o", "#7fb8e0", 26, "anywhere on the way: free"),
        (queries[~inside & ~far], "D", "#1f6fb2", 26, "just before: free"),
        (queries[inside], "s", OCCUPIED, 26, "just behind: occupied"),
        (part["pos"], "o", "black", 9, "return of the lidar"),
    ):
        axes.scatter(pos[:, :2].norm(dim=1), pos[:, 2], marker=marker, color=colour, s=size, label=label)
    for x, z, words in ((2.75, -0.13, "from the sensor"), (4.2, -2.35, "road"), (5.9, -1.2, "car")):
        axes.text(x, z, words, fontsize=11, color=SOFT)
    axes.set(xlim=(2.6, 6.9), ylim=(-2.7, 1.6))
    axes.legend(loc="upper left", fontsize=11, frameon=False, handletextpad=0.2, labelspacing=0.3)


def draw_space(axes: Axes, scan: Scan) -> None:
    """What the rays of the whole scan tell of a horizontal slab."""
    rays = scan.pos[np.linalg.norm(scan.pos, axis=1) > 2]
    free = rays[:, None] * np.arange(0.02, 1, 0.004, dtype=np.float32)[:, None]
    behind = rays * (1 + 0.25 / np.linalg.norm(rays, axis=1, keepdims=True))
    edges, states = np.arange(-SIDE, SIDE + CELL, CELL), 0
    for state, pos in ((1, free.reshape(-1, 3)), (2, np.concatenate([rays, behind]))):
        level = pos[(pos[:, 2] > SLAB[0]) & (pos[:, 2] < SLAB[1])]
        counts, _, _ = np.histogram2d(level[:, 1], level[:, 0], bins=(edges, edges))
        states = np.where(counts > 0, state, states)
    colours = {"unknown": UNKNOWN, "free": FREE, "occupied": OCCUPIED}
    shades, extent = ListedColormap(list(colours.values())), (-SIDE, SIDE, -SIDE, SIDE)
    axes.imshow(states, shades, extent=extent, origin="lower", interpolation="none")
    handles = [Patch(facecolor=colour, edgecolor=LINE, label=name) for name, colour in colours.items()]
    axes.legend(handles=handles, loc="lower right", fontsize=11, framealpha=0.95, labelspacing=0.3)


def draw_stations(axes: Axes) -> None:
    """The boxes, in the order of the data's way."""
    axes.set(xlim=(0, 9.35), ylim=(0, 3.45), xticks=(), yticks=(), frame_on=False)
    for low, groups in zip((1.9, 0.05), ROWS, strict=True):
        left = 0.09
        for title, colour, *names in (group.split("|") for group in groups):
            axes.text(left, low + 0.88, title, fontsize=11.5, color=SOFT, va="bottom", linespacing=1.35)
            for name in names:
                axes.add_patch(FancyBboxPatch((left, low), 0.86, 0.76, boxstyle=BOX, fc=colour, ec="none"))
                axes.text(left + 0.43, low + 0.38, name, fontsize=12, color=INK, **CENTRED)
                axes.text(left + 0.93, low + 0.4, "" if name == "score" else CHEVRON, fontsize=17, **CENTRED)
                left += 1.0
            left += 0.2


PICTURES = {
    draw_scan: "1  A scan|Seen from above; light is high. No label is used.",
    draw_queries: "2  What its rays tell|Queries, where the network is asked; near ones\ndrawn too far from "
    "their return, to be seen.",
    draw_space: "3  Free, occupied, unknown|The same from above, at the height of cars.\nThe network learns "
    "to tell one from the other.",
}


def main() -> None:
    """Draw."""
    with TemporaryDirectory() as root:
        simulate(root, scenes={"val": 2}, frames_per_scene=2, seed=0)
        scan = NuScenes(root, "val")[2]
    figure = Figure(figsize=(12, 8.7), facecolor="white")
    place = {"left": 0.01, "right": 0.99, "wspace": 0.04, "bottom": 0.51, "top": 0.965}
    for axes, (draw, words) in zip(figure.subplots(1, 3, gridspec_kw=place), PICTURES.items(), strict=True):
        title, note = words.split("|")
        axes.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal", xticks=(), yticks=())
        axes.set_title(title, loc="left", fontsize=13, color=INK, weight="bold")
        axes.set_xlabel(note, loc="left", fontsize=11, color=SOFT, linespacing=1.35)
        axes.plot(0, 0, marker="^", markersize=10, color=SENSOR, markeredgecolor="white", zorder=3)
        axes.spines[:].set_color(LINE)
        draw(axes, scan)
    draw_stations(figure.add_axes((0.0, 0.01, 1.0, 0.42)))
    figure.savefig(Path(__file__).parent / "images" / "overview.png", dpi=150)


if __name__ == "__main__":
    main()

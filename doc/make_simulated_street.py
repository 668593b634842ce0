"""Draw doc/images/simulated_street.png: a simulated scan, and its statistics over those of real scans.

`--real` is a root of nuScenes. The picture holds statistics of real scans, never their points, which may
not be passed on; `--side-by-side` draws a real scan beside the simulated one, to look at only.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from also_selfsup.data.simulator.kinds import Kind
from also_selfsup.data.simulator.nuscenes_writer import points
from also_selfsup.data.simulator.scene import Frame, make_scene
from also_selfsup.data.simulator.sensors import SENSORS

COLOURS = plt.get_cmap("gist_ncar")(np.arange(len(Kind)) * 10 % len(Kind) / len(Kind) * 0.9 + 0.03)


def scan(seed: int) -> Frame:
    """A scan out of the scene of a seed."""
    return make_scene(SENSORS["hdl32e"], seed=(seed, 0), duration=10).scan(3.0, 6)


def view(axes: Axes, rows: NDArray, *, title: str, kind: NDArray | None = None, side: bool = False) -> None:
    """Points beyond the vehicle from above, or those within 12 m of the driving line from its right."""
    colour = plt.get_cmap("turbo")(np.minimum(rows[:, 3], 60) / 60) if kind is None else COLOURS[kind]
    shown = (np.linalg.norm(rows[:, :3], axis=1) > 2.5) & ((np.abs(rows[:, 0]) < 12) | (not side))
    first, second = rows[shown][:, [1, 2] if side else [0, 1]].T
    axes.scatter(first, second, c=colour[shown], s=1.6, linewidths=0)
    axes.set(xlim=(-45, 45), ylim=(-3.5, 9) if side else (-45, 45), aspect="equal", title=title, xlabel="m")


def neighbours(rows: NDArray) -> NDArray:
    """Number of occupied cells of 0.1 m among the 27 around each cell."""
    weights = np.array([10**8, 10**4, 1])
    keys = np.unique(np.round(rows[:, :3] / 0.1).astype(np.int64) + 5000, axis=0) @ weights
    steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3), axis=-1).reshape(-1, 3) @ weights
    return np.isin(keys[:, None] + steps, keys).sum(1)


def compare(panels: list[Axes], scans: dict[str, list[NDArray]]) -> None:
    """Histograms of simulated and real scans over each other."""
    for name, chosen in scans.items():
        rows = np.concatenate(chosen)
        distance = np.linalg.norm(rows[:, :3], axis=1)
        far = rows[distance > 2.5]
        measures = {
            "range (m)": (distance, np.geomspace(0.1, 105, 60)),
            "height (m)": (far[:, 2], np.linspace(-4, 12, 80)),
            "intensity": (far[:, 3], np.arange(0, 257, 4)),
            "ring of points beyond 2.5 m": (far[:, 4], np.arange(-0.5, 32)),
            "occupied cells of 27 (0.1 m)": (
                np.concatenate([neighbours(one) for one in chosen]),
                np.arange(17),
            ),
        }
        for axes, (title, (values, bins)) in zip(panels, measures.items(), strict=True):
            axes.hist(values, bins=bins, histtype="step", density=True, label=f"{name}, {len(chosen)} scans")
            axes.set(title=title)
    panels[0].set(xscale="log")
    panels[0].legend(fontsize=8)
    for axes in panels[1:3]:
        axes.set(yscale="log")


def draw(out: Path, frame: Frame, *, scans: dict[str, list[NDArray]]) -> None:
    """The picture for doc/."""
    figure, rows = plt.figure(figsize=(17, 15.5), layout="constrained"), points(frame)
    grid = figure.add_gridspec(4, 10, height_ratios=(8, 1.9, 1.1, 2.8))
    top = figure.add_subplot(grid[0, :5])
    view(top, rows, kind=frame.kind, title="simulated HDL-32E scan, by class")
    for kind in (kind for kind in list(Kind)[2:] if (frame.kind == kind).sum() > 5):
        top.scatter([], [], color=COLOURS[kind], label=kind.name.lower().replace("_", " "))
    top.legend(loc="upper left", fontsize=7, ncols=2)
    view(figure.add_subplot(grid[0, 5:]), rows, title="by intensity (0 to 60)")
    view(figure.add_subplot(grid[1, :]), rows, kind=frame.kind, title="12 m to either side", side=True)
    image = np.where(frame.kind == Kind.NOTHING, np.nan, np.log(np.linalg.norm(frame.pos, axis=1) + 0.1))
    axes = figure.add_subplot(grid[2, :], title="range image (white: no return)", xticks=[], yticks=[])
    axes.imshow(image.reshape(-1, 32).T[::-1], aspect="auto", cmap="turbo", interpolation="nearest")
    compare([figure.add_subplot(grid[3, 2 * place : 2 * place + 2]) for place in range(5)], scans)
    figure.savefig(out, dpi=72)


def main() -> None:
    """Draw what the command line asks for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "images" / "simulated_street.png"
    )
    options.add_argument("--real", type=Path)
    options.add_argument("--side-by-side", type=Path)
    options.add_argument("--seed", type=int, default=9)
    chosen = options.parse_args()
    frame, scans = scan(chosen.seed), {"simulated": [points(scan(seed)) for seed in range(14)]}
    if chosen.real:
        files = sorted((chosen.real / "samples" / "LIDAR_TOP").glob("*.pcd.bin"))[::3]
        scans["real"] = [np.fromfile(file, np.float32).reshape(-1, 5) for file in files]
    draw(chosen.out, frame, scans=scans)
    if chosen.side_by_side:
        figure, axes = plt.subplots(2, 2, figsize=(18, 13), height_ratios=(5, 1), layout="constrained")
        for column, (name, rows) in enumerate({"simulated": points(frame), "real": scans["real"][0]}.items()):
            view(axes[0, column], rows, title=name)
            view(axes[1, column], rows, title=name, side=True)
        figure.savefig(chosen.side_by_side, dpi=72)


if __name__ == "__main__":
    main()

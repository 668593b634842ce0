"""Train for thousands of small steps on a CPU, and see that nothing grows: memory, open files, time a step.

The run is an ordinary one, with persistent loader processes, logs, TensorBoard, validation and checkpoints;
a callback looks at the process now and then. Two short runs of one seed, and one of another, follow.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from also_selfsup.data.simulator import simulate
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.terminal import set_up_terminal
from also_selfsup.training.datamodule import LidarDataModule
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.runs import open_run
from also_selfsup.training.trainer import build_trainer, fit

TINY = [
    "cfg.manifold_points=60",
    "cfg.non_manifold_points=30",
    "cfg.transforms.grid_size=1.5",
    "cfg.network.backbone=SPVCNN0p5",
    "cfg.network.voxel_size=1.5",
    "cfg.network.latent_size=8",
    "cfg.network.radius=2",
    "cfg.training.batch_size=1",
    "cfg.trainer.limit_val_batches=2",
    "cfg.val_interval=2",
    "cfg.threads=1",
    "cfg.logging.progress_bar=false",
    "cfg.trainer.accelerator=cpu",
]
EVERY = 25  # steps between two looks
WARM = 0.2  # share of the run before growth is measured: caches and pools fill first
MEBIBYTE = 2**20
# What still counts as none: an allocator's pools move by a few MiB.
MOST_GROWTH, MOST_SLOWER = 4.0, 0.1  # MiB per 1000 steps; share from the second fifth to the last


@dataclass
class Looks:
    """What was seen so far, one entry a look."""

    steps: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # resident, MiB
    files: list[int] = field(default_factory=list)  # open handles
    children: list[tuple[str, ...]] = field(default_factory=list)  # process ids
    child_memory: list[float] = field(default_factory=list)  # of all of them, MiB
    milliseconds: list[float] = field(default_factory=list)  # CPU time a step of the main process, median

    def take(self, step: int, seconds: list[float]) -> None:
        """Look at this process and its children."""
        self.steps.append(step)
        self.memory.append(resident("self"))
        self.files.append(len(os.listdir("/proc/self/fd")))
        pid = os.getpid()
        self.children.append(tuple(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        self.child_memory.append(sum(map(resident, self.children[-1])))
        self.milliseconds.append(1000 * statistics.median(seconds))


def resident(pid: str) -> float:
    """Resident memory of a process, MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / MEBIBYTE


class Watch(Callback):
    """Looks at the process every so many steps; time is the process's own, as others share the machine."""

    def __init__(self, looks: Looks, progress: Progress | None = None, *, total: int = 0) -> None:
        self.looks, self.progress = looks, progress
        self.task = progress.add_task("steps", total=total) if progress else None
        self.seconds: list[float] = []
        self.start = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.start = time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.seconds.append(time.process_time() - self.start)
        if trainer.global_step % EVERY == 0:
            self.looks.take(trainer.global_step, self.seconds)
            self.seconds = []
            if self.progress and self.task is not None:
                self.progress.update(self.task, completed=trainer.global_step)


def train(settings: Settings, watch: Watch) -> PretrainingModule:
    """Pre-train as the script does, with a watch."""
    run = open_run(settings, "Pretraining", settings.name)
    data, module = LidarDataModule(settings, labels=False), PretrainingModule(settings)
    epochs = settings.training.max_epochs
    trainer = build_trainer(
        settings, run.folder, epochs=epochs, val_interval=settings.val_interval, monitor="val/iou"
    )
    trainer.callbacks.insert(0, watch)
    fit(trainer, module, data, run)
    return module


def growth(steps: list[int], values: list[float]) -> float:
    """Slope per 1000 steps after the warm-up, by least squares."""
    first = int(WARM * len(steps))
    return 1000 * float(np.polyfit(steps[first:], values[first:], 1)[0])


def slowdown(milliseconds: list[float]) -> float:
    """How much longer the last fifth's median step takes than that of the second fifth, as a share."""
    fifth = max(len(milliseconds) // 5, 1)
    return statistics.median(milliseconds[-fifth:]) / statistics.median(milliseconds[fifth : 2 * fifth]) - 1


def draw(looks: Looks, path: Path) -> None:
    """Memory, open files and time against steps."""
    figure = Figure(figsize=(7.5, 5), dpi=90, layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    for values, name in ((looks.memory, "training process"), (looks.child_memory, "loader processes")):
        axes[0].plot(looks.steps, values, label=name, linewidth=1)
    axes[0].legend(frameon=False)
    axes[1].plot(looks.steps, looks.files, linewidth=1)
    axes[2].plot(looks.steps, looks.milliseconds, linewidth=1)
    for axis, label in zip(axes, ("memory, MiB", "open files", "step, ms of CPU"), strict=True):
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[2].set_xlabel("optimiser steps")
    figure.savefig(path)


def growths(looks: Looks, weights: list[torch.Tensor]) -> dict[str, tuple[float, float]]:
    """What grew, and the most that it may; how weights of two runs of a seed and one of another compare."""
    return {
        "memory, MiB per 1000 steps": (growth(looks.steps, looks.memory), MOST_GROWTH),
        "memory of loaders, MiB per 1000 steps": (growth(looks.steps, looks.child_memory), MOST_GROWTH),
        "open files from the second fifth to the end": (
            looks.files[-1] - max(looks.files[len(looks.files) // 5 : 2 * len(looks.files) // 5]),
            0,
        ),
        "step time, share": (slowdown(looks.milliseconds), MOST_SLOWER),
        "loader processes begun anew": (
            len(set(looks.children[1:])) - 1,
            1,
        ),  # those of validation come later
        "weights of one seed that differ": (int((weights[0] != weights[1]).sum()), 0),
        "other seed, same weights": (int(torch.equal(weights[0], weights[2])), 0),
    }


def main() -> None:
    """Run, print, draw; end with the number of things that grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 steps: does it run, not what it says")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--plot", type=Path, help="picture to write, such as doc/images/long_run.png")
    options = parser.parse_args()
    steps = 200 if options.quick else options.steps
    scans = 25 if options.quick else 250
    set_up_terminal()
    torch.set_num_threads(1)
    looks = Looks()
    with tempfile.TemporaryDirectory() as name, Progress() as progress:
        folder = Path(name)
        scenes = {"train": 1, "verifying": 1}
        data = simulate(folder / "street", scenes=scenes, frames_per_scene=scans, azimuth_steps=48, seed=3)
        places = [f"cfg.dataset_root={data}", f"cfg.save_dir={folder / 'results'}"]
        long = load("nuscenes", [*TINY, *places, f"cfg.training.max_epochs={steps // scans}"])
        train(long, Watch(looks, progress, total=steps))
        short = ["cfg.training.max_epochs=1", "cfg.trainer.limit_train_batches=20"]
        weights = [
            torch.nn.utils.parameters_to_vector(
                train(
                    load("nuscenes", [*TINY, *places, *short, f"cfg.seed={seed}"]), Watch(Looks())
                ).parameters()
            )
            for seed in (1, 1, 2)
        ]
    found = growths(looks, weights)
    table = Table("growth of", "found", "at most", title=f"{looks.steps[-1]} steps")
    for what, (value, most) in found.items():
        table.add_row(what, f"{value:.3g}", f"{most:g}")
    Console().print(table)
    Console().print(
        f"memory {looks.memory[len(looks.memory) // 5]:.0f} to {looks.memory[-1]:.0f} MiB, open files "
        f"{looks.files[-1]}, step {statistics.median(looks.milliseconds):.1f} ms of CPU"
    )
    if options.plot:
        draw(looks, options.plot)
    sys.exit(0 if options.quick else sum(value > most for value, most in found.values()))


if __name__ == "__main__":
    main()

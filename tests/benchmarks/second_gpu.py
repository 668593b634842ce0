"""Pre-training with SECOND at its real sizes, by the script's own function: scans a second and peak memory.

Not among the benchmarks of `run_all.py`: it needs a GPU, and a data set in the layout of the recipe. In
nuScenes' layout, scans of an HDL-64E are simulated where there are none:

    python tests/benchmarks/second_gpu.py /tmp/streets --simulate 160
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from also_selfsup import train_selfsupervised
from also_selfsup.data.scan import Batch
from also_selfsup.data.simulator import simulate
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.training.pretraining import PretrainingModule

# Steps before the clock starts: kernels are compiled and chosen, loaders begin.
WARM_UP = 10


class TimedModule(PretrainingModule):
    """The pre-training module with a clock; the device is waited for at both ends only."""

    last: "TimedModule"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        TimedModule.last = self
        self.warm_up = min(WARM_UP, max(settings.trainer.max_steps // 4, 1))
        self.voxels: list[int] = []
        self.pairs: list[int] = []
        self.ends: list[float] = []  # of each step, as the host sees them
        self.starts: set[int] = set()  # first steps of epochs, which wait for the loaders
        self.scans, self.begin, self.end = 0, 0.0, 0.0

    def predict(self, batch: Batch, generator: torch.Generator, *, training: bool) -> dict[str, Any]:
        """As ever; sizes are known to the host."""
        fields = super().predict(batch, generator, training=training)
        self.voxels.append(len(fields["voxel_x"]))
        self.pairs.append(len(fields["pair_query"]))
        return fields

    def on_train_epoch_start(self) -> None:
        """Remember where an epoch begins."""
        self.starts.add(len(self.ends))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Read the clock."""
        steps = len(self.ends) + 1
        if steps == self.warm_up or steps == self.settings.trainer.max_steps:
            self._wait()
        if steps > self.warm_up:
            self.scans += len(batch["names"])
        self.ends.append(time.perf_counter())
        if steps == self.warm_up:
            self.begin = self.ends[-1]
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
        self.end = self.ends[-1]

    def intervals(self) -> list[float]:
        """Seconds of each step after the warm-up that is no epoch's first."""
        steps = range(self.warm_up, len(self.ends))
        return [self.ends[step] - self.ends[step - 1] for step in steps if step not in self.starts]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def settings_of(options: argparse.Namespace, folder: str) -> Settings:
    """The recipe, on the data set given, for so many steps."""
    return load(
        options.recipe,
        [
            f"cfg.dataset_root={options.root}",
            f"cfg.save_dir={folder}",
            f"cfg.trainer.max_steps={options.steps}",
            f"cfg.training.max_epochs={options.steps}",
            "cfg.trainer.limit_val_batches=0",
            "cfg.logging.tensorboard=false",
            "cfg.logging.progress_bar=false",
            *options.overrides,
        ],
    )


def table_of(module: TimedModule, settings: Settings) -> Table:
    """What was measured."""
    steps, scans = module.intervals(), settings.training.batch_size
    device = module.device
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    table = Table(
        "what", "value", title=f"{settings.name}, {len(module.ends)} steps of {scans} scans, {name}"
    )
    table.add_row("scans/s, everything", f"{module.scans / (module.end - module.begin):.1f}")
    if steps:
        table.add_row("scans/s, median step", f"{scans / statistics.median(steps):.1f}")
        table.add_row("ms, median step", f"{1e3 * statistics.median(steps):.1f}")
    table.add_row("voxels a step", f"{statistics.mean(module.voxels):.0f}")
    table.add_row("pairs a step", f"{statistics.mean(module.pairs):.0f}")
    if device.type == "cuda" or torch.cuda.is_available():
        table.add_row("peak GiB", f"{torch.cuda.max_memory_allocated() / 2**30:.2f}")
        table.add_row("reserved GiB", f"{torch.cuda.max_memory_reserved() / 2**30:.2f}")
    return table


def main() -> None:
    """Simulate if asked for, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--recipe", default="nuscenes_second_kitti")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--simulate", type=int, metavar="SCANS", help="simulate so many, in nuScenes' layout")
    parser.add_argument(
        "--azimuth-steps", type=int, help="columns of the simulated sensor; fewer are quicker"
    )
    parser.add_argument("overrides", nargs="*", metavar="cfg.key=value")
    options = parser.parse_intermixed_args()
    if options.simulate:
        simulate(
            options.root,
            scenes={"train": -(-options.simulate // 10), "verifying": 1},
            frames_per_scene=min(options.simulate, 10),
            sensor="hdl64e",
            azimuth_steps=options.azimuth_steps,
            workers=os.cpu_count() or 1,
        )
    train_selfsupervised.PretrainingModule = TimedModule  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(options, folder)
        train_selfsupervised.pretrain(settings)
    module = TimedModule.last
    if len(module.ends) <= module.warm_up:
        sys.exit(f"{len(module.ends)} steps only: the data set is too small, or --steps is")
    Console().print(table_of(module, settings))


if __name__ == "__main__":
    main()

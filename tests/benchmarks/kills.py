"""Kill a run at random moments until it is done, and hold it against the one that nobody disturbed.

Every death is by SIGTERM or SIGKILL to the whole process group, loader processes included. After each, all
checkpoints of the run must be whole; at the end, weights, optimiser and figures must be those of the unbroken
run, bit by bit. `--json FILE` keeps the counts.
"""

import argparse
import csv
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from also_selfsup.checkpoints.reading import read_checkpoint
from also_selfsup.data.simulator import simulate
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.terminal import set_up_terminal
from also_selfsup.train_selfsupervised import pretrain

TINY = [
    "cfg.manifold_points=150",
    "cfg.non_manifold_points=60",
    "cfg.transforms.grid_size=0.8",
    "cfg.network.backbone=SPVCNN0p5",
    "cfg.network.voxel_size=0.8",
    "cfg.network.latent_size=8",
    "cfg.network.radius=2",
    "cfg.training.batch_size=2",
    "cfg.val_interval=2",
    "cfg.trainer.limit_val_batches=2",
    "cfg.logging.tensorboard=false",
    "cfg.logging.progress_bar=false",
    "cfg.trainer.accelerator=cpu",
]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["also_selfsup.train_selfsupervised"])


def work(settings: Settings) -> None:
    """A run as a job manager sees it: a process group of its own. One thread, for sums in one order."""
    os.setpgrp()
    multiprocessing.set_start_method("fork", force=True)  # of loader processes, as outside of this script
    set_up_terminal()
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = Path(os.environ.get("KILLS_LOG", os.devnull)).open("a")
    pretrain(settings)


def live(settings: Settings, *, after: float | None = None, by: int = signal.SIGKILL) -> int:
    """Run, perhaps until a signal comes after some seconds; the status of the process."""
    process = FORKS.Process(target=work, args=(settings,))
    process.start()
    process.join(after)
    if process.is_alive() and process.pid is not None:
        try:
            os.killpg(process.pid, by)
        except ProcessLookupError:  # it has not become a group yet
            os.kill(process.pid, by)
    process.join()
    return process.exitcode or 0


def figures(folder: Path) -> list[dict[str, str]]:
    """Rows of both logs, without what is measured in seconds."""
    rows = []
    for stage in ("train", "val"):
        with (folder / f"logs_{stage}.csv").open() as file:
            rows += list(csv.DictReader(file))
    measured = ("scans_per_second", "seconds")
    return [{key: value for key, value in row.items() if key not in measured} for row in rows]


def same(one: Any, other: Any) -> bool:
    """Whether two contents of checkpoints are equal, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def differences(unbroken: Path, broken: Path) -> list[str]:
    """What is not the same in two run folders."""
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "epoch_so_far")
    one, other = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (unbroken, broken))
    found = [part for part in parts if not same(one[part], other[part])]
    bests = (folder / "best.ckpt" for folder in (unbroken, broken))
    best = [torch.load(path, weights_only=True)["state_dict"] for path in bests]
    found += [] if same(*best) else ["best.ckpt"]
    return found + ([] if figures(unbroken) == figures(broken) else ["rows of the logs"])


class Trial:
    """Lives of runs that are killed, and what was counted."""

    def __init__(self, folder: Path, *, scans: int, epochs: int, seed: int) -> None:
        self.folder, self.random, self.counts = folder, random.Random(seed), Counter[str]()
        self.data = simulate(
            folder / "street",
            scenes={"train": 1, "verifying": 1, "val": 1},
            frames_per_scene=scans,
            azimuth_steps=64,
            seed=3,
        )
        self.epochs = epochs
        start = time.monotonic()
        assert live(self.settings("unbroken")) == 0
        self.seconds = time.monotonic() - start
        self.problems: list[str] = []

    def settings(self, name: str, *more: str) -> Settings:
        """Of a run below a folder of this name."""
        places = [f"cfg.dataset_root={self.data}", f"cfg.save_dir={self.folder / name}"]
        splits = ["cfg.train_split=train", f"cfg.training.max_epochs={self.epochs}", "cfg.threads=0"]
        return load("nuscenes", [*TINY, *splits, *places, *more])

    def run(self, name: str, *, most_deaths: int) -> None:
        """One run until it is done, killed at most so often."""
        deaths, status = 0, -1
        more = [f"cfg.threads={self.random.choice((0, 1))}"]
        more += [f"cfg.checkpoint_steps={self.random.choice((1, 2, 3))}", "cfg.resume=auto"]
        while status != 0:
            by = self.random.choice((signal.SIGTERM, signal.SIGKILL))
            after = self.random.uniform(0.05, 0.6) * self.seconds if deaths < most_deaths else None
            start = time.monotonic()
            status = live(self.settings(name, *more), after=after, by=by)
            if status == 0 and after is not None:  # it came too late: the machine is faster by now
                self.seconds = min(self.seconds, time.monotonic() - start)
            deaths += status != 0
            self.counts[f"died by {by.name}" if status else "finished"] += 1
            if status not in (0, -by, 128 + by):
                self.problems.append(f"{name}: status {status} after {by.name}")
                return
            self.read_all(name)
        found = differences(*(self.place(which) for which in ("unbroken", name)))
        self.problems += [f"{name}: differs in {', '.join(found)}"] if found else []

    def read_all(self, name: str) -> None:
        """Every checkpoint that is there must be whole."""
        for path in sorted((self.folder / name).rglob("*.ckpt")):
            if "state_dict" not in read_checkpoint(path):
                self.problems.append(f"{path}: not whole")
            self.counts["checkpoints read whole"] += 1

    def place(self, name: str) -> Path:
        """Folder of the newest run below a name; one that died before its first checkpoint is begun anew."""
        versions = (self.folder / name / "Pretraining" / "nuscenes").glob("version_*")
        return max(
            versions, default=self.folder, key=lambda folder: int(folder.name.removeprefix("version_"))
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a run at random moments.")
    parser.add_argument("--quick", action="store_true", help="four kills of one run")
    parser.add_argument("--kills", type=int, default=200, help="how many at least")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="file for the counts")
    options = parser.parse_args()
    wanted = 4 if options.quick else options.kills
    console = Console()
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        epochs = 2 if options.quick else 4
        trial = Trial(Path(folder), scans=6 if options.quick else 12, epochs=epochs, seed=options.seed)
        task = progress.add_task("kills", total=wanted)
        life = 0
        while (deaths := sum(trial.counts[f"died by {name}"] for name in ("SIGTERM", "SIGKILL"))) < wanted:
            progress.update(task, completed=deaths)
            trial.run(f"broken_{life}", most_deaths=min(8, wanted - deaths))
            life += 1
        progress.update(task, completed=deaths)
    for what, count in trial.counts.items():
        console.print(f"{count:6d} {what}")
    for problem in trial.problems:
        console.print(problem, style="red")
    if options.json:
        options.json.write_text(json.dumps({**trial.counts, "problems": trial.problems}))
    sys.exit(len(trial.problems))


if __name__ == "__main__":
    main()

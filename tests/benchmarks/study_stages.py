"""For label_efficiency_gpu.py: the stages of the experiment, each resumed where it stopped."""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from study_commands import Command, Commands

from also_selfsup.checkpoints.convert import convert
from also_selfsup.checkpoints.reading import read_checkpoint
from also_selfsup.data.simulator.once import Simulation
from also_selfsup.training.epoch_log import read_log

# Rather no run than one on a CPU, or without recorded passes.
GPU_SETTINGS = ["cfg.trainer.accelerator=gpu", "cfg.trainer.cuda_graphs=true"]
QUICK_SETTINGS = """
cfg.manifold_points=400 cfg.non_manifold_points=120 cfg.transforms.grid_size=0.4 cfg.network.voxel_size=0.4
cfg.network.latent_size=16 cfg.downstream.batch_size=2 cfg.trainer.accelerator=cpu
""".split()
# Share of the minutes left that pre-training has by default.
SHARE = 0.45
# Seconds that a stopping command has for the rest of its epoch, and that are kept for the tables.
GRACE, TABLES = 15.0, 25.0


class Study:
    """The experiment in its folder: what is done, what is left, and the time there is."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console = options, console
        self.end = time.monotonic() + 60 * options.minutes
        self.folder: Path = options.folder.resolve()
        self.study = self.folder / "label_efficiency"
        self.tables: Path = (options.tables or options.folder).resolve()
        self.commands = Commands(self.tables, console)
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.gpus = (given.split(",") if given else [str(n) for n in range(options.gpus)])[: options.gpus]
        if not options.quick and torch.cuda.device_count() < options.gpus:
            sys.exit(f"--gpus {options.gpus}: there are {torch.cuda.device_count()} (--quick needs none).")

    @property
    def run(self) -> Path:
        """Folder of the pre-training: the newest that has a checkpoint, which is where it goes on."""
        found = self.folder.glob("results/Pretraining/nuscenes/version_*/last.ckpt")
        return max(found, key=lambda path: path.stat().st_mtime, default=self.folder / "none").parent

    @property
    def epochs_done(self) -> int:
        """Finished epochs of the pre-training."""
        return int(rows[-1]["epoch"]) + 1 if (rows := read_log(self.run / "logs_train.csv")) else 0

    @property
    def left(self) -> float:
        """Seconds of the time there is."""
        return self.end - time.monotonic()

    def weights(self, kind: str) -> Path | None:
        """The pre-trained start of a kind, `early` or `final`, once it was kept."""
        return next((self.folder / kind).glob("pretrained_*_epochs.ckpt"), None)

    def files(self) -> list[Path]:
        """Tables and logs that there are by now."""
        tables = [path for kind in ("md", "csv", "png") for path in self.study.glob(f"*.{kind}")]
        return [*tables, *self.run.glob("logs_*.csv")]

    def simulate(self) -> bool:
        """Streets, once, with all cores for them alone."""
        options, note = self.options, self.folder / "simulated"
        if not note.is_file():
            scenes = {"train": options.scenes, "verifying": options.held_out, "val": options.held_out}
            columns = 96 if options.quick else None
            simulation = Simulation(scenes, options.frames, seed=options.seed, azimuth_steps=columns)
            words = shlex.split(simulation.command(str(self.folder / "data")))[3:]
            words += [f"--workers={options.cores}", "--overwrite"]  # of one that was ended
            command = self.commands.start("simulate", "data.simulator", words, gpus=[])
            if not self.commands.wait(command, until=self.end):
                self.console.print("left: the simulation, which begins anew: give it more minutes.")
                return False
            note.touch()
        return True

    def pretrain(self) -> bool:
        """Pre-training for its share of the minutes; beside it, on other GPUs, fine-tunings from scratch."""
        options = self.options
        if self.weights("final") and options.stage == "all":
            return True
        early = options.early_epochs if not self.weights("early") else 0
        if early and self.epochs_done > early:
            sys.exit(f"--early-epochs {early}: {self.epochs_done} epochs are done already.")
        beside = self.start_finetuning("scratch", ["scratch"], self.gpus[1:]) if self.gpus[1:] else None
        share = self.left * (SHARE if options.stage == "all" else 1.0)
        share = share if options.pretrain_minutes is None else 60 * options.pretrain_minutes
        until = min(time.monotonic() + share, self.end - TABLES - 2 * GRACE)
        if early and self.train(early, until=until):
            self.keep("early")
        if time.monotonic() < until and self.epochs_done < options.epochs:
            self.train(options.epochs, until=until)
        if self.epochs_done:
            self.keep("final")
        else:
            self.console.print("left: the first epoch of pre-training; again, or more --pretrain-minutes.")
        if beside:
            self.commands.end(beside)  # what it has not finished goes on
        return self.epochs_done > 0

    def train(self, epochs: int, *, until: float) -> bool:
        """Pre-train to so many epochs, or until the time, probed on the way; whether they are done."""
        options, every = self.options, max(self.options.epochs // 5, 1)
        seconds = until - time.monotonic() - options.startup
        words = [f"cfg.training.max_epochs={epochs}", f"cfg.max_minutes={max(seconds / 60, 1e-6):.6f}"]
        words += [f"cfg.val_interval={every}", f"cfg.probes.interval={every}", "cfg.resume=auto"]
        words += [f"cfg.training.batch_size={options.batch_size}"]
        words += [f"cfg.threads={self.threads(1 + self.parallel(self.gpus[1:]))}"]
        command = self.commands.start(
            "pretrain", "train_selfsupervised", [*self.shared(), *words], gpus=self.gpus[:1]
        )
        # An epoch may be longer than what is left of the time: then it is stopped within.
        if not self.commands.wait(command, until=until + GRACE):
            self.commands.stop(command, seconds=GRACE)
        return self.epochs_done >= epochs

    def keep(self, kind: str) -> None:
        """Convert what the pre-training has, as a start of the comparison."""
        for place in (self.folder / "converted", self.folder / kind):
            place.mkdir(exist_ok=True)
        written = convert(self.run / "last.ckpt", out=self.folder / "converted")[0].path
        if (old := self.weights(kind)) is not None:
            old.unlink()
        target = self.folder / kind / f"pretrained_{int(written.stem[-3:])}_epochs.ckpt"
        written.replace(target)
        steps = read_checkpoint(target)["global_step"]
        self.console.print(f"{kind} weights: {target.stem}, {steps} steps")

    def starts(self) -> list[str]:
        """Of the comparison, as far as they are there."""
        found = {path.name: str(path) for kind in ("early", "final") if (path := self.weights(kind))}
        return ["scratch", *found.values()]

    def start_finetuning(
        self, name: str, starts: list[str], gpus: list[str], *, seconds: float | None = None
    ) -> Command:
        """Start all fine-tunings from these starts that are left, for all the time by default."""
        options, parallel = self.options, 1 if seconds == 0 else self.parallel(gpus)
        epochs = dict(part.split(":") for part in options.finetune_epochs.split(","))
        words = [f"fractions=[{','.join(epochs)}]", f"epochs={{{options.finetune_epochs}}}"]
        words += [f"seeds={options.seeds}", f"init=[{','.join(starts)}]", f"out={self.study}"]
        beside = int(name == "scratch")
        words += [f"parallel={parallel}", f"cfg.threads={self.threads(parallel + beside)}"]
        words += ["cfg.checkpoint_minutes=0.5"]  # it is ended without notice
        seconds = self.left - TABLES - options.startup if seconds is None else seconds
        words += [f"minutes={max(seconds / 60, 1e-6):.6f}"]
        return self.commands.start(name, "label_efficiency", [*self.shared(), *words], gpus=gpus)

    def finetune(self) -> bool:
        """All runs that are left, for as long as there is time; the third start comes last."""
        if not self.weights("final"):
            self.console.print("There are no pre-trained weights yet: fine-tunings from scratch alone.")
        starts = self.starts()
        for some in dict.fromkeys((tuple(starts[:1] + starts[1:][-1:]), tuple(starts))):
            command = self.start_finetuning("finetune", list(some), self.gpus)
            if not self.commands.wait(command, until=self.end - TABLES):
                self.commands.end(command)  # in the middle of its epochs, which go on
                return self.table()
        return self.is_complete()

    def table(self) -> bool:
        """The tables of what is finished, made anew."""
        command = self.start_finetuning("table", self.starts(), self.gpus[:1], seconds=0.0)
        if not self.commands.wait(command, until=max(self.end, time.monotonic() + TABLES)):
            self.commands.end(command)
            self.console.print("There was no time for new tables: they are of the last run that finished.")
        return self.is_complete()

    def is_complete(self) -> bool:
        """Whether the table has all runs; what is left is said."""
        options, table = self.options, self.study / "label_efficiency_runs.csv"
        planned = len(options.finetune_epochs.split(",")) * len(self.starts()) * options.seeds
        done = len(read_log(table))
        if done < planned:
            self.console.print(f"left: {planned - done} of {planned} fine-tunings; again.")
        return done >= planned

    def shared(self) -> list[str]:
        """Words of all trainings."""
        words = ["cfg=nuscenes", f"cfg.dataset_root={self.folder}/data"]
        words += [f"cfg.save_dir={self.folder}/results", f"cfg.network.backbone={self.options.network}"]
        # A page of each run costs seconds.
        words += [f"cfg.logging.{name}=false" for name in ("tensorboard", "progress_bar", "report")]
        return [*words, *(QUICK_SETTINGS if self.options.quick else GPU_SETTINGS), *self.options.overrides]

    def parallel(self, gpus: list[str]) -> int:
        """Fine-tunings at once on these GPUs."""
        share = self.options.parallel * len(gpus) // len(self.gpus)
        return max(share, 1) if gpus else 0

    def threads(self, processes: int) -> int:
        """Loader processes of each of so many trainings."""
        return 0 if self.options.quick else min(max(self.options.cores // processes - 1, 1), 8)

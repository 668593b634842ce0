"""Does pre-training help, and where? The paper's comparison on simulated streets, within minutes of a GPU.

    python tests/benchmarks/label_efficiency_gpu.py /tmp/study --minutes 9 --tables /tmp/tables

Stages, each by the project's own commands, each resumed where it stopped: `simulate` (600 scenes of 17 scans
for training, which is all that the split `parametrizing` has, and scenes to score), `pretrain` and convert,
`finetune` (0.1, 1, 10 and 100 % of the scenes, from scratch and from the pre-trained weights, three seeds),
`table`. Type the same command until nothing is left; at the end of the minutes everything stops with the
epoch at hand, or is ended, and the tables say what there is.

What gives pre-training a fair chance in twenty minutes, where the paper takes days:

* MinkUNet18, not 34: what is compared is two starts of one network, and the smaller one has had more epochs
  when the time is over. `--network MinkUNet34` is the recipe's.
* The recipe's batch of 16 and rate in pre-training, constant: it can be stopped, and prolonged by a larger
  `--epochs`, at any epoch. Twenty epochs of 10,200 scans are 12,750 steps, where the paper has 300,000.
* In fine-tuning some hundred steps at 0.1 and 1 % (`--finetune-epochs`), where each of the 17 and 102 scans
  comes 240 and 40 times. All fractions have fewer steps than in the recipe, most of all 10 and 100 %: a part
  of any gain may be that pre-trained weights need fewer. The table gives the steps.
* 0.1 % is one scene, scene-0392, as in the published runs; all seeds share the scenes and differ in first
  weights, order and augmentation. The spread says nothing about the choice of scenes.
* Several runs share a GPU (`--parallel`): a step of eight scans leaves it idle most of the time.

Behind the options, cfg.key=value changes the settings of both stages, such as `cfg.inputs=[pos,intensities]`.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from also_selfsup.checkpoints.convert import convert
from also_selfsup.data.simulator.once import Simulation, simulate_once
from also_selfsup.training.epoch_log import read_log

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("simulate", "pretrain", "finetune", "table")
EPOCHS = "0.001:240,0.01:40,0.1:8,1:2"
QUICK_SETTINGS = """
cfg.manifold_points=400 cfg.non_manifold_points=120 cfg.transforms.grid_size=0.4 cfg.network.voxel_size=0.4
cfg.network.latent_size=16 cfg.training.batch_size=2 cfg.downstream.batch_size=2 cfg.trainer.accelerator=cpu
""".split()
# Seconds that a stopping command has for the rest of its epoch, and that are kept for the tables.
GRACE, TABLES = 20.0, 15.0


class Study:
    """The experiment in its folder: what is done, what is left, and the time there is."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console = options, console
        self.end = time.monotonic() + 60 * options.minutes
        self.folder: Path = options.folder.resolve()
        self.study = self.folder / "label_efficiency"

    @property
    def run(self) -> Path:
        """Folder of the pre-training: the newest that has a checkpoint, which is where it goes on."""
        found = self.folder.glob("results/Pretraining/nuscenes/version_*/last.ckpt")
        return max(found, key=lambda path: path.stat().st_mtime, default=self.folder / "none").parent

    @property
    def weights(self) -> Path:
        """What the pre-training is converted to."""
        return self.run / f"pretrained_backbone_{self.options.epochs:03d}.ckpt"

    def simulate(self) -> bool:
        """Streets, once."""
        options = self.options
        scenes = {"train": options.scenes, "verifying": options.held_out, "val": options.held_out}
        columns = 96 if options.quick else None
        simulation = Simulation(scenes, options.frames, seed=options.seed, azimuth_steps=columns)
        simulate_once(self.folder / "data", simulation, workers=options.cores, progress=True)
        return True

    def pretrain(self) -> bool:
        """Pre-training up to the epochs asked for, probed five times on the way, and converted."""
        options = self.options
        if not self.weights.is_file():
            every = max(options.epochs // 5, 1)
            words = [f"cfg.training.max_epochs={options.epochs}", f"cfg.num_device={options.gpus}"]
            words += [f"cfg.val_interval={every}", f"cfg.probes.interval={every}", "cfg.resume=auto"]
            # Of several processes each has its batch: together they have the recipe's.
            words += [f"cfg.training.batch_size={max(options.batch_size // options.gpus, 1)}"]
            words += [f"cfg.threads={self.threads(options.gpus)}"]
            self.command("train_selfsupervised", words)
            rows = read_log(self.run / "logs_train.csv")
            finished = int(rows[-1]["epoch"]) + 1 if rows else 0
            if finished < options.epochs:
                self.console.print(
                    f"left: pre-training, {finished} of {options.epochs} epochs are done; again, or "
                    f"--epochs {finished} to go on with these."
                )
                return False
            convert(self.run / "last.ckpt")
        return True

    def finetune(self, minutes: float | None = None) -> bool:
        """All runs that are left, for as long as there is time."""
        options = self.options
        epochs = dict(part.split(":") for part in options.finetune_epochs.split(","))
        words = [f"fractions=[{','.join(epochs)}]", f"epochs={{{options.finetune_epochs}}}"]
        words += [f"seeds={options.seeds}", f"init=[scratch,{self.weights}]", f"out={self.study}"]
        words += [f"parallel={options.parallel}", f"cfg.threads={self.threads(options.parallel)}"]
        self.command("label_efficiency", words, minutes=minutes)
        done = len(list(self.study.glob("cells/**/outcome.json")))
        left = len(epochs) * 2 * options.seeds - done
        if left > 0:
            self.console.print(f"left: {left} of {len(epochs) * 2 * options.seeds} fine-tunings; again.")
        return left <= 0

    def table(self) -> bool:
        """The tables of what is finished, made anew."""
        self.finetune(minutes=1e-6)
        return self.copy()

    def copy(self) -> bool:
        """Copies of tables and logs where they are wanted."""
        target: Path = self.options.tables or self.folder
        target.mkdir(parents=True, exist_ok=True)
        for path in (*self.study.glob("label_efficiency*"), *self.run.glob("logs_*.csv")):
            shutil.copyfile(path, target / path.name)
        self.console.print(f"Tables: {target}", soft_wrap=True)
        return True

    def command(self, script: str, words: list[str], *, minutes: float | None = None) -> None:
        """Run a script of the package, stopped cleanly when the time is over, and ended when it is not.

        Raises:
            SystemExit: It failed.
        """
        left = self.end - time.monotonic() - TABLES
        limit = max((left - GRACE - self.options.startup) / 60, 1e-6) if minutes is None else minutes
        limit_word = f"{'minutes' if script == 'label_efficiency' else 'cfg.max_minutes'}={limit:.6f}"
        shared = [f"cfg.dataset_root={self.folder}/data", f"cfg.save_dir={self.folder}/results"]
        shared += [f"cfg.network.backbone={self.options.network}", "cfg.logging.tensorboard=false"]
        shared += ["cfg.logging.progress_bar=false", *(QUICK_SETTINGS if self.options.quick else [])]
        command = ["-m", f"also_selfsup.{script}", "cfg=nuscenes", *shared, *words, *self.options.overrides]
        shown = shlex.join(["python", *command, limit_word])
        self.console.print(shown, soft_wrap=True, style="dim", markup=False)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, *command, limit_word], env=environment, start_new_session=True
        )
        try:
            status = process.wait(timeout=max(left, 1) if minutes is None else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its epoch is longer than the grace: it is made again
            process.wait()
            self.console.print(f"{script} was ended within an epoch.")
            return
        if status != 0:
            sys.exit(f"{script} failed with status {status}.")

    def threads(self, processes: int) -> int:
        """Loader processes of each of so many trainings."""
        return 0 if self.options.quick else min(max(self.options.cores // processes - 1, 1), 8)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; `--quick` changes what is not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of data and results; the same again to go on")
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call, once Python has begun")
    parser.add_argument("--tables", type=Path, help="folder for tables and logs (default: the first one)")
    parser.add_argument("--scenes", type=int, help="to train on, at most 600 (default)")
    parser.add_argument("--frames", type=int, help="scans a scene (17)")
    parser.add_argument("--held-out", type=int, help="scenes to validate on, and as many to score (15)")
    parser.add_argument("--network", help="backbone (MinkUNet18)")
    parser.add_argument("--epochs", type=int, help="of the pre-training (20)")
    parser.add_argument("--batch-size", type=int, help="of the pre-training, over all GPUs (16)")
    parser.add_argument("--finetune-epochs", help=f"fraction:epochs,... ({EPOCHS})")
    parser.add_argument("--seeds", type=int, help="of the fine-tunings (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the streets")
    parser.add_argument("--gpus", type=int, default=1, help="of the pre-training; fine-tunings take all")
    parser.add_argument("--parallel", type=int, help="fine-tunings at once, over all GPUs (3 a GPU)")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--startup", type=float, default=15.0, help="seconds that a script may take to begin")
    parser.add_argument("--quick", action="store_true", help="tiny sizes on a CPU: does it run")
    parser.add_argument("overrides", nargs="*", metavar="cfg.key=value")
    options = parser.parse_intermixed_args(arguments)
    full = {"scenes": 600, "frames": 17, "held_out": 15, "network": "MinkUNet18", "epochs": 20}
    full |= {"batch_size": 16, "finetune_epochs": EPOCHS, "seeds": 3, "parallel": 3 * options.gpus}
    quick = {"scenes": 4, "frames": 2, "held_out": 1, "network": "SPVCNN0p5", "epochs": 2}
    quick |= {"batch_size": 2, "finetune_epochs": "0.5:2,1:1", "seeds": 1, "parallel": 1}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main() -> None:
    """Go through the stages as far as the time allows; tables in any case where there is something."""
    options, console = parse(), Console(highlight=False)
    study = Study(options, console)
    for stage in STAGES[:3] if options.stage == "all" else [options.stage]:
        console.rule(f"{stage}, {study.end - time.monotonic():.0f} s left", align="left")
        begun = time.monotonic()
        complete = getattr(study, stage)()
        console.print(f"{stage}: {time.monotonic() - begun:.0f} s")
        if not complete:
            break
    if options.stage in ("all", "finetune") and any(study.study.glob("label_efficiency*")):
        study.copy()


if __name__ == "__main__":
    main()

"""Several GPUs: scans a second of the script by their number, and whether they compute what one would.

    python tests/benchmarks/scaling_gpu.py /tmp/streets --simulate 4800 --gpus 1,2,4

Rates are those of `train_selfsupervised`, end to end, from its `logs_train.csv`: the best epoch behind the
first one. The batch size is the recipe's for each process; all numbers of GPUs have the same steps an epoch,
as many as the data set has for the most of them. Peak memory is the first process's.

Then the same few steps in fp32 by one process with the recipe's batch and by two with half of it each and
synchronised batch-norm, as joint_batch.py explains. Sums come in another order, which AdamW's first steps
amplify: they divide a gradient by its own size, however small. So losses must agree to 1e-4 in the first two
steps and to 1e-2 in all, relatively; beside them stands what one process does with the scans of each batch in
the opposite order. The status is 1 where they do not agree. With the mean of each process counted
alike, however many pairs it is of, losses of the tiny size were 9e-4 apart at once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from trainings import add_arguments, environment, make_scans, words_of

from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.epoch_log import read_log

EPOCHS = 3
# Relative differences of losses that rounding may cause: in the first two steps, and in all.
FIRST, ALL = 1e-4, 1e-2


@dataclass(frozen=True)
class Outcome:
    """One training.

    Attributes:
        processes: That shared it.
        rate: Scans a second of all.
        peak: GiB of the first process; None on a CPU.
    """

    processes: int
    rate: float
    peak: float | None


def command(words: list[str]) -> None:
    """Run Python in a process of its own.

    Raises:
        SystemExit: It failed; its output says why.
    """
    done = subprocess.run(
        [sys.executable, *words],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\npython {' '.join(words)}: status {done.returncode}")


def outcome_of(options: argparse.Namespace, processes: int, *, steps: int, epochs: int) -> Outcome:
    """Train by the script with so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"cfg={options.recipe}", f"cfg.num_device={processes}", f"cfg.training.max_epochs={epochs}"]
        words += [f"cfg.trainer.limit_train_batches={steps}", *words_of(options, folder)]
        command(["-m", "also_selfsup.train_selfsupervised", *words])
        [log] = Path(folder).glob("Pretraining/*/version_0/logs_train.csv")
        rows = read_log(log)
    peaks = [float(row["peak_memory_gib"]) for row in rows if "peak_memory_gib" in row]
    return Outcome(
        processes, max(float(row["scans_per_second"]) for row in rows[1:]), max(peaks, default=None)
    )


def losses_of(
    options: argparse.Namespace, processes: int, *, joint: int, scans: int, order: str = "forwards"
) -> list[float]:
    """Losses of the first steps by so many processes, which share a batch of `joint` scans."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"cfg.num_device={processes}", f"cfg.training.batch_size={joint // processes}"]
        # Whole joint batches only: the last ones of an epoch are dealt out with some scans twice.
        words += [f"cfg.trainer.limit_train_batches={min(options.joint_steps, scans // joint)}"]
        words += [
            f"cfg.trainer.max_steps={options.joint_steps}",
            f"cfg.trainer.sync_batchnorm={not options.quick}",
        ]
        words += [f"cfg.training.max_epochs={options.joint_steps}", "cfg.precision=32-true"]
        words = [options.recipe, *words_of(options, folder), *words]
        out = Path(folder) / "losses.json"
        command([str(Path(__file__).with_name("joint_batch.py")), str(out), order, json.dumps(words)])
        losses: list[float] = json.loads(out.read_text(encoding="utf-8"))
    return losses


def report_rates(console: Console, outcomes: list[Outcome], title: str) -> None:
    """The table of the numbers of processes; ratios are to the first one."""
    base = outcomes[0]
    table = Table("GPUs", "scans/s", f"ratio to {base.processes}", "efficiency", "peak GiB", title=title)
    for one in outcomes:
        ratio = one.rate / base.rate
        efficiency = 100 * ratio * base.processes / one.processes
        peak = "-" if one.peak is None else f"{one.peak:.2f}"
        table.add_row(f"{one.processes}", f"{one.rate:.1f}", f"{ratio:.2f}", f"{efficiency:.0f} %", peak)
    console.print(table)


def report_losses(console: Console, options: argparse.Namespace, *, joint: int, scans: int) -> bool:
    """Print losses of one and of two processes side by side; whether they agree."""
    one, two = (losses_of(options, processes, joint=joint, scans=scans) for processes in (1, 2))
    other = losses_of(options, 1, joint=joint, scans=scans, order="backwards")
    table = Table("step", "one process", "two", "relative difference", "opposite order")
    table.title = f"loss of the same {joint} scans a step, fp32"
    apart = [abs(a - b) / abs(a) for a, b in zip(one, two, strict=True)]
    rounding = [abs(a - b) / abs(a) for a, b in zip(one, other, strict=True)]
    for step, row in enumerate(zip(one, two, apart, rounding, strict=True), start=1):
        table.add_row(f"{step}", f"{row[0]:.6f}", f"{row[1]:.6f}", f"{row[2]:.1e}", f"{row[3]:.1e}")
    console.print(table)
    agree = max(apart[:2]) <= FIRST and max(apart) <= ALL
    console.print(
        f"two processes and one: {max(apart[:2]):.1e} apart at most in two steps ({FIRST:.0e} allowed), "
        f"{max(apart):.1e} in {len(apart)} ({ALL:.0e}); opposite order {max(rounding):.1e}: "
        f"{'the same result' if agree else 'not the same result'}.",
        soft_wrap=True,
    )
    return agree


def parse() -> argparse.Namespace:
    """Read the command line; `--quick` changes what is not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--gpus", help="numbers of GPUs, of processes on a CPU with --quick (1,2,4; 1,2)")
    parser.add_argument("--steps", type=int, help="of each training, over its epochs (200)")
    parser.add_argument("--joint-steps", type=int, help="to compare one process with two (20); 0: not")
    options = parser.parse_intermixed_args()
    full = {"gpus": "1,2,4", "steps": 200, "joint_steps": 20}
    quick = {"gpus": "1,2", "steps": 6, "joint_steps": 4}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.gpus = sorted({int(number) for number in options.gpus.split(",")})
    return options


def visible_of(options: argparse.Namespace, console: Console) -> list[int]:
    """Numbers of GPUs that there are; the others are named.

    Raises:
        SystemExit: None is left.
    """
    visible = options.gpus[-1] if options.quick else torch.cuda.device_count()
    counts: list[int] = [number for number in options.gpus if number <= visible]
    for number in options.gpus[len(counts) :]:
        console.print(f"left out: {number} GPUs, as there are {visible}")
    if not counts:
        sys.exit("There is nothing to measure; --quick runs on a CPU.")
    return counts


def measure(
    console: Console, options: argparse.Namespace, settings: Settings, *, counts: list[int], scans: int
) -> None:
    """Rates of all numbers of GPUs, each with the same steps.

    Raises:
        SystemExit: The data set is too small for one step of the most GPUs.
    """
    size = settings.training.batch_size
    steps = min(-(-options.steps // EPOCHS), scans // (size * counts[-1]))
    if steps == 0:
        sys.exit(f"{scans} scans are no batch of {size} for each of {counts[-1]} processes: --simulate more.")
    epochs = max(-(-options.steps // steps), 2)
    outcomes = [outcome_of(options, number, steps=steps, epochs=epochs) for number in counts]
    place = "CPU" if options.quick else torch.cuda.get_device_name()
    title = f"{settings.name}, {size} scans a process, {epochs} epochs of {steps} steps, {place}"
    report_rates(console, outcomes, title)


def main() -> None:
    """Train with each number of GPUs that there is, print; then compare losses."""
    options, console = parse(), Console(width=110, highlight=False)
    counts = visible_of(options, console)
    make_scans(options)
    settings = load(options.recipe, words_of(options, str(options.root)))
    scans = len(open_dataset(settings, settings.train_split, labels=False))
    measure(console, options, settings, counts=counts, scans=scans)
    if options.joint_steps == 0:
        return
    if not options.quick and torch.cuda.device_count() < 2:
        console.print("left out: one process beside two, as there is one GPU")
        return
    joint = 2 * max(settings.training.batch_size // 2, 1)
    sys.exit(not report_losses(console, options, joint=joint, scans=scans))


if __name__ == "__main__":
    main()

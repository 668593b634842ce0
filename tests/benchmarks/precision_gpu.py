"""Does training in 16 bits follow fp32? The same steps of a recipe in each precision, with several seeds.

    python tests/benchmarks/precision_gpu.py /tmp/streets --simulate 1200 --out curves.csv --plot curves.png

Every run is the script's own function; a seed decides first weights, order of the scans and augmentation, and
is shared by the precisions. What another seed changes is the measure of what rounding changes: a difference
of means is given in units of fp32's spread, the standard deviation over the seeds, block of steps by block.
Rates are those of whole steps from files behind the warm-up, medians over the seeds.
"""

import argparse
import io
import statistics
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from second_gpu import TimedModule
from torch import Tensor
from trainings import add_arguments, make_scans, words_of

from also_selfsup import train_selfsupervised
from also_selfsup.data.scan import Batch
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.terminal import set_up_terminal
from also_selfsup.training.epoch_log import write_log

# Of a setting cfg.precision, what tables call it and its colour.
NAMES = {"32-true": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
COLOURS = {"32-true": "0.3", "bf16-mixed": "tab:blue", "16-mixed": "tab:orange"}


class LossModule(TimedModule):
    """The timed pre-training that keeps the loss of every step."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.kept: list[Tensor] = []  # on the device: no step waits to be read

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Keep the loss, read the clock."""
        self.kept.append(outputs["loss"].detach().clone())
        super().on_train_batch_end(outputs, batch, batch_idx)


@dataclass(frozen=True)
class Curve:
    """One run.

    Attributes:
        precision: As in cfg.precision.
        seed: Of the run.
        losses: Of every step.
        rate: Scans a second, without the warm-up.
    """

    precision: str
    seed: int
    losses: list[float]
    rate: float

    def blocks(self, size: int) -> list[float]:
        """Mean losses of so many steps each; a rest that is no whole block is left out."""
        whole = range(0, len(self.losses) - size + 1, size)
        return [statistics.mean(self.losses[first : first + size]) for first in whole]

    def rows(self) -> list[dict[str, Any]]:
        """Its lines of a CSV."""
        named = {"precision": NAMES[self.precision], "seed": self.seed}
        return [{**named, "step": step, "loss": loss} for step, loss in enumerate(self.losses, start=1)]


def curve_of(options: argparse.Namespace, precision: str, seed: int) -> Curve:
    """Train once; checkpoints go to a folder that is removed."""
    words = [
        f"cfg.precision={precision}",
        f"cfg.seed={seed}",
        f"cfg.training.batch_size={options.batch_size}",
    ]
    words += [f"cfg.trainer.max_steps={options.steps}", f"cfg.training.max_epochs={options.steps}"]
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # of commands to go on with
        settings = load(options.recipe, [*words_of(options, folder), *words])
        train_selfsupervised.PretrainingModule = LossModule  # type: ignore[misc]
        train_selfsupervised.pretrain(settings)
    module = LossModule.last
    assert isinstance(module, LossModule)
    rate = module.scans / (module.end - module.begin)
    return Curve(precision, seed, torch.stack(module.kept).float().tolist(), rate)


def means_over_seeds(curves: list[Curve], precision: str, block: int) -> list[tuple[float, float]]:
    """Of each block the mean over the seeds and their standard deviation."""
    rows = zip(*(curve.blocks(block) for curve in curves if curve.precision == precision), strict=True)
    return [(statistics.mean(row), statistics.stdev(row)) for row in rows]


def compare(console: Console, curves: list[Curve], precisions: list[str], *, block: int) -> None:
    """Print blocks side by side, and how far each precision goes from fp32."""
    reference = means_over_seeds(curves, "32-true", block)
    others = {name: means_over_seeds(curves, name, block) for name in precisions[1:]}
    heads = [head for name in others for head in (NAMES[name], "difference", "in spreads")]
    seeds = sum(curve.precision == "32-true" for curve in curves)
    table = Table("steps", "fp32", "spread", *heads, title=f"mean losses of {block} steps, {seeds} seeds")
    largest = dict.fromkeys(others, (0.0, 0.0))
    for number, (mean, spread) in enumerate(reference):
        cells = [f"{number * block + 1}-{(number + 1) * block}", f"{mean:.4f}", f"{spread:.4f}"]
        for name, found in others.items():
            difference = found[number][0] - mean
            in_spreads = abs(difference) / max(spread, 1e-12)
            largest[name] = max(largest[name], (in_spreads, difference))
            cells += [f"{found[number][0]:.4f}", f"{difference:+.4f}", f"{in_spreads:.2f}"]
        table.add_row(*cells)
    console.print(table)
    for name, (in_spreads, difference) in largest.items():
        console.print(
            f"{NAMES[name]}: the largest difference of a block is {in_spreads:.2f} of fp32's seed spread "
            f"({difference:+.4f}): its mean {'lies' if in_spreads <= 1 else 'does not lie'} within it.",
            soft_wrap=True,
        )


def report_rates(console: Console, curves: list[Curve], precisions: list[str], *, place: str) -> None:
    """Scans a second of each precision on some device."""
    rates = {p: statistics.median(c.rate for c in curves if c.precision == p) for p in precisions}
    table = Table("precision", "scans/s", "ratio to fp32", title=f"rates, {place}")
    for name, rate in rates.items():
        table.add_row(NAMES[name], f"{rate:.1f}", f"{rate / rates['32-true']:.2f}")
    console.print(table)


def plot(path: Path, curves: list[Curve], precisions: list[str], *, block: int) -> None:
    """Draw blocks: thin lines are seeds, a thick one is their mean."""
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        values = curve.blocks(block)
        steps = [block * (number + 0.5) for number in range(len(values))]
        axes.plot(steps, values, color=COLOURS[curve.precision], linewidth=0.6, alpha=0.6)
    for name in precisions:
        means = [mean for mean, _ in means_over_seeds(curves, name, block)]
        axes.plot(steps, means, color=COLOURS[name], linewidth=2, label=NAMES[name])
    axes.set_xlabel("step")
    axes.set_ylabel(f"loss, means of {block} steps")
    axes.legend()
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """Read the command line; `--quick` changes what is not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--steps", type=int, help="of each run (300)")
    parser.add_argument("--seeds", type=int, help="at least 2 (3)")
    parser.add_argument("--batch-size", type=int, help="scans a step (4)")
    parser.add_argument("--block", type=int, help="steps that a mean is taken of (30)")
    parser.add_argument("--fp16", action="store_true", help="fp16 too")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="for the losses of all steps")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    options = parser.parse_intermixed_args()
    full = {"steps": 300, "seeds": 3, "batch_size": 4, "block": 30}
    quick = {"steps": 6, "seeds": 2, "batch_size": 2, "block": 3}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.seeds < 2 or options.steps < max(options.block, 2):
        parser.error("a spread needs two seeds or more, a mean a whole block of steps, a rate two")
    if options.fp16 and not torch.cuda.is_available():
        parser.error("--fp16 needs a GPU")
    return options


def main() -> None:
    """Train in turns, seed by seed, so that a change of the machine meets all precisions; print."""
    options, console = parse(), Console(width=110, highlight=False)
    set_up_terminal()
    make_scans(options)
    precisions = list(NAMES)[: 3 if options.fp16 else 2]
    curves: list[Curve] = []
    for seed in range(options.seeds):
        for precision in precisions:
            curve = curve_of(options, precision, seed)
            curves.append(curve)
            ends = f"loss {curve.losses[0]:.4f} to {curve.losses[-1]:.4f}"
            console.print(f"{NAMES[precision]}, seed {seed}: {len(curve.losses)} steps, {ends}", style="dim")
            if options.out:
                write_log(options.out, [row for curve in curves for row in curve.rows()])
    compare(console, curves, precisions, block=options.block)
    on_gpu = torch.cuda.is_available() and not options.quick
    report_rates(console, curves, precisions, place=torch.cuda.get_device_name() if on_gpu else "CPU")
    if options.plot:
        plot(options.plot, curves, precisions, block=options.block)


if __name__ == "__main__":
    main()

"""`make demo`: simulate streets, pre-train, convert, fine-tune from two starts, evaluate, report."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytorch_lightning as lightning
from rich.console import Console
from rich.table import Table
from torch import Tensor

from also_selfsup.checkpoints.convert import convert
from also_selfsup.data.simulator.once import Simulation, simulate_once
from also_selfsup.evaluation.confusion import save_scores
from also_selfsup.reporting.comparison import Comparison
from also_selfsup.reporting.demo_page import STARTS, Demo, draw, sections
from also_selfsup.reporting.report import write_report
from also_selfsup.reporting.stopwatch import Stopwatch
from also_selfsup.settings.run import load, resolve_path
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.terminal import one_line_endings, set_up_terminal
from also_selfsup.train_downstream_semseg import finetune
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.parallel import run_all
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.restoring import restore_pretraining
from also_selfsup.training.runs import Run
from also_selfsup.training.scoring import score_weights

Result = TypeVar("Result")

TITLE = "Self-supervised pre-training on simulated streets"
SUBTITLE = "A lidar network learns where space is occupied, without labels, and is then fine-tuned with few."

# One frame of each street teaches more than many of the same street.
STANDARD = Simulation(scenes={"train": 200, "val": 20}, frames_per_scene=1)
QUICK = Simulation(scenes={"train": 4, "val": 2}, frames_per_scene=1, azimuth_steps=120)
QUICK_OVERRIDES = (
    "cfg.manifold_points=256",
    "cfg.non_manifold_points=96",
    "cfg.network.latent_size=16",
    "cfg.training.max_epochs=2",
    "cfg.training.batch_size=2",
    "cfg.val_interval=1",
    "cfg.downstream.skip_ratio=2",
    "cfg.downstream.max_epochs=2",
    "cfg.downstream.val_interval=1",
)


def run_demo(folder: Path, *, quick: bool, seeds: Sequence[int], console: Console) -> Demo:
    """Go the whole way and leave `report.html` and its pictures in `folder`.

    Args:
        folder: Of data, results and report; relative to the root of the checkout.
        quick: Sizes that only show that every step works.
        seeds: Of the fine-tunings; each is run from scratch and from the pre-trained weights.
        console: To say what is going on.

    Returns:
        What was done and what came out.
    """
    watch = Stopwatch(console)
    simulation = QUICK if quick else STANDARD
    settings, overrides = settings_in(folder, QUICK_OVERRIDES if quick else ())
    # Bars are for people: a file would hold a line for each of their steps.
    bar = replace(settings.logging, progress_bar=console.is_terminal)
    settings = replace(settings, logging=bar)
    with watch("simulating streets"):
        root, workers = resolve_path(settings.dataset_root), 1 if quick else 2
        simulate_once(root, simulation, workers=workers, progress=bar.progress_bar)
    with watch("pre-training without labels"):
        pretraining = pretrain(settings)
    with watch("converting"):
        weights = convert(pretraining.last)[0].path
    jobs = trials(settings, weights, seeds=seeds)
    with watch("fine-tuning with few labels, evaluating every point"):
        results = run_all(run_trial, jobs, title="fine-tunings", console=console)
    runs = by_start(jobs, [run for run, _ in results])
    matrices = by_start(jobs, [matrix for _, matrix in results])
    stage = settings.downstream
    scans = open_dataset(settings, stage.val_split, labels=False)
    labelled = open_dataset(settings, stage.train_split, labels=False, skip_ratio=stage.skip_ratio)
    demo = Demo(
        folder=resolve_path(str(folder)),
        settings=settings,
        overrides=overrides,
        simulation=simulation,
        labelled=len(labelled),
        pretraining=pretraining,
        weights=weights,
        runs=runs,
        comparison=Comparison(seeds, matrices["scratch"], matrices["pretrained"], scans.class_names),
        seconds=watch.seconds,
    )
    with watch("drawing"):
        pictures = draw(demo, module=pretrained_module(settings, pretraining), scan=scans[0])
    write_report(demo.folder / "report.html", sections(demo, pictures), title=TITLE, subtitle=SUBTITLE)
    return demo


def settings_in(folder: Path, overrides: Sequence[str]) -> tuple[Settings, list[str]]:
    """The recipe's settings with data and results in `folder`, and all overrides of the recipe as typed."""
    recipe = load("demo", list(overrides))
    settings = replace(recipe, dataset_root=f"{folder}/data", save_dir=f"{folder}/results")
    moved = [
        f"cfg.{key}={getattr(settings, key)}"
        for key in ("dataset_root", "save_dir")
        if getattr(settings, key) != getattr(recipe, key)
    ]
    return settings, [*overrides, *moved]


@dataclass(frozen=True)
class Trial:
    """One fine-tuning: its settings (start and seed among them) and how its start is called."""

    settings: Settings
    start: str


def trials(settings: Settings, weights: Path, *, seeds: Sequence[int]) -> list[Trial]:
    """From scratch and from the pre-trained weights, with each seed."""
    quiet, stage = replace(settings.logging, progress_bar=False), settings.downstream
    loaded = replace(stage, checkpoint_dir=str(weights.parent), checkpoint_name=weights.name)
    stages = {"scratch": stage, "pretrained": loaded}
    return [
        Trial(replace(settings, seed=seed, downstream=stages[start], logging=quiet), start)
        for seed in seeds
        for start in STARTS
    ]


def run_trial(trial: Trial) -> tuple[Run, Tensor]:
    """Fine-tune, convert, score every point of the validation split, write the scores beside the weights.

    Returns:
        The run, and the (C, C) confusion matrix of the validation split.
    """
    settings, split = trial.settings, trial.settings.downstream.val_split
    lightning.seed_everything(settings.seed, verbose=False)
    run = finetune(settings)
    model = convert(run.last, downstream=True)[0].path
    matrix, class_names = score_weights(settings, model, split=split)
    save_scores(matrix, class_names, path=f"{model.with_suffix('')}_{split}_scores.csv")
    return run, matrix


def by_start(jobs: Sequence[Trial], results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of the trials of each start, in the order of the seeds."""
    return {
        start: [result for job, result in zip(jobs, results, strict=True) if job.start == start]
        for start in STARTS
    }


def pretrained_module(settings: Settings, run: Run) -> PretrainingModule:
    """Backbone and decoder with the weights of the pre-training's last epoch."""
    return restore_pretraining(settings, run.last)


def conclude(demo: Demo, console: Console) -> None:
    """Show the table, the verdict and where to look."""
    table = Table(*demo.comparison.header(), title="Validation scans, every point")
    for row in demo.comparison.rows():
        table.add_row(*row)
    console.rule()
    console.print(table)
    console.print(demo.comparison.verdict(), style="bold")
    console.print(f"{sum(demo.seconds.values()):.0f} s in all.")
    for name in ("occupancy.png", "report.html"):
        console.print(f"Look at: {demo.folder / name}", soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the command line."""
    parser = argparse.ArgumentParser(prog="python -m also_selfsup.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="of data, results and report")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows only that every step works")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of the fine-tunings")
    options = parser.parse_args(arguments)
    set_up_terminal()
    console = Console(highlight=False)
    with one_line_endings(ValueError, OSError):
        conclude(run_demo(options.folder, quick=options.quick, seeds=options.seeds, console=console), console)


if __name__ == "__main__":
    main()

"""`make demo`: simulate streets, pre-train, convert, fine-tune from two starts, evaluate, report."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytorch_lightning as lightning
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from also_selfsup.checkpoints.convert import convert
from also_selfsup.checkpoints.naming import BACKBONE, DECODER, NET
from also_selfsup.checkpoints.pretrained import load_file
from also_selfsup.data.simulator import simulate
from also_selfsup.evaluation.confusion import save_scores
from also_selfsup.evaluation.whole_split import score_split
from also_selfsup.reporting.comparison import Comparison
from also_selfsup.reporting.demo_page import STARTS, Demo, Simulation, draw, sections
from also_selfsup.reporting.report import write_report
from also_selfsup.reporting.stopwatch import Stopwatch
from also_selfsup.settings.run import load, resolve_path
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.terminal import set_up_terminal
from also_selfsup.train_downstream_semseg import finetune
from also_selfsup.train_selfsupervised import pretrain
from also_selfsup.training.building import segmentation_network, segmentation_transforms
from also_selfsup.training.datamodule import open_dataset, whole_split_loader
from also_selfsup.training.pretraining import PretrainingModule
from also_selfsup.training.runs import Run

# One frame of each street teaches more than many of the same street.
STANDARD = Simulation(scenes={"train": 200, "val": 24}, frames_per_scene=1)
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
    runs, matrices = finetune_all(settings, weights, seeds=seeds, watch=watch)
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
    title = "Self-supervised pre-training on simulated streets"
    subtitle = (
        "A lidar network learns where space is occupied, without labels, and is then fine-tuned with few."
    )
    write_report(demo.folder / "report.html", sections(demo, pictures), title=title, subtitle=subtitle)
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


def simulate_once(root: Path, simulation: Simulation, *, workers: int, progress: bool = False) -> None:
    """Simulate into `root`, unless it holds the very same simulation, complete.

    A note beside the folder tells what was made, and that it was finished.

    Raises:
        FileExistsError: The folder has something in it that is no simulation.
    """
    note = root.with_name(f"{root.name}.json")
    wanted = asdict(simulation)
    found = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else None
    if found == wanted and root.is_dir():
        return
    note.unlink(missing_ok=True)
    simulate(
        root,
        layout="nuscenes",
        scenes=simulation.scenes,
        frames_per_scene=simulation.frames_per_scene,
        seed=simulation.seed,
        azimuth_steps=simulation.azimuth_steps,
        workers=workers,
        progress=progress,
        overwrite=True,
    )
    note.write_text(json.dumps(wanted), encoding="utf-8")


def finetune_all(
    settings: Settings, weights: Path, *, seeds: Sequence[int], watch: Stopwatch
) -> tuple[dict[str, list[Run]], dict[str, list[Tensor]]]:
    """Fine-tune and evaluate from both starts with each seed; runs and confusion matrices by start."""
    runs: dict[str, list[Run]] = {start: [] for start in STARTS}
    matrices: dict[str, list[Tensor]] = {start: [] for start in STARTS}
    for seed in seeds:
        for start, words in STARTS.items():
            stage = settings.downstream
            if start == "pretrained":
                stage = replace(stage, checkpoint_dir=str(weights.parent), checkpoint_name=weights.name)
            with watch("fine-tuning with few labels", f"seed {seed}, {words}"):
                lightning.seed_everything(seed, verbose=False)
                runs[start].append(finetune(replace(settings, seed=seed, downstream=stage)))
            with watch("evaluating every point", f"seed {seed}, {words}"):
                matrices[start].append(evaluate(settings, runs[start][-1], console=watch.console))
    return runs, matrices


def evaluate(settings: Settings, run: Run, *, console: Console) -> Tensor:
    """Convert a fine-tuned network, score it at full resolution, write the scores beside it.

    Returns:
        (C, C) confusion matrix of the validation split.
    """
    split = settings.downstream.val_split
    model = convert(run.last, downstream=True)[0].path
    loader, dataset = whole_split_loader(settings, split, labels=True)
    net = segmentation_network(settings, class_count=len(dataset.class_names))
    load_file(net, model, prefix=NET)
    matrix = score_split(
        net,
        segmentation_transforms(settings),
        batches=track(loader, "evaluating", console=console),
        class_count=len(dataset.class_names),
        seed=settings.seed,
    )
    save_scores(matrix, dataset.class_names, path=f"{model.with_suffix('')}_{split}_scores.csv")
    return matrix


def pretrained_module(settings: Settings, run: Run) -> PretrainingModule:
    """Backbone and decoder with the weights of the pre-training's last epoch."""
    module = PretrainingModule(settings)
    load_file(module.backbone, run.last, prefix=BACKBONE)
    load_file(module.decoder, run.last, prefix=DECODER)
    return module


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
    try:
        conclude(run_demo(options.folder, quick=options.quick, seeds=options.seeds, console=console), console)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Score a fine-tuned network at full resolution: `python eval.py --split val --config … --ckpt …`.

Leaves the confusion matrix (PNG) and the scores (CSV) beside the checkpoint; saves predictions on request.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from torch import Tensor

from also_selfsup.checkpoints.pretrained import load_network
from also_selfsup.checkpoints.writing import folders_for_results
from also_selfsup.data.base import LidarDataset
from also_selfsup.evaluation.confusion import confusion_picture, iou_table, save_scores
from also_selfsup.evaluation.whole_split import score_split
from also_selfsup.settings.files import load_settings
from also_selfsup.settings.progress import progress_bar
from also_selfsup.settings.run import resolve_path
from also_selfsup.settings.terminal import one_line_endings, set_up_terminal
from also_selfsup.training.building import segmentation_network, segmentation_transforms
from also_selfsup.training.datamodule import whole_split_loader
from also_selfsup.training.precision import arithmetic
from also_selfsup.training.scoring import device_named


def evaluate(options: argparse.Namespace, console: Console) -> None:
    """Look whether results can be written, then load, predict every point, score, write."""
    scores = [] if options.no_labels or not options.ckpt.is_file() else [options.ckpt.parent]
    predictions = [options.save_predictions] if options.save_predictions else []
    with folders_for_results(*predictions, *scores):
        _evaluate(options, console)


def _evaluate(options: argparse.Namespace, console: Console) -> None:
    settings = load_settings(options.config)
    settings = replace(settings, dataset_root=options.dataset_root or settings.dataset_root)
    loader, dataset = whole_split_loader(settings, options.split, labels=not options.no_labels)
    net = segmentation_network(settings, class_count=len(dataset.class_names))
    load_network(net, options.ckpt)
    device = device_named(options.device)
    folder: Path | None = options.save_predictions
    with progress_bar(console, unit="batches") as bar:
        matrix = score_split(
            net.to(device),
            segmentation_transforms(settings),
            batches=bar.track(loader, description=f"{settings.dataset_name} {options.split}"),
            class_count=len(dataset.class_names),
            seed=settings.seed,
            on_scan=partial(save_prediction, dataset, folder) if folder else None,
            arithmetic=arithmetic(options.precision or settings.precision, device),
        )
    if folder:
        console.print(f"Predictions of {len(dataset)} scans: {folder}", soft_wrap=True)
    if not options.no_labels:
        title = f"{settings.dataset_name} {options.split}, {len(dataset)} scans, every point"
        stem = f"{options.ckpt.with_suffix('')}_{options.split}"
        picture = confusion_picture(matrix, dataset.class_names, path=f"{stem}_confusion.png")
        scores = save_scores(matrix, dataset.class_names, path=f"{stem}_scores.csv")
        console.print(iou_table(matrix, dataset.class_names, title=title))
        console.print(f"Confusion matrix: {picture}\nScores: {scores}", soft_wrap=True)


def save_prediction(dataset: LidarDataset, folder: Path, name: str, classes: Tensor) -> None:
    """Write one scan's classes in the benchmark's submission format."""
    dataset.write_submission(dataset.index_of(name), classes.numpy(), directory=folder)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Score a fine-tuned network at full resolution.")
    parser.add_argument("--split", required=True, help="split of the data set, e.g. val")
    path = partial(parser.add_argument, type=resolve_path, metavar="PATH")
    path("--config", required=True, help="config.yaml of the fine-tuning run")
    path("--ckpt", required=True, help="trained_model_XXX.ckpt of convert_models.py --downstream")
    parser.add_argument("--dataset-root", help="folder of the data set; default: the one of the config")
    path("--save-predictions", help="write the benchmark's submission format into this folder")
    parser.add_argument("--no-labels", action="store_true", help="only predict: the split has no labels")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default: a GPU if there is one")
    parser.add_argument(
        "--precision", choices=("auto", "32-true", "bf16-mixed", "16-mixed"), help="default: the config's"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Entry of the command line; what a user can mend ends in one line."""
    options = parse()
    set_up_terminal()
    with one_line_endings(OSError):
        evaluate(options, Console(markup=False))


if __name__ == "__main__":
    main()

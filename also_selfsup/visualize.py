"""See what a network has learnt: `python visualize.py --ckpt RUN/last.ckpt [--scan FILE] [cfg.key=value]`.

Of pre-training: predicted occupancy, surface, intensity and latents around a scan, without labels. Of
fine-tuning: predicted and true classes beside each other. Leaves pictures, a mesh and an interactive page.
"""

import argparse
import re
from functools import partial
from pathlib import Path

from rich.console import Console

from also_selfsup.checkpoints.reading import read_checkpoint
from also_selfsup.checkpoints.writing import folders_for_results
from also_selfsup.data import DATASETS
from also_selfsup.data.scan import Scan
from also_selfsup.reporting.class_views import predict_classes, write_class_views
from also_selfsup.reporting.region import corners_around, make_region, planes_of
from also_selfsup.reporting.space import explore
from also_selfsup.reporting.space_views import write_views
from also_selfsup.reporting.subject import Wish, find_scan, is_segmentation, settings_of
from also_selfsup.settings.names import choose
from also_selfsup.settings.run import resolve_path
from also_selfsup.settings.schema import Settings
from also_selfsup.settings.terminal import one_line_endings, set_up_terminal
from also_selfsup.training.restoring import restore_pretraining
from also_selfsup.training.scoring import device_named


def visualize(options: argparse.Namespace, console: Console) -> None:
    """Load, choose the scan, ask the network, write; say what was written and what to open."""
    path: Path = options.ckpt
    checkpoint = read_checkpoint(path)
    segmentation = is_segmentation(checkpoint, path)
    settings = settings_of(
        checkpoint, path, recipe=options.cfg, words=options.overrides, segmentation=segmentation
    )
    labels = segmentation and options.scan is None and not options.no_labels
    wish = Wish(options.scan, options.split, options.frame or "0", labels)
    scan, words = find_scan(settings, wish, segmentation=segmentation)
    folder = options.out or path.parent / "visualization" / f"{path.stem}_{_file_name(words)}"
    title = f"{settings.name}: {words}"
    show = show_classes if segmentation else show_space
    with folders_for_results(folder):
        written = show(settings, scan, options=options, title=title, folder=folder, console=console)
    names = ", ".join(file.name for file in written)
    console.print(f"Wrote {names} into {folder}. Open: {written[0]}", soft_wrap=True)


def show_space(
    settings: Settings, scan: Scan, *, options: argparse.Namespace, title: str, folder: Path, console: Console
) -> list[Path]:
    """Of pre-training: the space around the scan."""
    module = restore_pretraining(settings, options.ckpt).to(device_named(options.device))
    corners = options.region or corners_around(scan, extent=settings.network.extent)
    region = make_region(corners, options.cell)
    space = explore(module, scan, region, planes=planes_of(region, scan), console=console)
    if not len(space.mesh.triangles):
        console.print("No surface: nowhere in the region does the prediction cross one half.")
    return write_views(space, folder, title=title, colour=options.colour)


def show_classes(
    settings: Settings, scan: Scan, *, options: argparse.Namespace, title: str, folder: Path, console: Console
) -> list[Path]:
    """Of fine-tuning: the classes of the scan's points."""
    names = choose(DATASETS, settings.dataset_name, "cfg.dataset_name").classes().names
    device = device_named(options.device)
    predicted = predict_classes(settings, scan, ckpt=options.ckpt, class_names=names, device=device)
    return write_class_views(predicted, folder, title=title)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; settings may stand between the options."""
    parser = make_parser()
    options = parser.parse_intermixed_args(arguments)
    if options.scan and (options.split or options.frame):
        parser.error("--scan is a file of its own: leave --split and --frame out")
    return options


def make_parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="visualize.py", description="See what a network has learnt.")
    path = partial(parser.add_argument, type=resolve_path, metavar="PATH")
    path("--ckpt", required=True, help="last.ckpt or best.ckpt of a run, or trained_model_NNN.ckpt")
    parser.add_argument("--cfg", metavar="RECIPE", help="look at scans of this recipe's data set")
    parser.add_argument("--split", help="split of the data set; default: the one that validated the training")
    parser.add_argument("--frame", help="number or name of a frame of the split; default: 0")
    path("--scan", help="a single file instead: .bin, .pcd, .ply, .npy, .npz, .las, .laz, .feather")
    path("--out", help="folder to write to; default: visualization/ beside the checkpoint")
    parser.add_argument(
        "--region",
        type=float,
        nargs=6,
        metavar=("X_MIN", "Y_MIN", "Z_MIN", "X_MAX", "Y_MAX", "Z_MAX"),
        help="box to ask about, metres; default: 40 m by 40 m around the sensor",
    )
    parser.add_argument("--cell", type=float, default=0.2, help="edge of its cells, metres; default: 0.2")
    parser.add_argument(
        "--colour",
        choices=("intensity", "latents", "height"),
        default="intensity",
        help="of the mesh, and of the page when it opens; default: intensity",
    )
    parser.add_argument("--no-labels", action="store_true", help="fine-tuned networks: read no labels")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default: a GPU if there is one")
    parser.add_argument("overrides", nargs="*", metavar="cfg.key=value", help="settings to change")
    return parser


def _file_name(words: str) -> str:
    """Such as NuScenes_val_frame_0."""
    return re.sub(r"[^\w.-]+", "_", words).strip("_")


def main() -> None:
    """Entry of the command line; what a user can mend ends in one line."""
    options = parse()
    set_up_terminal()
    with one_line_endings(OSError):
        visualize(options, Console(markup=False))


if __name__ == "__main__":
    main()

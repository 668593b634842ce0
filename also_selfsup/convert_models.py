"""Script: turn a checkpoint of training into plain weights for what comes next, here and elsewhere."""

import argparse
from pathlib import Path

from rich.console import Console

from also_selfsup.checkpoints.convert import convert, restore
from also_selfsup.checkpoints.converted import Written
from also_selfsup.checkpoints.handover import FORMATS
from also_selfsup.checkpoints.next_command import (
    detect_command,
    evaluate_command,
    find_config,
    fine_tune_command,
    missing_recipe,
    pretrain_command,
    run_settings,
    short,
)
from also_selfsup.checkpoints.take_over import take_over
from also_selfsup.settings.run import resolve_path
from also_selfsup.settings.terminal import one_line_endings


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="convert_models.py", description=__doc__)
    parser.add_argument("--ckpt", type=resolve_path, required=True, help="checkpoint of training")
    parser.add_argument(
        "--out", type=resolve_path, help="folder to write to (default: beside the checkpoint)"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--downstream", action="store_true", help="the checkpoint is one of fine-tuning")
    kind.add_argument("--reverse", action="store_true", help="turn a converted file back into a checkpoint")
    kind.add_argument(
        "--from",
        dest="source",
        choices=FORMATS,
        help="the checkpoint is a converted file, or another library's",
    )
    parser.add_argument(
        "--to", choices=FORMATS, help="format to write (default: openpcdet for SECOND, else also)"
    )
    parser.add_argument(
        "--spconv",
        type=int,
        choices=(1, 2),
        help="layout of the kernels for openpcdet and spconv (default: 2)",
    )
    options = parser.parse_args(arguments)
    if options.reverse and (options.to or options.spconv):
        parser.error("--reverse writes a checkpoint of training: leave --to and --spconv out")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Convert, then say what was written and what to type next."""
    options = parse(arguments)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with one_line_endings(OSError):
        written = _write(options)
        console.print("wrote " + ", ".join(f"{short(file.path)} ({file.count} weights)" for file in written))
        for note in (note for file in written for note in file.notes):
            console.print(f"note: {note}")
        for line in _next(options, written[0]):
            console.print(line)


def _write(options: argparse.Namespace) -> list[Written]:
    """Do what the command line asks for."""
    if options.reverse:
        return [restore(options.ckpt, out=options.out)]
    layout = {"to": options.to, "out": options.out, "spconv": options.spconv}
    if options.source:
        return [take_over(options.ckpt, options.source, **layout)]
    return convert(options.ckpt, downstream=options.downstream, **layout)


def _next(options: argparse.Namespace, file: Written) -> list[str]:
    """What to type next, where it is for us to say: what its placeholder stands for, then the command."""
    checkpoint: Path = options.ckpt
    settings = run_settings(checkpoint)
    if options.reverse:
        return []
    if file.format == "openpcdet":
        return [f"next: {detect_command(file.path, settings)}"]
    if file.format != "also":
        return []
    if options.source or (settings is not None and settings.network.backbone == "SECOND"):
        return [f"next: {pretrain_command(file.path)}"]
    if options.downstream:
        return [f"next: {evaluate_command(file.path, settings, config=find_config(checkpoint))}"]
    gap = missing_recipe(settings)
    return [*([gap] if gap else []), f"next: {fine_tune_command(file.path, settings)}"]


if __name__ == "__main__":
    main()

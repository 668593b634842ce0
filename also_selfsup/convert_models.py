"""Script: turn a checkpoint of training into plain weights for fine-tuning, evaluation and elsewhere."""

import argparse
import sys

from rich.console import Console

from also_selfsup.checkpoints.convert import convert, restore
from also_selfsup.checkpoints.next_command import (
    evaluate_command,
    find_config,
    fine_tune_command,
    run_settings,
    short,
)
from also_selfsup.checkpoints.reading import CheckpointError
from also_selfsup.settings.run import resolve_path


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
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Convert, then say what was written and what to type next."""
    options = parse(arguments)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    try:
        if options.reverse:
            written = [restore(options.ckpt, out=options.out)]
        else:
            written = convert(options.ckpt, out=options.out, downstream=options.downstream)
    except (CheckpointError, OSError) as error:
        sys.exit(f"error: {error}")
    console.print("wrote " + ", ".join(f"{short(file.path)} ({file.count} weights)" for file in written))
    settings, weights = run_settings(options.ckpt), written[0].path
    if options.downstream:
        config = find_config(options.ckpt)
        console.print(f"next: {evaluate_command(weights, settings, config=config)}")
    elif not options.reverse:
        console.print(f"next: {fine_tune_command(weights, settings)}")


if __name__ == "__main__":
    main()

"""Simulate a street under a lidar and write the scans in a data set's native layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from also_selfsup.data.simulator import LAYOUTS, SENSORS, simulate
from also_selfsup.settings.terminal import one_line_endings


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="python -m also_selfsup.data.simulator", description=__doc__)
    options.add_argument("--layout", default="nuscenes", help=f"one of {', '.join(LAYOUTS)}")
    options.add_argument("--root", required=True, help="folder to write to")
    options.add_argument("--scenes", default="10", help="a number, or per split: train=6,verifying=1,val=3")
    options.add_argument("--frames-per-scene", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--sensor", help=f"one of {', '.join(SENSORS)}; default: the layout's own")
    options.add_argument("--azimuth-steps", type=int, help="columns a turn; default: the real sensor's")
    options.add_argument("--version", help="of nuScenes tables: v1.0-trainval or v1.0-mini")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--overwrite", action="store_true", help="empty the folder first")
    options.add_argument("--quiet", action="store_true", help="no progress bar")
    return options


def scene_counts(text: str) -> int | dict[str, int]:
    """Read "10" or "train=6,val=2".

    Raises:
        ValueError: It is neither.
    """
    try:
        if "=" not in text:
            return int(text)
        return {split.strip(): int(count) for split, count in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise ValueError(
            f"--scenes {text!r}: give a number, or numbers per split as train=6,val=2."
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; answers the exit status."""
    options = parser().parse_args(arguments)
    console = Console(stderr=True)
    with one_line_endings(OSError):
        return _simulate(options, console)


def _simulate(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line asks for."""
    try:
        root = simulate(
            options.root,
            layout=options.layout,
            scenes=scene_counts(options.scenes),
            seed=options.seed,
            frames_per_scene=options.frames_per_scene,
            sensor=options.sensor,
            azimuth_steps=options.azimuth_steps,
            version=options.version,
            workers=options.workers,
            progress=not options.quiet,
            overwrite=options.overwrite,
        )
    except (ValueError, FileExistsError) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False)
        return 2
    console.print(f"Simulated scans in {root}", highlight=False, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

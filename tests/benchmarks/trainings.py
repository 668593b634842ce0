"""What benchmarks that train have in common: their data set, simulated if asked for, and a tiny size."""

import argparse
import os
from pathlib import Path

from also_selfsup.data.simulator import simulate

# With `--quick`: whether a benchmark runs, on a CPU, not what it says.
QUICK = """
cfg.manifold_points=400 cfg.non_manifold_points=120 cfg.transforms.grid_size=0.4 cfg.network.voxel_size=0.4
cfg.network.backbone=SPVCNN0p5 cfg.network.latent_size=16 cfg.training.batch_size=2 cfg.threads=0
cfg.trainer.accelerator=cpu
""".split()
QUICK_SCANS = 8
# Nothing but training: no validation, no pictures, no bar, and one checkpoint, which a run always writes.
PLAIN = """
cfg.trainer.limit_val_batches=0 cfg.logging.tensorboard=false cfg.logging.progress_bar=false
cfg.logging.report=false cfg.checkpoint_interval=1000000
""".split()


def environment() -> dict[str, str]:
    """Of scripts of this tree in processes of their own: its package comes first, others stay."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of all these benchmarks."""
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--recipe", default="nuscenes")
    parser.add_argument("--simulate", type=int, metavar="SCANS", help="simulate so many, in nuScenes' layout")
    parser.add_argument("--quick", action="store_true", help="tiny sizes on a CPU, simulated: does it run")
    parser.add_argument("overrides", nargs="*", metavar="cfg.key=value")


def make_scans(options: argparse.Namespace) -> None:
    """Simulate into the root, if it is asked for.

    Raises:
        FileExistsError: There is something in the root.
    """
    scans = options.simulate or (QUICK_SCANS if options.quick else 0)
    if scans:
        simulate(
            options.root,
            scenes={"train": -(-scans // 10), "verifying": 1},
            frames_per_scene=min(scans, 10),
            azimuth_steps=96 if options.quick else None,
            workers=1 if options.quick else os.cpu_count() or 1,
        )


def words_of(options: argparse.Namespace, folder: str) -> list[str]:
    """Settings of a training on the data set, whose results lie in a folder; the user's come last."""
    places = [f"cfg.dataset_root={options.root.resolve()}", f"cfg.save_dir={folder}"]
    return [*places, *PLAIN, *(QUICK if options.quick else []), *options.overrides]

"""The nuscenes recipe on one GPU: parts of a training step, spconv beside us, and the script end to end.

    python tests/benchmarks/training_gpu.py /tmp/streets --simulate 400

A step's parts are timed with the device waited for at each end, medians over the steps; `launches` are the
kernels of one step, `device ms` the time they took. The last table trains by the script's own function, scans
read from files. The backbone of spconv, where it is installed, runs in fp16 on the same voxels.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_profile import launches_of
from gpu_step import WHOLE, Step, parts_of
from rich.console import Console
from rich.table import Table

from also_selfsup import train_selfsupervised
from also_selfsup.data.simulator import simulate
from also_selfsup.networks import build_backbone
from also_selfsup.settings.run import load
from also_selfsup.settings.schema import Settings
from also_selfsup.transforms.pending import in_turn

# One H200, batch of 16 of the nuscenes recipe: the published code end to end, and the parts of its step.
PUBLISHED = {"scans/s": 39.8, "backbone": 206.8, "decoder": 14.6, "peak GiB": 8.8}
# 1.71 TFLOP at 790 TFLOP/s and 6 GB at 4.3 TB/s: no program runs the backbone in less.
FLOOR_MS = 3.6


def settings_of(options: argparse.Namespace) -> Settings:
    """The recipe on the data set given."""
    splits = [f"cfg.dataset_root={options.root}", "cfg.train_split=train", "cfg.val_split=train"]
    quiet = ["cfg.logging.tensorboard=false", "cfg.logging.progress_bar=false"]
    return load(options.recipe, [*splits, *quiet, *options.overrides])


def backbone_of(framework: str, step: Step, *, steps: int, dtype: torch.dtype) -> tuple[float, float, float]:
    """Milliseconds of a library's backbone on the step's voxels.

    Forward and backward; the same with what does not depend on features prepared ahead, as training does;
    inference of a scan.
    """
    settings = step.settings
    fields = {key: step.fields[key] for key in ("voxel_coords", "voxel_coords_batch", "voxel_x")}
    fields["voxel_to_pc_id"] = step.fields["voxel_to_pc_id"]
    net = build_backbone(
        settings.network.backbone,
        in_channels=fields["voxel_x"].shape[1],
        out_channels=settings.network.latent_size,
        framework=framework,
        voxel_size=settings.network.voxel_size,
    ).cuda()

    if framework == "native":
        net.backend.record()
    ready: dict[str, Any] = {}

    def train() -> None:
        with torch.autocast("cuda", dtype):
            latents = net(fields | ready)["latents"]
        latents.float().square().mean().backward()
        net.zero_grad()

    one = fields["voxel_coords_batch"] == 0
    count = int(one.sum())
    single = {key: fields[key][one] for key in ("voxel_coords", "voxel_coords_batch", "voxel_x")}
    single["voxel_to_pc_id"] = torch.arange(count, device="cuda")

    @torch.no_grad()
    def infer() -> None:
        with torch.autocast("cuda", dtype):
            net(single)

    trained = _median(train, steps)
    with torch.autocast("cuda", dtype):
        ready |= in_turn(net.prepare(fields))
    ahead = _median(train, steps)
    net.eval()
    return trained, ahead, _median(infer, steps)


def _median(run: Callable[[], None], steps: int) -> float:
    times = []
    for number in range(steps + 5):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if number >= 5:
            times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def end_to_end(settings: Settings, *, epochs: int) -> tuple[float, float]:
    """Scans a second of the script's last epoch, and the peak memory in GiB."""
    rates: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = replace(settings.trainer, limit_val_batches=0)
        training = replace(settings.training, max_epochs=epochs)
        torch.cuda.reset_peak_memory_stats()
        run = train_selfsupervised.pretrain(
            replace(settings, save_dir=folder, trainer=trainer, training=training)
        )
        from also_selfsup.training.epoch_log import read_log

        rates = read_log(run.folder / "logs_train.csv")
    return max(float(row["scans_per_second"]) for row in rates), torch.cuda.max_memory_reserved() / 2**30


def backbones(step: Step, options: argparse.Namespace) -> Table:
    """Our backbone, and spconv's if it is asked for."""
    table = Table(
        "backbone", "forward + backward ms", "prepared ahead", "of the floor", "inference of one scan ms"
    )
    peers = [("native", torch.bfloat16)] + ([("spconv", torch.float16)] if options.peer else [])
    for name, dtype in peers:
        trained, ahead, inference = backbone_of(name, step, steps=options.steps, dtype=dtype)
        table.add_row(name, f"{trained:.1f}", f"{ahead:.1f}", f"{ahead / FLOOR_MS:.1f} x", f"{inference:.1f}")
    return table


def beside_peer(step: Step, *, steps: int) -> str:
    """A whole step, and the same with spconv's backbone."""
    settings = step.settings
    peer = replace(settings, network=replace(settings.network, framework="spconv"))
    whole = parts_of(Step(peer, torch.float16), steps=steps)[WHOLE]
    ours, size = parts_of(step, steps=steps)[WHOLE], settings.training.batch_size
    return (
        f"a whole step: {ours:.1f} ms, {1e3 * size / ours:.0f} scans/s; with spconv's backbone in fp16 "
        f"{whole:.1f} ms, {1e3 * size / whole:.0f} scans/s; {whole / ours:.1f} x"
    )


def main() -> None:
    """Simulate if asked for, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--recipe", default="nuscenes")
    parser.add_argument("--simulate", type=int, metavar="SCANS", help="simulate so many, in nuScenes' layout")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=2, help="end to end; 0: not")
    parser.add_argument("--peer", action="store_true", help="spconv's backbone too")
    parser.add_argument("overrides", nargs="*", metavar="cfg.key=value")
    options = parser.parse_intermixed_args()
    if options.simulate:
        scenes = {"train": options.simulate // 10}
        simulate(options.root, scenes=scenes, frames_per_scene=10, workers=os.cpu_count() or 1)
    settings, console = settings_of(options), Console(width=110)
    step = Step(settings, torch.bfloat16)
    table = Table("part", "ms", title=f"{settings.name}, batch of {settings.training.batch_size}")
    for part, value in parts_of(step, steps=options.steps).items():
        table.add_row(part, f"{value:.1f}")
    table.add_row("peak GiB", f"{torch.cuda.max_memory_reserved() / 2**30:.2f}")
    table.add_row("voxels, pairs", f"{len(step.fields['voxel_x'])}, {len(step.fields['pair_query'])}")
    console.print(table)
    count, total, rows = launches_of(lambda: step.run(lambda part: None))
    table = Table("kernel", "ms", "launches", title=f"one step: {count} launches, {total:.1f} device ms")
    for name, value, number in rows:
        table.add_row(name, f"{value:.2f}", str(number))
    console.print(table)
    console.print(backbones(step, options))
    if options.peer:
        console.print(beside_peer(step, steps=options.steps))
    if options.epochs:
        rate, peak = end_to_end(settings, epochs=options.epochs)
        published = PUBLISHED["scans/s"]
        console.print(
            f"end to end: {rate:.0f} scans/s, {rate / published:.1f} x published; peak {peak:.2f} GiB"
        )


if __name__ == "__main__":
    main()

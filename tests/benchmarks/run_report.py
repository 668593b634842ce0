"""What drawing a run's page takes at a validation: each part's wall and CPU time on made-up scans.

Recipe `nuscenes`: MinkUNet34, 16,384 points, two validation scans. With `--device cuda` the network is asked
on a GPU; matplotlib draws on the CPU either way.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from also_selfsup.data.simulator import simulate
from also_selfsup.reporting.epoch_strip import strip_picture
from also_selfsup.reporting.pictures import occupancy_picture
from also_selfsup.reporting.report import Section, write_report
from also_selfsup.reporting.run_curves import PRETRAINING, draw_curves
from also_selfsup.reporting.scan_planes import ask, planes_of
from also_selfsup.settings.run import load
from also_selfsup.training.datamodule import open_dataset
from also_selfsup.training.pretraining import PretrainingModule

EPOCHS = 40  # validations of the recipe


def write_logs(folder: Path) -> None:
    """Logs of a whole run of the recipe."""
    random = np.random.default_rng(0)
    for stage in ("train", "val"):
        columns = "loss/recons,loss/intensity,loss,iou,scans_per_second,peak_memory_gib"
        rows = [f"epoch,step,{columns}"]
        rows += [
            f"{e},{100 * (e + 1)}," + ",".join(f"{x:.4f}" for x in random.random(6)) for e in range(EPOCHS)
        ]
        (folder / f"logs_{stage}.csv").write_text("\n".join(rows), encoding="utf-8")


def measure(
    parts: dict[str, Callable[[], object]], *, rounds: int, device: str
) -> dict[str, tuple[float, float]]:
    """Median wall and CPU seconds of each part, after a first round to warm up."""
    laps: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in range(rounds + 1):
        for name, part in parts.items():
            wall, cpu = time.perf_counter(), time.process_time()
            part()
            if device != "cpu":
                torch.cuda.synchronize()
            laps[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: np.median(np.array(found[1:]), axis=0) for name, found in laps.items()}
    return {name: (float(wall), float(cpu)) for name, (wall, cpu) in medians.items()}


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, few points, one round")
    parser.add_argument("--device", default="cpu", help="where the network is asked: cpu (one core) or cuda")
    options = parser.parse_args()
    torch.set_num_threads(1)
    small = ["cfg.network.backbone=SPVCNN0p5", "cfg.network.voxel_size=0.4", "cfg.network.latent_size=16"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = 60 if options.quick else None
        simulate(folder / "data", scenes={"verifying": 1}, frames_per_scene=2, azimuth_steps=steps)
        settings = load(
            "nuscenes", [f"cfg.dataset_root={folder / 'data'}", *(small if options.quick else [])]
        )
        scan = open_dataset(settings, "verifying", labels=False)[0]
        module = PretrainingModule(settings).to(options.device)
        write_logs(folder)
        planes = planes_of(scan)
        answers = ask(module, scan, planes, check=lambda: None)
        drawn = [p for wanted in PRETRAINING if (p := draw_curves(folder, wanted, to=folder)) is not None]
        history = dict.fromkeys(range(EPOCHS), answers[0])
        results = measure(
            {
                "asking the network about a scan, twice": lambda: [
                    ask(module, scan, planes, check=lambda: None) for _ in range(2)
                ],
                "pictures of two scans": lambda: [
                    occupancy_picture(scan, planes, answers=answers, path=folder / "a.png") for _ in range(2)
                ],
                "two scans over the epochs": lambda: strip_picture(
                    [scan, scan], [planes[0]] * 2, answers=[history] * 2, path=folder / "b.png"
                ),
                "curves": lambda: [draw_curves(folder, wanted, to=folder) for wanted in PRETRAINING],
                "page": lambda: write_report(folder / "r.html", [Section("a", drawn)], title="a"),
            },
            rounds=1 if options.quick else 3,
            device=options.device,
        )
    table = Table("part", "seconds", "CPU seconds", title=f"a validation of pre-training, {options.device}")
    for part, (wall, cpu) in results.items():
        table.add_row(part, f"{wall:.2f}", f"{cpu:.2f}")
    table.add_row("all", *(f"{sum(values):.2f}" for values in zip(*results.values(), strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()

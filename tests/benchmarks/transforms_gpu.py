"""Transforms of pre-training on one GPU, their kernels beside torch alone: 16 nuScenes-like scans a batch.

Recipe `nuscenes`: 0.1 m decimation, 16,384 points, 2,048 queries, 0.1 m voxels. First the kernels are checked
against the CPU; then medians by the wall clock, the device waited for; by events on the device; of the host
until it has the sizes, or has launched all.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile
from transforms import CHAIN, made_up_scan

from also_selfsup.data.scan import Batch, collate
from also_selfsup.transforms import pipeline
from also_selfsup.transforms.randomness import step_generator

BATCH = 16
TARGET = 1.6  # ms a batch
CUDA = torch.device("cuda")
CHECKS = Path(__file__).parents[1] / "transforms" / "fused_checks.py"


def on_gpu(batch: Batch) -> Batch:
    return {name: v.to(CUDA) if isinstance(v, torch.Tensor) else v for name, v in batch.items()}


def generator_of(step: int) -> torch.Generator:
    return step_generator(seed=0, epoch=1, rank=0, step=step, device=CUDA)


def in_turn(batch: Batch, generator: torch.Generator) -> Batch:
    """The way without Triton's kernels."""
    return CHAIN._in_turn(batch, generator, training=True)


def time_transforms(
    run: Callable[[Batch, torch.Generator], Any], batch: Batch, *, rounds: int
) -> list[float]:
    """Median ms by the wall clock, on the device, and of the host until it has launched all."""
    walls, devices, hosts = [], [], []
    for step in range(rounds + 5):
        generator = generator_of(step)
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin = time.perf_counter()
        first.record()
        found = run(batch, generator)
        last.record()
        hosts.append(1e3 * (time.perf_counter() - begin))
        torch.cuda.synchronize()
        walls.append(1e3 * (time.perf_counter() - begin))
        devices.append(first.elapsed_time(last))
        del found
    return [statistics.median(times[5:]) for times in (walls, devices, hosts)]


def launches_of(run: Callable[[], Any]) -> tuple[int, float, list[tuple[str, int, float]]]:
    """Kernels and copies of a call, the ms they take together, and the slowest of them."""
    run()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        run()
        torch.cuda.synchronize()
    events = [e for e in found.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA]
    events.sort(key=lambda e: -e.self_device_time_total)
    rows = [(e.key[:70], e.count, e.self_device_time_total / 1e3) for e in events]
    return sum(row[1] for row in rows), sum(row[2] for row in rows), rows[:12]


def reads_of(run: Callable[[], Any]) -> int:
    """How often a call makes the host wait for the device, besides waiting for an event."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(wait.message) for wait in waits)


def report_transforms(console: Console, *, rounds: int) -> None:
    batch = on_gpu(collate([made_up_scan(seed) for seed in range(BATCH)]))
    whole = partial(CHAIN, training=True)
    table = Table(
        "way",
        "wall ms",
        "device ms",
        "host ms",
        "launches",
        "busy ms",
        "host reads",
        title="transforms of 16 scans",
    )
    slowest = []
    for name, run in (("kernels", whole), ("torch alone", in_turn)):
        wall, device, host = time_transforms(run, batch, rounds=rounds)
        count, busy, rows = launches_of(partial(run, batch, generator_of(0)))
        reads = reads_of(partial(run, batch, generator_of(0)))
        table.add_row(
            name, f"{wall:.2f}", f"{device:.2f}", f"{host:.2f}", str(count), f"{busy:.2f}", str(reads)
        )
        slowest = slowest or rows
    begun = time_transforms(partial(CHAIN.begin, training=True), batch, rounds=rounds)
    table.add_row("kernels, sizes not waited for", *(f"{value:.2f}" for value in begun))
    console.print(table, f"target: {TARGET} ms")
    table = Table("kernel", "launches", "ms")
    for name, count, busy in slowest:
        table.add_row(name, str(count), f"{busy:.3f}")
    console.print(table)


def main() -> None:
    """Check, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=130)
    command = [sys.executable, str(CHECKS), "--device", "cuda", "--scans", "8", "--points", "20000"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    console.print("kernels: equal to the CPU's in all that is not random")
    pipeline_way = (
        "Triton" if pipeline.fusible(on_gpu(collate([made_up_scan(0)])), grid_size=0.1) else "torch"
    )
    console.print(f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores, transforms by {pipeline_way}")
    report_transforms(console, rounds=20 if options.quick else 60)


if __name__ == "__main__":
    main()

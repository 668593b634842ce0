"""Loading on one GPU: scans a second from files to the device by number of threads, and prepared ahead.

The files are made-up scans in nuScenes' format, in a temporary folder, read from the cache of the system. The
last table prepares batches of the recipe `nuscenes` beside a step that keeps the device busy for some ms.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from transforms import CHAIN, made_up_scan
from transforms_gpu import BATCH, CUDA, generator_of, on_gpu

from also_selfsup.data.base import LidarDataset
from also_selfsup.data.formats import read_nuscenes_points
from also_selfsup.data.packing import collate_packed
from also_selfsup.data.scan import collate
from also_selfsup.training.prefetch import PrefetchingLoader

TARGET = 800  # scans a second with 6 threads


class Files(LidarDataset):
    """Made-up scans on disk."""

    splits = ("train",)
    columns = 5
    read_points = read_nuscenes_points
    source = "Write them"

    def find_frames(self) -> NDArray[np.bytes_]:
        return np.array(sorted(path.name.encode() for path in self.root.iterdir()))


def write_files(folder: Path, count: int) -> Files:
    for number in range(count):
        scan = made_up_scan(number % 24)
        ring = np.zeros((len(scan.pos), 1), np.float32)
        np.concatenate([scan.pos, 255 * scan.intensities, ring], axis=1).tofile(folder / f"{number:04d}.bin")
    return Files(folder, "train")


def loader_of(files: Files, *, threads: int, batches: int, packed: bool) -> DataLoader[Any]:
    ids = np.random.default_rng(0).integers(0, len(files), batches * BATCH).tolist()
    return DataLoader(
        files,
        batch_size=BATCH,
        sampler=ids,
        num_workers=threads,
        collate_fn=collate_packed if packed else collate,
        pin_memory=True,
    )


def rate_of(batches: Iterator[Any], *, skip: int) -> float:
    """Scans a second after the first batches."""
    begin, count = 0.0, 0
    for number, _ in enumerate(batches):
        if number == skip:
            begin, count = time.perf_counter(), 0
        count += 1
    torch.cuda.synchronize()
    return (count - 1) * BATCH / (time.perf_counter() - begin)


def load(files: Files, *, threads: int, batches: int, packed: bool) -> float:
    """Scans a second from files to the device, nothing else done."""
    loader = loader_of(files, threads=threads, batches=batches, packed=packed)
    moved = (batch.unpack(CUDA) if packed else on_gpu(batch) for batch in loader)
    return rate_of(moved, skip=max(2 * threads, 2))


def prepare_ahead(files: Files, *, threads: int, batches: int, step_ms: float) -> tuple[float, float]:
    """Scans a second with batches prepared beside a step of so many ms on the device; host ms of a `next`."""
    loader = loader_of(files, threads=threads, batches=batches, packed=True)
    ahead = PrefetchingLoader(
        loader, device=CUDA, generator=generator_of, begin=partial(CHAIN.begin, training=True)
    )
    factor = torch.randn(4096, 4096, device=CUDA, dtype=torch.bfloat16)
    products = max(int(step_ms / _product_ms(factor)), 1)
    source, times, previous = iter(ahead), [], None

    def steps() -> Iterator[int]:
        nonlocal previous
        while True:
            begin = time.perf_counter()
            batch = next(source, None)
            times.append(1e3 * (time.perf_counter() - begin))
            if batch is None:
                return
            if previous is not None:
                previous.synchronize()  # the host is one step ahead, as in training
            for _ in range(products):
                factor @ factor
            previous = torch.cuda.Event()
            previous.record()
            yield len(batch["voxel_x"])

    rate = rate_of(steps(), skip=2 * threads)
    return rate, statistics.median(times[2 * threads : -1])


def _product_ms(factor: torch.Tensor) -> float:
    for count in (3, 20):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            factor @ factor
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin) / 20


def main() -> None:
    """Write files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer batches")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    console = Console(width=110)
    console.print(f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores")
    table = Table("threads", "packed, scans/s", "as collated", title="from files to the device")
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), 48)
        for threads in (0, 2, 4, 6, 8):
            batches = 30 * max(threads, 1) // (2 if quick else 1) + 2
            rates = [load(files, threads=threads, batches=batches, packed=packed) for packed in (True, False)]
            table.add_row(str(threads), *(f"{rate:.0f}" for rate in rates))
        console.print(table, f"target: {TARGET} scans/s with 6 threads")
        table = Table(
            "step on the device, ms", "scans/s", "host ms of a next", title="prepared ahead, 6 threads"
        )
        for step_ms in (1.0, 15.0):
            rate, host = prepare_ahead(files, threads=6, batches=100 if quick else 250, step_ms=step_ms)
            table.add_row(f"{step_ms:.0f}", f"{rate:.0f}", f"{host:.2f}")
        console.print(table)


if __name__ == "__main__":
    main()

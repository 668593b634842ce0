"""The simulator: milliseconds a scan on one core, and scans a second of two worker processes.

Times of a scan are medians, on the wall and of the process (CPU); other work on the machine disturbs the
latter less. "Objects" are those within the lidar's range; the goal is 10 HDL-32E scans a second on 2 cores
with 100 of them. The run with workers makes the scenes and writes the files too.
"""

import argparse
import statistics
import tempfile
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from also_selfsup.data.simulator import SENSORS, simulate
from also_selfsup.data.simulator.scene import Scene, make_scene

GOAL = 10.0


def objects_in_range(scene: Scene, when: float) -> int:
    """Number of objects within the lidar's range."""
    position, _ = scene.object_poses(when)
    here = scene.drive.pose(scene.street, when)[1]
    return int((np.linalg.norm(position - here, axis=1) < scene.sensor.max_range).sum())


def one_core(name: str, *, scenes: int, scans: int) -> dict[str, float]:
    """Medians over scans of some scenes."""
    wall, cpu, making, objects, parts = [], [], [], [], []
    for seed in range(scenes):
        start = time.process_time()
        scene = make_scene(SENSORS[name], seed=(seed, 0), duration=10.0)
        making.append(time.process_time() - start)
        for number in range(scans):
            start, start_cpu = time.perf_counter(), time.process_time()
            scene.scan(number * 0.5, number)
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - start_cpu)
        objects.append(objects_in_range(scene, scans * 0.25))
        parts.append(len(scene.world.parts))
    median = {"wall": wall, "cpu": cpu, "making": making, "objects": objects, "parts": parts}
    return {key: statistics.median(values) for key, values in median.items()}


def with_workers(workers: int, *, scenes: int, frames: int) -> float:
    """Scans a second of the whole command, HDL-32E."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        simulate(folder, scenes={"train": scenes}, frames_per_scene=frames, workers=workers)
        return scenes * frames / (time.perf_counter() - start)


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="few scans")
    quick = options.parse_args().quick
    scenes, scans = (2, 4) if quick else (8, 10)
    table = Table(title="One core, medians", title_justify="left")
    for heading in ("sensor", "rays", "objects", "parts", "ms a scan", "CPU ms a scan", "CPU ms a scene"):
        table.add_column(heading, justify="right")
    console = Console()
    for name, sensor in SENSORS.items():
        figures = one_core(name, scenes=scenes, scans=scans)
        times = [f"{1000 * figures[key]:.1f}" for key in ("wall", "cpu", "making")]
        rays = str(sensor.azimuth_steps * sensor.ring_count)
        table.add_row(name, rays, f"{figures['objects']:.0f}", f"{figures['parts']:.0f}", *times)
        if name == "hdl32e":
            possible = 2 / figures["cpu"]
    console.print(table)
    rate = {workers: with_workers(workers, scenes=2 if quick else 8, frames=10) for workers in (1, 2)}
    two = Table(title="HDL-32E, whole command", title_justify="left")
    for heading in ("workers", "scans/s", f"of the goal of {GOAL:g}"):
        two.add_column(heading, justify="right")
    for workers, speed in rate.items():
        two.add_row(str(workers), f"{speed:.1f}", f"{speed / GOAL:.2f}" if workers == 2 else "")
    two.add_row("2, by CPU time", f"{possible:.1f}", f"{possible / GOAL:.2f}")
    console.print(two)


if __name__ == "__main__":
    main()

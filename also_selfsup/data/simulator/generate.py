"""The simulator's front door: n scenes by seed, written to disk by worker processes in a data set's native layout.

A layout is a module with `SENSOR`, `INTERVAL`, `SPLITS`, `DEFAULT_VERSION`, `names`, `prepare`, `write_scene`, `finish`;
to add one, write such a module and name it in `LAYOUTS`.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from also_selfsup.data.simulator import nuscenes_writer, semantickitti_writer
from also_selfsup.data.simulator.job import SceneJob
from also_selfsup.data.simulator.sensors import SENSORS
from also_selfsup.settings.names import choose

LAYOUTS: dict[str, ModuleType] = {"nuscenes": nuscenes_writer, "semantickitti": semantickitti_writer}


def simulate(
    root: str | Path,
    *,
    layout: str = "nuscenes",
    scenes: int | Mapping[str, int] = 10,
    frames_per_scene: int = 10,
    seed: int = 0,
    sensor: str | None = None,
    azimuth_steps: int | None = None,
    version: str | None = None,
    workers: int = 1,
    progress: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write simulated scans with labels; the real data set's loader reads them.

    Args:
        root: Folder to write to; made if absent.
        layout: Name of a layout (`LAYOUTS`).
        scenes: How many scenes of each split, as {"train": 6, "val": 2}; a number is spread over the splits.
        frames_per_scene: Scans a scene, at the layout's own interval of time.
        seed: Fixes every byte, whatever the number of workers.
        sensor: Name of a sensor (`SENSORS`); None: the one of the real data set.
        azimuth_steps: Columns a turn; None: the real sensor's. Fewer make small, quick scans.
        version: Of the tables, for nuScenes ("v1.0-trainval", "v1.0-mini").
        workers: Processes; 1 works in this one.
        progress: Show a bar with rate and time left.
        overwrite: Empty a folder that has something in it first.

    Returns:
        The root.

    Raises:
        ValueError: An unknown name or split, a number below one.
        FileExistsError: The folder is not empty and `overwrite` is off.
    """
    writer = choose(LAYOUTS, layout, "layout")
    model = (choose(SENSORS, sensor, "sensor") if sensor else writer.SENSOR).with_columns(azimuth_steps)
    version = version or writer.DEFAULT_VERSION
    for name, value in (
        ("frames_per_scene", frames_per_scene),
        ("azimuth_steps", azimuth_steps or 1),
        ("workers", workers),
    ):
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1.")
    counts = dict(scenes) if isinstance(scenes, Mapping) else spread(scenes, writer.SPLITS)
    chosen = [
        (split, name)
        for split, count in counts.items()
        for name in writer.names(split, count, version=version)
    ]
    if not chosen:
        raise ValueError("There is no scene to simulate: ask for at least one.")
    root = Path(root)
    _make_room(root, overwrite=overwrite)
    writer.prepare(root, version=version)
    used: Counter[str] = Counter()
    jobs = []
    for index, (split, name) in enumerate(chosen):
        jobs.append(
            SceneJob(
                index=index, name=name, split=split, frames=frames_per_scene, interval=writer.INTERVAL, seed=seed,
                sensor=model, version=version, first=used[name],
            )
        )  # fmt: skip
        used[name] += frames_per_scene
    writer.finish(
        root, list(_results(layout, root, jobs, workers=workers, progress=progress)), version=version
    )
    return root


def spread(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Spread `total` scenes over splits by their shares; each split gets one as long as there are enough."""
    if total < 1:
        raise ValueError(f"scenes={total}: must be at least 1.")
    counts = dict.fromkeys(shares, 0)
    for _ in range(total):
        # The split furthest behind its share; an empty one comes first.
        split = max(shares, key=lambda name: (counts[name] == 0, shares[name] * total - counts[name]))
        counts[split] += 1
    return counts


def _make_room(root: Path, *, overwrite: bool) -> None:
    if root.is_dir() and any(root.iterdir()):
        if not overwrite:
            raise FileExistsError(
                f"{root}: not empty. Choose another folder, or allow overwriting (--overwrite)."
            )
        for entry in root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    root.mkdir(parents=True, exist_ok=True)


def _work(task: tuple[str, Path, SceneJob]) -> Any:
    layout, root, job = task
    return LAYOUTS[layout].write_scene(root, job)


def _results(
    layout: str, root: Path, jobs: Sequence[SceneJob], *, workers: int, progress: bool
) -> Iterator[Any]:
    """Results of the jobs in their order."""
    tasks = [(layout, root, job) for job in jobs]
    # Fork as torch's loaders do: a worker of numpy alone starts at once instead of importing everything again.
    method = "fork" if sys.platform == "linux" else None
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method)) if workers > 1 else nullcontext()
    with pool as executor:
        results = executor.map(_work, tasks) if executor else map(_work, tasks)
        if not progress:
            yield from results
            return
        columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            number = bar.add_task("scans", total=sum(job.frames for job in jobs))
            for job, result in zip(jobs, results, strict=True):
                bar.advance(number, job.frames)
                yield result


class Rate(ProgressColumn):
    """Scans a second."""

    def render(self, task: Task) -> Text:
        """The rate as text."""
        speed = task.finished_speed or task.speed
        return Text("- scans/s" if speed is None else f"{speed:.1f} scans/s")

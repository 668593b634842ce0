"""Many scenes at once: worker processes, and the progress bar with rate and time left."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
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

from also_selfsup.data.simulator.job import Layout, SceneJob


class Rate(ProgressColumn):
    """Scans a second."""

    def render(self, task: Task) -> Text:
        """The rate as text."""
        speed = task.finished_speed or task.speed
        return Text("- scans/s" if speed is None else f"{speed:.1f} scans/s")


def results_of(
    layout: Layout, root: Path, *, jobs: Sequence[SceneJob], workers: int, progress: bool
) -> list[Any]:
    """Simulate and write all scenes; answers what the layout says of each, in their order."""
    work = partial(layout.write_scene, root)
    with ExitStack() as stack:
        results: Iterator[Any] = map(work, jobs)
        if workers > 1:
            # Fork as torch's loaders do: a worker of numpy alone starts at once, without importing all anew.
            context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
            results = stack.enter_context(ProcessPoolExecutor(workers, context)).map(work, jobs)
        if not progress:
            return list(results)
        columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        bar = stack.enter_context(Progress(*columns))
        task = bar.add_task("scans", total=sum(job.frames for job in jobs))
        done = []
        for job, result in zip(jobs, results, strict=True):
            bar.advance(task, job.frames)
            done.append(result)
        return done

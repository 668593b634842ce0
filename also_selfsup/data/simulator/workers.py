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

from also_selfsup.data.simulator.job import Layout, SceneJob
from also_selfsup.settings.ctrl_c import ctrl_c_later, end_at_ctrl_c
from also_selfsup.settings.progress import progress_bar


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
            pool = ProcessPoolExecutor(workers, context, initializer=end_at_ctrl_c)
            stack.callback(pool.shutdown, cancel_futures=True)
            with ctrl_c_later():
                futures = [pool.submit(work, job) for job in jobs]
            results = (future.result() for future in futures)
        if not progress:
            return list(results)
        bar = stack.enter_context(progress_bar(unit="scans"))
        task = bar.add_task("simulating", total=sum(job.frames for job in jobs))
        done = []
        for job, result in zip(jobs, results, strict=True):
            bar.advance(task, job.frames)
            done.append(result)
        return done

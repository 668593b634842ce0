"""Beside the training loop: several small runs at once on a CPU, one process and one core for each."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from also_selfsup.settings.terminal import set_up_terminal

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_all(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, title: str, console: Console
) -> list[Result]:
    """Do all jobs, as many at once as there are cores; on a GPU, or when there is one job only, in turns.

    A small network's step is made of many small operations, which two threads do hardly faster than one: two
    runs beside one another take about half the time of two in turns.

    Args:
        work: A function of a module; it and the jobs travel to other processes.
        jobs: What to hand to it.
        title: Shown before the bar.
        console: For the bar.

    Returns:
        The results, in the order of the jobs.
    """
    workers = 1 if torch.cuda.is_available() else min(len(jobs), usable_cores())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=len(jobs))
        results: list[Result] = []
        if workers == 1:
            for job in jobs:
                results.append(work(job))
                progress.advance(task)
            return results
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads half alive
        with ProcessPoolExecutor(workers, context, initializer=_set_up_worker) as pool:
            for result in pool.map(work, jobs):
                results.append(result)
                progress.advance(task)
        return results


def usable_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _set_up_worker() -> None:
    torch.set_num_threads(1)
    set_up_terminal()

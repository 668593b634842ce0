"""Beside the training loop: several small runs at once, on a CPU's cores or sharing GPUs."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import connection
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from also_selfsup.settings.cores import usable_cores
from also_selfsup.settings.ctrl_c import ctrl_c_later, end_at_ctrl_c
from also_selfsup.settings.terminal import set_up_terminal

Job = TypeVar("Job")
Result = TypeVar("Result")

# Steps after which all kernels of a training are compiled: passes are recorded at the second, replayed then.
FIRST_STEPS = 3
# Of a worker: set once the first job's kernels are compiled.
_compiled: Event | None = None


class FirstSteps(Callback):
    """Lets the other jobs of `run_all` begin once a training has made its first steps.

    Every training among the jobs should have it; in a process that is no worker it does nothing.
    """

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the steps of this process."""
        self.steps += 1
        if self.steps == FIRST_STEPS and _compiled is not None:
            _compiled.set()


def run_all(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    title: str,
    console: Console,
    workers: int | None = None,
    on_result: Callable[[Result], object] | None = None,
) -> list[Result]:
    """Do all jobs, several at once: by default as many as there are cores, on a GPU in turns.

    A small network's step is made of many small operations, which two threads do hardly faster than one: two
    runs beside one another take about half the time of two in turns. So it is on a GPU, which small runs
    leave idle most of the time.

    On a GPU the first job begins alone. The first steps of all compile kernels for a minute or two; Triton
    keeps them for other processes, but has no lock: workers that begin together would compile all of them
    each, and take the cores from one another. They start meanwhile, and wait until `FirstSteps` of the first
    job says that its kernels are there, or that job is done.

    Args:
        work: A function of a module; it and the jobs travel to other processes.
        jobs: What to hand to it.
        title: Shown before the bar.
        console: For the bar.
        workers: Processes; None as above; 1 works in this one. They share the GPUs in turn, each sees one.
        on_result: Called here with each result as it comes.

    Returns:
        The results, in the order of the jobs.
    """
    usual = 1 if torch.cuda.is_available() else usable_cores()
    workers = min(len(jobs), usual if workers is None else workers)
    bar = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *bar, console=console) as progress:
        task = progress.add_task(title, total=len(jobs))
        found: dict[int, Result] = {}
        for index, result in _in_turns(work, jobs) if workers <= 1 else _at_once(work, jobs, workers=workers):
            found[index] = result
            if on_result is not None:
                on_result(result)
            progress.advance(task)
    return [found[index] for index in range(len(jobs))]


def _in_turns(work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
    return ((index, work(job)) for index, job in enumerate(jobs))


def _at_once(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int
) -> Iterator[tuple[int, Result]]:
    """Results as they come; the first error ends it, once the jobs that had begun are done."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads half alive
    devices = context.Queue()
    for device in _shared_out(_visible_devices(), workers):
        devices.put(device)
    on_gpu, compiled = torch.cuda.is_available(), context.Event()
    if not on_gpu:
        compiled.set()  # nothing is compiled on a CPU
    threads = max(usable_cores() // workers, 1) if on_gpu else 1
    with ProcessPoolExecutor(
        workers, context, initializer=_set_up_worker, initargs=(devices, threads, compiled)
    ) as pool:
        # They are taken in this order: one worker has the first job, and never waits.
        works = (partial(_first, work), *[partial(_behind_first, work)] * (len(jobs) - 1))
        submitted = zip(works, jobs, strict=True)
        with ctrl_c_later():
            futures = {pool.submit(one, job): index for index, (one, job) in enumerate(submitted)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _visible_devices() -> list[str]:
    """Names of the GPUs as CUDA_VISIBLE_DEVICES has them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(torch.cuda.device_count())]
    return given.split(",")[: len(names)] if given else names


def _shared_out(devices: Sequence[str], workers: int) -> list[str]:
    """The GPU of each worker, in turn; none where there is none."""
    return [devices[number % len(devices)] if devices else "" for number in range(workers)]


def _first(work: Callable[[Job], Result], job: Job) -> Result:
    """The first job; the others begin with its end at the latest, be it an error."""
    assert _compiled is not None  # of a worker
    try:
        return work(job)
    finally:
        _compiled.set()


def _behind_first(work: Callable[[Job], Result], job: Job) -> Result:
    assert _compiled is not None  # of a worker
    _compiled.wait()
    return work(job)


def _set_up_worker(devices: "multiprocessing.Queue[str]", threads: int, compiled: Event) -> None:
    global _compiled
    _compiled = compiled
    if device := devices.get():
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before this process first asks for a GPU
    # A spawned process spawns its own: each loader process would import torch, one behind the other.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)  # the system's
    torch.set_num_threads(threads)
    set_up_terminal()
    end_at_ctrl_c()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the process that started this one is gone, killed perhaps, and end then."""
    if (parent := multiprocessing.parent_process()) is not None:
        connection.wait([parent.sentinel])
        os._exit(1)

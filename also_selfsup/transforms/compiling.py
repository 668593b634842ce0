"""On a GPU: kernels compiled side by side before they run, and a word in the log about it.

A network asks for more than a hundred kernels. Compiled one after another, each when it is first needed, they
take a minute or two of one core. Threads share out what is not Python's of that: parsing is, optimising and
assembling are not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import torch

from also_selfsup.settings.cores import usable_cores

logger = logging.getLogger(__name__)

# A kernel that Triton finds on the disk is there sooner, seconds.
COMPILED_AFTER = 0.3


class CompileLog:
    """Tells that kernels are being compiled, which nothing else would show, and what it took."""

    def __init__(self) -> None:
        self.kernels, self.seconds = 0, 0.0

    def note(self, seconds: float, *, of: float | None = None) -> None:
        """Count a kernel that was ready after so many seconds; of which these are its own, if not all."""
        if seconds < COMPILED_AFTER:
            return
        if not self.kernels:
            logger.info(
                "compiling kernels for this GPU: up to a minute or two at the first start; Triton keeps them "
                "(TRITON_CACHE_DIR, or .triton in the home folder)"
            )
        self.kernels += 1
        self.seconds += seconds if of is None else of

    def tell(self) -> None:
        """Say what it took so far, if anything, and count anew."""
        if self.kernels:
            logger.info("compiled %d kernels in %.0f s", self.kernels, self.seconds)
        self.kernels, self.seconds = 0, 0.0


compile_log = CompileLog()


class Noted:
    """Kernels to compile, by what makes each different; `jobs` answer the seconds that one took."""

    def __init__(self) -> None:
        self.jobs: dict[Any, Callable[[], float]] = {}

    def compile_all(self) -> None:
        """Compile all, on all cores."""
        device, last = torch.cuda.current_device(), time.perf_counter()
        with ThreadPoolExecutor(
            usable_cores(), initializer=torch.cuda.set_device, initargs=(device,)
        ) as pool:
            for job in as_completed([pool.submit(job) for job in self.jobs.values()]):
                now = time.perf_counter()
                compile_log.note(job.result(), of=now - last)
                last = now


class _Mode:
    noted: Noted | None = None


# Of all threads: a backward pass runs in one of its own.
mode = _Mode()


@contextmanager
def noting() -> Iterator[Noted]:
    """Within, no kernel of ours is launched: what a launch would compile is noted.

    What such kernels should have written stays as it was found.
    """
    assert mode.noted is None
    mode.noted = Noted()
    try:
        yield mode.noted
    finally:
        mode.noted = None

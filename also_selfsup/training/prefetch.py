"""Between loader and step on a GPU: the batches of the next steps are copied and prepared beside this one.

While step k runs on the device, batch k + 1 is ready and those after it are on their way, on a stream of
their own: each goes one step of its work further in every step of the training, as far as what the host has
to read next. All is launched from the main process, between the steps; nothing here waits for a step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from also_selfsup.data.packing import PackedBatch
from also_selfsup.data.scan import Batch
from also_selfsup.transforms.pending import Pending, Steps, each_within

T = TypeVar("T")
Done = TypeVar("Done")
Prepare: TypeAlias = Callable[[Batch, torch.Generator], Steps[Batch]]
# Batches under way: the host reads three times of each (what the transforms left, cells, pairs of cells).
AHEAD = 4


class PrefetchingLoader:
    """A loader whose batches come prepared, on the device, with the generator of their step.

    The same (seed, epoch, rank, step) gives the same batches as without it. An error of the loader or of the
    preparation of a batch is raised when that batch is due, not before.

    Args:
        loader: Of packed batches.
        device: Where they shall be; on a CPU all happens in turn, without streams.
        generator: Makes the generator of a step by its number in the epoch.
        begin: Launches the transforms of a batch.
        further: What else to prepare, in order. It may add fields, which must be tensors, collections of
            them, or have a method `record_stream` as tensors have: it tells the allocator that the step uses
            their memory.
        first_step: Number of the first batch, where an epoch goes on in its middle; None: always 0.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        *,
        device: torch.device,
        generator: Callable[[int], torch.Generator],
        begin: Callable[[Batch, torch.Generator], Pending],
        further: Sequence[Prepare] = (),
        first_step: Callable[[], int] | None = None,
    ) -> None:
        self.loader, self.device, self._first_step = loader, device, first_step
        self._generator, self._begin, self._further = generator, begin, further

    @property
    def sampler(self) -> Any:
        """That of the loader: Lightning tells it the epoch."""
        return self.loader.sampler

    @property
    def batch_sampler(self) -> Any:
        """That of the loader: Lightning asks whether it shuffles."""
        return self.loader.batch_sampler

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        return self._prepared(iter(self.loader))

    def _prepared(self, packed: Iterator[PackedBatch]) -> Iterator[Batch]:
        first = self._first_step() if self._first_step else 0
        # Before the step's own kernels where both wait: what is prepared is short, and the host may read it.
        side = _side_stream(self.device)

        def context() -> ExitStack:
            entered = ExitStack()
            entered.enter_context(torch.no_grad())
            entered.enter_context(torch.cuda.stream(side))
            return entered

        def prepare(numbered: tuple[int, PackedBatch]) -> Steps[tuple[Batch, torch.cuda.Event | None]]:
            return each_within(self._prepare(*numbered, side=side), context)

        for batch, done in ahead(enumerate(packed, first), prepare):
            if done is not None:
                stream = torch.cuda.current_stream(self.device)
                stream.wait_event(done)
                record_stream(batch.values(), stream)
            yield batch

    def _prepare(
        self, step: int, packed: PackedBatch, *, side: torch.cuda.Stream | None
    ) -> Steps[tuple[Batch, torch.cuda.Event | None]]:
        generator = self._generator(step)
        pending = self._begin(packed.unpack(self.device), generator)
        yield
        batch = pending.result()
        for prepare in self._further:
            batch = yield from prepare(batch, generator)
        return {**batch, "generator": generator}, side.record_event() if side else None


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """One for all epochs: memory that was freed on a stream serves that stream alone."""
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]


class _Job(Generic[Done]):
    """Work in steps, its result, or the error that it ended with, perhaps before it began."""

    def __init__(self, steps: Steps[Done] | None, error: Exception | None = None) -> None:
        self._steps, self._error = steps, error
        self._results: list[Done] = []

    def advance(self) -> bool:
        """Go one step further; whether more is left."""
        if self._results or self._error or self._steps is None:
            return False
        try:
            next(self._steps)
        except StopIteration as end:
            self._results.append(end.value)
        except Exception as error:
            self._error = error
        return not (self._results or self._error)

    def result(self) -> Done:
        """What comes out of all steps; raises the error of one."""
        while self.advance():
            continue
        if self._error:
            raise self._error
        return self._results[0]


def ahead(items: Iterator[T], work: Callable[[T], Steps[Done]], *, most: int = AHEAD) -> Iterator[Done]:
    """Answer what comes out of the work on each item, with that on the next ones under way.

    In each turn all go one step further, the oldest first. An error of an item, or of fetching it, is raised
    in its turn.
    """
    jobs: deque[_Job[Done]] = deque()

    def take() -> bool:
        try:
            job = _Job(work(next(items)))
        except StopIteration:
            return False
        except Exception as error:
            jobs.append(_Job(None, error))
            return False
        job.advance()
        jobs.append(job)
        return True

    more = take()
    while jobs:
        done = jobs.popleft().result()
        for job in jobs:
            job.advance()
        while more and len(jobs) < most:
            more = take()
        yield done


def record_stream(values: Iterable[Any], stream: torch.cuda.Stream, *, told: set[int] | None = None) -> None:
    """Tell the allocator that a stream uses these tensors, so that their memory waits for it when freed.

    Args:
        values: Tensors, collections of them, or what has a method of this name.
        stream: That uses them.
        told: Memory that it knows of: many tensors may lie in one piece, each of which costs an event.
    """
    told = set() if told is None else told
    for value in values:
        if isinstance(value, Tensor):
            if value.is_cuda and (place := value.untyped_storage().data_ptr()) not in told:
                told.add(place)
                value.record_stream(stream)
        elif isinstance(value, dict):
            record_stream(value.values(), stream, told=told)
        elif isinstance(value, list | tuple):
            record_stream(value, stream, told=told)
        elif hasattr(value, "record_stream"):
            value.record_stream(stream)

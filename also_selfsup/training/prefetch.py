"""Between loader and step on a GPU: the batches of the next steps are copied and prepared beside this one.

While step k runs on the device, batch k + 1 is ready and batch k + 2 is copied and transformed on a stream
of its own. All is launched from the main process, between the steps; nothing here waits for a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from also_selfsup.data.packing import PackedBatch
from also_selfsup.data.scan import Batch
from also_selfsup.transforms.pending import Pending

T = TypeVar("T")
Begun = TypeVar("Begun")
Done = TypeVar("Done")
Prepare: TypeAlias = Callable[[Batch, torch.Generator], Batch]


class PrefetchingLoader:
    """A loader whose batches come prepared, on the device, with the generator of their step.

    The same (seed, epoch, rank, step) gives the same batches as without it. An error of the loader or of the
    preparation of a batch is raised when that batch is due, not before.

    Args:
        loader: Of packed batches.
        device: Where they shall be; on a CPU all happens in turn, without streams.
        generator: Makes the generator of a step by its number in the epoch.
        begin: Launches the transforms of a batch.
        further: What else to prepare, in order, with host reads if need be: a read waits for the preparation
            alone. It may add fields, which must be tensors, collections of them, or have a method
            `record_stream` as tensors have: it tells the allocator that the step uses their memory.
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
        begin, finish = partial(self._start, side=side), partial(self._finish, side=side)
        for batch, done in two_ahead(enumerate(packed, first), begin, finish):
            if done is not None:
                stream = torch.cuda.current_stream(self.device)
                stream.wait_event(done)
                record_stream(batch.values(), stream)
            yield batch

    @torch.no_grad()
    def _start(
        self, numbered: tuple[int, PackedBatch], *, side: torch.cuda.Stream | None
    ) -> tuple[Pending, torch.Generator]:
        step, packed = numbered
        with torch.cuda.stream(side):
            generator = self._generator(step)
            return self._begin(packed.unpack(self.device), generator), generator

    @torch.no_grad()
    def _finish(
        self, start: tuple[Pending, torch.Generator], *, side: torch.cuda.Stream | None
    ) -> tuple[Batch, torch.cuda.Event | None]:
        pending, generator = start
        with torch.cuda.stream(side):
            batch = pending.result()
            for prepare in self._further:
                batch = prepare(batch, generator)
        return {**batch, "generator": generator}, side.record_event() if side else None


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """One for all epochs: memory that was freed on a stream serves that stream alone."""
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Failure:
    error: Exception


def two_ahead(
    items: Iterator[T], begin: Callable[[T], Begun], finish: Callable[[Begun], Done]
) -> Iterator[Done]:
    """Answer `finish(begin(item))` of each item, when the next one is finished and the one after it begun.

    An error of an item, in whichever of these, is raised in its turn.
    """
    begun = _attempt(lambda: begin(next(items)))
    done = _attempt(lambda: finish(_checked(begun)))
    begun = _attempt(lambda: begin(next(items)))
    while not isinstance(done, _Failure):
        following = _attempt(lambda: finish(_checked(begun)))  # noqa: B023 (called at once)
        begun = _attempt(lambda: begin(next(items)))
        yield done
        done = following
    if not isinstance(done.error, StopIteration):
        raise done.error


def _attempt(make: Callable[[], T]) -> T | _Failure:
    try:
        return make()
    except Exception as error:
        return _Failure(error)


def _checked(item: T | _Failure) -> T:
    if isinstance(item, _Failure):
        raise item.error
    return item


def record_stream(values: Iterable[Any], stream: torch.cuda.Stream) -> None:
    """Tell the allocator that a stream uses these tensors, so that their memory waits for it when freed."""
    for value in values:
        if isinstance(value, Tensor):
            if value.is_cuda:
                value.record_stream(stream)
        elif isinstance(value, dict):
            record_stream(value.values(), stream)
        elif isinstance(value, list | tuple):
            record_stream(value, stream)
        elif hasattr(value, "record_stream"):
            value.record_stream(stream)
